from __future__ import annotations

import io
import math
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from cxrlab.errors import UserError
from cxrlab.evaluation.intervals import add_intervals
from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.questions import questions_of
from cxrlab.evaluation.subgroup_figures import draw_subgroups
from cxrlab.evaluation.subgroups import subgroup_table
from cxrlab.evaluation.weighted import auroc_of, measure_of
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
FINDINGS = Task.multilabel(("Effusion", "Mass", "Hernia"))
NAN = np.nan


def scored(make_table, task: Task = TWO, size: int = 120, seed: int = 0) -> pd.DataFrame:
    """Two images a patient, scores that sometimes tie."""
    rng = np.random.default_rng(seed)
    if task.kind == "multilabel":
        target = (rng.random((size, 3)) < (0.5, 0.3, 0.2)).astype(float)
        probability = ((1 + target + 4 * rng.random(target.shape)) / 7).round(2)
        target[rng.random(target.shape) < 0.2] = NAN
    elif task.kind == "multiclass":
        target = np.arange(size) % 3
        probability = 0.6 * rng.dirichlet(np.ones(3), size) + 0.4 * np.eye(3)[target]
    else:
        target = rng.integers(0, 2, size)
        probability = rng.beta(1 + 2 * target, 3 - 2 * target).round(2).clip(0.01, 0.99)
    cuts = [] if task.kind == "multiclass" else [0.5] * task.outputs
    table = make_table(target, probability, task, cuts)
    return table.assign(patient_id=[f"p{i // 2}" for i in range(size)], all="everybody")


def row(groups: pd.DataFrame, group: str) -> pd.Series:
    (found,) = [row for _, row in groups.iterrows() if row["group"] == group]
    return found


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=30)
    return buffer.getvalue()


def test_groups_by_hand(make_table) -> None:
    target = [0, 0, 0, 1, 1, 0, 0, 1]
    probability = [0.1, 0.2, 0.7, 0.6, 0.9, 0.8, 0.3, 0.4]
    table = make_table(target, probability, thresholds=[0.5]).assign(sex=list("FFFFFMMM"))
    groups = subgroup_table(table, TWO, ["sex"], thresholds=[0.5], draws=0)
    assert groups["group"].tolist() == ["F", "M"]
    assert groups["images"].tolist() == [5, 3]
    assert groups["positives"].tolist() == [2, 1]
    # F: of 6 pairs (0.7, 0.6) is the wrong way round; M: of 2 pairs (0.8, 0.4).
    assert groups["auroc"].tolist() == pytest.approx([5 / 6, 1 / 2])
    assert groups["recall"].tolist() == [1, 0]
    assert groups["specificity"].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert groups["small"].all()
    assert set(groups["against"]) == {"own group"}
    assert groups["auroc_low"].isna().all()
    assert row(groups, "F")["absent"] == (
        "interval of auroc, recall, specificity: no samples of patients were drawn"
    )


@pytest.mark.parametrize("task", [TWO, THREE, FINDINGS], ids=lambda task: task.kind)
def test_one_group_of_all_equals_the_whole_split(make_table, task: Task) -> None:
    table = scored(make_table, task)
    cuts = [] if task.kind == "multiclass" else [0.5] * task.outputs
    groups = subgroup_table(table, task, ["all"], thresholds=cuts, draws=300, seed=3)
    metrics = evaluate_table(table, task, thresholds=cuts)
    whole = add_intervals(metrics, table, task, thresholds=cuts, draws=300, seed=3)
    names = ("auroc", "balanced_accuracy") if task is THREE else ("auroc", "recall", "specificity")
    if task is not FINDINGS:
        assert len(groups) == 1
        found = {name: groups[name].iloc[0] for name in groups}
        for name in names:
            assert found[name] == pytest.approx(whole.values[name])
            assert found[f"{name}_low"] == pytest.approx(whole.intervals[name].low)
            assert found[f"{name}_high"] == pytest.approx(whole.intervals[name].high)
        assert (found["images"], found["patients"], found["absent"]) == (120, 60, "")
        return
    # Of a finding patients are drawn from those of whom it is known, so intervals differ a little.
    assert groups["class"].tolist() == list(task.classes)
    for _, found in groups.iterrows():
        for name in names:
            own = f"{name}_{found['class']}"
            assert found[name] == pytest.approx(whole.values[own])
            assert found[f"{name}_low"] == pytest.approx(whole.intervals[own].low, abs=0.06)
            assert found[f"{name}_high"] == pytest.approx(whole.intervals[own].high, abs=0.06)
        known = table[f"target_{found['class']}"].notna()
        assert found["images"] == known.sum()
        assert found["positives"] == table[f"target_{found['class']}"].sum()


