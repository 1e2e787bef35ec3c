from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from cxrlab.evaluation.figures import draw_figures
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
STEMS = {"confusion_matrix", "roc", "precision_recall", "reliability", "scores"}


def words(figure: Figure) -> str:
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return "\n".join(found)


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=30)
    return buffer.getvalue()


def scored(make_table, size: int = 80):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, size)
    return make_table(target, rng.beta(1 + 2 * target, 3 - 2 * target), thresholds=[0.5])


def test_two_classes(make_table) -> None:
    figures = draw_figures(scored(make_table), TWO, [0.5], split="test")
    assert set(figures) == STEMS | {"decision_curve"}
    for figure in figures.values():
        content = png(figure)
        assert content.startswith(b"\x89PNG")
        assert len(content) > 2000
        assert "test, 80 images" in words(figure)


def test_the_numbers_are_those_of_the_metrics(make_table) -> None:
    # As in test_metrics: AUROC 7/8, one false positive, sensitivity 1, specificity 3/4.
    table = make_table([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.4, 0.8, 0.5, 0.9], thresholds=[0.5])
    figures = draw_figures(table, TWO, [0.5], split="val")
    roc = words(figures["roc"])
    assert "AUROC 0.875" in roc
    assert "sensitivity 1.000,\nspecificity 0.750" in roc
    point = [line for line in figures["roc"].axes[0].lines if line.get_marker() == "o"]
    assert point[0].get_xydata().tolist() == [[0.25, 1.0]]
    assert "average precision 0.833" in words(figures["precision_recall"])
    matrix = words(figures["confusion_matrix"])
    assert "75.0%" in matrix
    assert "probability >= 0.500" in matrix
    assert "NORMAL: 4 images, 1 of them called PNEUMONIA" in words(figures["scores"])


def test_every_image_is_in_the_score_histograms(make_table) -> None:
    table = make_table([0, 0, 0, 1, 1], [1e-12, 1e-4, 0.3, 0.9999, 1 - 1e-12], thresholds=[0.5])
    figure = draw_figures(table, TWO, [0.5], split="test")["scores"]
    for axes in figure.axes:
        heights = sum(patch.get_height() for patch in axes.patches)
        assert heights == pytest.approx(100)


def test_three_classes(make_table) -> None:
    rng = np.random.default_rng(1)
    target = np.arange(60) % 3
    probability = 0.6 * rng.dirichlet(np.ones(3), 60) + 0.4 * np.eye(3)[target]
    figures = draw_figures(make_table(target, probability, THREE), THREE, (), split="test")
    assert set(figures) == STEMS
    for figure in figures.values():
        assert len(png(figure)) > 2000
    assert all(f"{name}, AUROC" in words(figures["roc"]) for name in THREE.classes)


def test_one_class_is_said_in_words(make_table) -> None:
    table = make_table([0, 0, 0], [0.1, 0.2, 0.7], thresholds=[0.5])
    figures = draw_figures(table, TWO, [0.5], split="test")
    for stem in ("roc", "precision_recall", "decision_curve"):
        assert "Not drawn: no image is PNEUMONIA." in words(figures[stem])
    assert "no images" in words(figures["confusion_matrix"])
    assert all(len(png(figures[stem])) > 500 for stem in ("roc", "scores"))


def test_a_missing_class_leaves_the_other_curves(make_table) -> None:
    probability = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.6, 0.2]]
    table = make_table([0, 0, 1], probability, THREE)
    roc = words(draw_figures(table, THREE, (), split="test")["roc"])
    assert "BACTERIA, AUROC 1.000" in roc
    assert "VIRUS" not in roc


@pytest.mark.parametrize("case", ["empty", "nan", "constant", "no threshold"])
def test_hard_input_is_drawn_or_said(make_table, case: str) -> None:
    table = make_table([0, 0, 1, 1], [0.5] * 4, thresholds=[0.5])
    if case == "empty":
        table = table.iloc[:0]
    if case == "nan":
        table.loc[0, "probability"] = np.nan
    figures = draw_figures(table, TWO, () if case == "no threshold" else [0.5], split="test")
    assert set(figures) == STEMS | {"decision_curve"}
    assert len(png(figures["scores"])) > 500
    said = "Not drawn" in words(figures["confusion_matrix"])
    assert said == (case != "constant")


def test_names_are_no_markup_and_settings_are_left_alone(make_table) -> None:
    before = dict(matplotlib.rcParams)
    task = Task.exclusive(("no $x^", "_$\\frac_"))
    table = make_table([0, 1, 1], [0.2, 0.3, 0.9], task, thresholds=[0.5])
    assert len(png(draw_figures(table, task, [0.5], split="test")["roc"])) > 2000
    assert dict(matplotlib.rcParams) == before


def test_fourteen_findings(make_table) -> None:
    task = Task.multilabel([f"Pleural Finding {number}" for number in range(14)])
    rng = np.random.default_rng(2)
    target = (rng.random((90, 14)) < 0.3).astype(float)
    probability = rng.beta(1 + 2 * target, 3 - 2 * target).clip(1e-6, 1 - 1e-6)
    target[rng.random(target.shape) < 0.2] = np.nan
    cuts = rng.uniform(0.2, 0.8, 14).tolist()
    figures = draw_figures(make_table(target, probability, task, cuts), task, cuts, split="test")
    assert set(figures) == STEMS
    for figure in figures.values():
        assert len(png(figure)) > 2000
        assert "test, 90 images" in words(figure)
    for stem in ("roc", "precision_recall"):
        curves = [line for line in figures[stem].axes[0].lines if "Finding" in line.get_label()]
        looks = {(line.get_color(), line.get_linestyle()) for line in curves}
        assert len(looks) == 14


def test_findings_are_counted_where_they_are_known(make_table) -> None:
    task = Task.multilabel(("Effusion", "Mass", "Hernia"))
    target = [[1, 0, np.nan], [0, 1, np.nan], [np.nan, 0, np.nan], [1, 1, np.nan]]
    probability = [[0.9, 0.1, 0.5], [0.6, 0.3, 0.5], [0.9, 0.2, 0.5], [0.4, 0.8, 0.5]]
    table = make_table(target, probability, task)
    figures = draw_figures(table, task, [0.5, 0.25, 0.5], split="val")
    cells = [text.get_text() for text in figures["confusion_matrix"].axes[0].texts]
    # Effusion 0.9 and 0.4 present, 0.6 absent; Mass 0.3 and 0.8 present, 0.1 and 0.2 absent.
    assert cells[:4] == ["0  (0%)", "1  (100%)", "1  (50%)", "1  (50%)"]
    assert cells[4:8] == ["2  (100%)", "0  (0%)", "0  (0%)", "2  (100%)"]
    assert len(set(cells[8:12])) == 1
    assert "0" not in cells[8]
    roc = words(figures["roc"])
    assert "Effusion, AUROC 0.500" in roc
    assert "macro AUROC 0.750" in roc
    assert "Hernia" not in roc
    drawn = {line.get_label(): line.get_xydata() for line in figures["roc"].axes[0].lines}
    # Going down: 0.9 present, 0.6 absent, 0.4 present.
    points = [[0, 0], [0, 0.5], [1, 0.5], [1, 1]]
    assert drawn["Effusion, AUROC 0.500"].tolist() == points
    assert "Mass, average precision 1.000, chance 0.500" in words(figures["precision_recall"])
    scores = words(figures["scores"])
    assert "Effusion: 1 absent, 2 present" in scores
    assert "Hernia: 0 absent, 0 present" in scores
    outline = figures["reliability"].axes[1].patches[0].get_path().vertices[:, 1]
    assert outline.sum() == 2 * 7  # left and right end of the bars of seven known labels


def test_findings_without_any_truth_are_said_in_words(make_table) -> None:
    task = Task.multilabel(("Effusion", "Mass"))
    table = make_table(np.full((3, 2), np.nan), np.full((3, 2), 0.5), task)
    for figure in draw_figures(table, task, [0.5, 0.5], split="test").values():
        assert "Not drawn: it could be computed of no finding." in words(figure)