def test_groups_of_one_class_are_ranked_against_the_other_class(make_table) -> None:
    table = scored(make_table)
    pathogen = np.where(
        table["target"] == 0, "none", np.where(table.index % 3, "virus", "bacteria")
    )
    table = table.assign(pathogen=pathogen)
    groups = subgroup_table(table, TWO, ["pathogen"], thresholds=[0.5], draws=200)
    normal = table[table["target"] == 0]
    for name in ("virus", "bacteria"):
        found, own = row(groups, name), table[table["pathogen"] == name]
        beside = pd.concat([own, normal])
        area = roc_auc_score(beside["target"], beside["probability"])
        assert found["auroc"] == pytest.approx(area)
        assert found["auroc_low"] < area < found["auroc_high"]
        assert found["recall"] == pytest.approx((own["probability"] >= 0.5).mean())
        assert math.isnan(found["specificity"])
        assert found["against"] == "all NORMAL"
        assert found["absent"] == "specificity: no image is NORMAL"
        assert (found["images"], found["positives"]) == (len(own), len(own))
        # Ten images of each class in the ranking, but not always 30 in the group.
        assert found["small"] == (len(own) < 30)
    healthy = row(groups, "none")
    assert healthy["against"] == "all PNEUMONIA"
    assert math.isnan(healthy["recall"])
    assert healthy["specificity"] == pytest.approx((normal["probability"] < 0.5).mean())


def test_a_split_of_one_class_has_no_auroc(make_table) -> None:
    table = make_table([1] * 12, np.linspace(0.3, 0.9, 12), thresholds=[0.5]).assign(sex="F")
    found = row(subgroup_table(table, TWO, ["sex"], thresholds=[0.5], draws=100), "F")
    assert math.isnan(found["auroc"])
    assert found["against"] == ""
    assert "auroc, specificity: no image is NORMAL" in found["absent"]
    assert 0 < found["recall_low"] < found["recall"] < found["recall_high"]


def test_exact_ends_where_all_are_right(make_table) -> None:
    target = [0] * 15 + [1] * 15
    table = make_table(target, [0.2, 0.3, 0.4] * 5 + [0.7, 0.8, 0.9] * 5, thresholds=[0.5])
    found = row(subgroup_table(table.assign(a=1), TWO, ["a"], thresholds=[0.5], draws=100), "1")
    # Clopper and Pearson, 15 of 15: the level's 15th root.
    assert found["recall_low"] == pytest.approx(0.025 ** (1 / 15))
    assert found["recall_high"] == 1
    assert found["auroc"] == 1
    assert math.isnan(found["auroc_low"])
    assert found["absent"] == "interval of auroc: every sample of patients gives the same value"
    assert not found["small"]


@pytest.mark.parametrize(
    ("normal", "ill", "small"), [(20, 10, False), (21, 9, True), (19, 10, True)]
)
def test_small_groups_are_marked(make_table, normal: int, ill: int, small: bool) -> None:
    target = [0] * normal + [1] * ill
    table = make_table(target, np.linspace(0.1, 0.9, len(target)), thresholds=[0.5]).assign(a="x")
    found = subgroup_table(table, TWO, ["a"], thresholds=[0.5], draws=0)
    assert found["small"].tolist() == [small]
    assert found["auroc"].tolist() == [1]


def test_more_classes(make_table) -> None:
    table = scored(make_table, THREE)
    label = np.array(THREE.classes)[table["target"]]
    table = table.assign(half=np.where(table.index < 60, "first", "second"), pathogen=label)
    groups = subgroup_table(table, THREE, ["half", "pathogen"], thresholds=(), draws=100)
    first = evaluate_table(table[:60], THREE, thresholds=())
    found = row(groups, "first")
    assert found["auroc"] == pytest.approx(first.values["auroc"])
    assert found["balanced_accuracy"] == pytest.approx(first.values["balanced_accuracy"])
    assert found["balanced_accuracy_low"] < found["balanced_accuracy"]
    assert groups["positives"].isna().all()
    alone = row(groups, "VIRUS")
    assert math.isnan(alone["auroc"])
    assert math.isnan(alone["balanced_accuracy"])
    assert alone["absent"] == "auroc, balanced_accuracy: every image is VIRUS"
    # Without one class of three a macro mean would answer another question.
    two = subgroup_table(table[table["target"] < 2], THREE, ["half"], thresholds=(), draws=0)
    assert two["auroc"].isna().all()
    assert row(two, "first")["absent"].startswith("auroc, balanced_accuracy: no image is VIRUS")


def test_a_finding_that_is_unknown_in_a_group(make_table) -> None:
    table = scored(make_table, FINDINGS).assign(site=["a"] * 60 + ["b"] * 60)
    table.loc[table["site"] == "b", "target_Mass"] = pd.NA
    groups = subgroup_table(table, FINDINGS, ["site"], thresholds=[0.5] * 3, draws=50)
    assert len(groups) == 6
    found = row(groups[groups["class"] == "Mass"], "b")
    assert (found["images"], found["patients"], found["positives"]) == (0, 0, 0)
    assert math.isnan(found["auroc"])
    assert math.isnan(found["recall"])
    assert found["absent"] == "auroc, recall, specificity: no image is labelled for Mass"
    assert found["small"]


def test_hard_input_is_absent_with_its_reason(make_table) -> None:
    table = scored(make_table)
    one_patient = table.assign(patient_id="p", sex="F")
    found = row(subgroup_table(one_patient, TWO, ["sex"], thresholds=[0.5], draws=50), "F")
    assert "1 patients are fewer than 10" in found["absent"]
    assert math.isnan(found["auroc_low"])
    assert found["auroc"] > 0.5
    constant = table.assign(probability=0.7, empty=None)
    found = row(subgroup_table(constant, TWO, ["empty"], thresholds=[0.5], draws=50), "unknown")
    assert (found["auroc"], found["recall"], found["specificity"]) == (0.5, 1, 0)
    assert "interval of auroc: every sample" in found["absent"]
    one_image = table.assign(site=["lonely"] + ["crowd"] * 119)
    found = row(subgroup_table(one_image, TWO, ["site"], thresholds=[0.5], draws=50), "lonely")
    assert found["images"] == 1
    assert found["small"]
    assert math.isnan(found["recall_low"])
    broken = table.assign(probability=NAN, sex="F")
    found = row(subgroup_table(broken, TWO, ["sex"], thresholds=[0.5], draws=50), "F")
    assert found[["auroc", "recall", "specificity"]].isna().all()
    assert "120 of 120 images have no probability in [0, 1]" in found["absent"]
    undecided = row(subgroup_table(table, TWO, ["all"], thresholds=(), draws=50), "everybody")
    assert undecided["auroc_low"] > 0
    assert undecided["absent"] == "recall, specificity: no decision threshold was chosen"
    nobody = subgroup_table(table[:0], TWO, ["all"], thresholds=[0.5], draws=50)
    assert len(nobody) == 0


def test_a_missing_column_is_said_with_those_there_are(make_table) -> None:
    table = scored(make_table).assign(age=3)
    with pytest.raises(UserError, match=r"no column 'sex'.* are all, age; name one"):
        subgroup_table(table, TWO, ["sex"], thresholds=[0.5], draws=0)


def test_weighted_auroc_is_that_of_all_metrics(make_table) -> None:
    table = scored(make_table)
    (question,) = questions_of(table, TWO, [0.5])
    weights = np.random.default_rng(5).integers(0, 4, (20, 120)).astype(float)
    weights[0, table["target"] == 1] = 0
    expected = measure_of(table, TWO, [0.5])(weights)
    area = auroc_of(question.target == 1, question.score)(weights)
    np.testing.assert_allclose(area, expected["auroc"])
    assert np.isnan(area[0])
    rates = question.rates()(weights)
    np.testing.assert_allclose(rates["recall"], expected["recall"])
    np.testing.assert_allclose(rates["specificity"], expected["specificity"])


def draw(table: pd.DataFrame, task: Task, columns: list[str], draws: int = 50) -> Figure:
    cuts = [] if task.kind == "multiclass" else [0.5] * task.outputs
    groups = subgroup_table(table, task, columns, thresholds=cuts, draws=draws)
    metrics = evaluate_table(table, task, thresholds=cuts)
    return draw_subgroups(groups, metrics, task, split="test")


def test_the_figure_shows_the_tables_numbers(make_table) -> None:
    table = scored(make_table)
    table["site"] = ["a"] * 100 + ["b"] * 20
    groups = subgroup_table(table, TWO, ["site"], thresholds=[0.5], draws=50)
    metrics = evaluate_table(table, TWO, thresholds=[0.5])
    figure = draw_subgroups(groups, metrics, TWO, split="test")
    assert len(png(figure)) > 2000
    said = words(figure)
    for text in ("test, 120 images", "Sensitivity", "site", "100", "hollow: fewer than 30 images"):
        assert text in said
    for axes, name in zip(figure.axes, ("auroc", "recall", "specificity"), strict=True):
        marks = [line for line in axes.lines if line.get_marker() == "o"]
        assert [line.get_xdata()[0] for line in marks] == groups[name].tolist()
        filled = [to_hex(line.get_markerfacecolor()) for line in marks]
        assert filled[1] == "#ffffff" != filled[0]
        reaches = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.6]
        assert [list(ends) for ends in reaches] == groups[
            [f"{name}_low", f"{name}_high"]
        ].to_numpy().tolist()
        (whole,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert whole.get_xdata()[0] == metrics.values[name]


def test_the_figure_of_a_table_that_was_read_back(make_table, tmp_path) -> None:
    table = scored(make_table)
    table["site"] = ["$x^2$, <b>&"] * 60 + ["n" * 50 + " North"] * 30 + ["n" * 50 + " South"] * 30
    groups = subgroup_table(table, TWO, ["site"], thresholds=[0.5], draws=50)
    groups.to_csv(tmp_path / "groups.csv", index=False)
    back = pd.read_csv(tmp_path / "groups.csv")
    assert back["group"].tolist() == groups["group"].tolist()
    figure = draw_subgroups(back, evaluate_table(table, TWO, thresholds=[0.5]), TWO, split="val")
    assert len(png(figure)) > 2000
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[1] == "$x^2$, <b>&"
    assert len(set(labels)) == 4
    assert all(len(label) < 45 for label in labels)


def test_figures_of_other_tasks(make_table) -> None:
    classes = scored(make_table, THREE).assign(sex=["F", "M"] * 60)
    figure = draw(classes, THREE, ["sex"])
    assert len(png(figure)) > 2000
    assert "Macro AUROC" in words(figure)
    findings = scored(make_table, FINDINGS).assign(sex=["F", "M"] * 60)
    figure = draw(findings, FINDINGS, ["sex"])
    assert len(png(figure)) > 2000
    assert all(f"{name}, all 0." in words(figure) for name in FINDINGS.classes)


def test_what_has_no_value_is_said(make_table) -> None:
    table = scored(make_table)
    assert "Not drawn: the dataset names no columns" in words(draw(table, TWO, []))
    broken = words(draw(table.assign(probability=NAN), TWO, ["all"]))
    assert "images have no probability in [0, 1]" in broken
    pathogen = np.where(table["target"] == 0, "none", "virus")
    said = words(draw(table.assign(pathogen=pathogen), TWO, ["pathogen"], draws=0))
    assert "no line: no interval" in said
    assert "diamond: AUROC against all" in said
    assert said.count("–: no value") == 1  # noqa: RUF001


def test_thirty_groups_do_not_overlap(make_table) -> None:
    table = scored(make_table, size=300)
    table["site"] = [f"site {i % 30:02d}" for i in range(300)]
    figure = draw(table, TWO, ["site"], draws=0)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [
        label.get_window_extent(canvas.get_renderer()) for label in figure.axes[0].get_yticklabels()
    ]
    assert len(boxes) == 31
    assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(boxes))
