from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.compared import FINDINGS, THREE, TWO, write_run

from cxrlab.comparison.runs import ComparedRun
from cxrlab.comparison.systems import ensemble, form_systems
from cxrlab.errors import UserError
from cxrlab.evaluation.predictions import scores
from cxrlab.evaluation.threshold import choose_threshold
from cxrlab.task import Task

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., ComparedRun]:
    """A finished run; its id is its name."""

    def make(name: str, **keywords) -> ComparedRun:
        return ComparedRun.read(write_run(tmp_path / name, **{"size": 40, **keywords}))

    return make


def changed(run: ComparedRun, change: Change, split: str = "test") -> ComparedRun:
    tables = dict(run.evaluation.tables)
    tables[split] = change(tables[split].copy())
    return replace(run, evaluation=replace(run.evaluation, tables=tables))


def names(runs: list[ComparedRun]) -> list[tuple[str, int]]:
    return [(system.name, len(system.members)) for system in form_systems(runs, "test")]


def test_systems_are_on_the_images_that_all_have_in_one_order(make, caplog) -> None:
    one = make("one")
    other = changed(make("other", backbone="b"), lambda t: t.iloc[:2:-1])
    third = changed(make("third", backbone="c"), lambda t: t.iloc[:-2])
    systems = form_systems([one, other, third], "test")
    expected = [f"test/{i}.png" for i in range(3, 38)]
    for system in systems:
        assert system.table["path"].tolist() == expected
    for system, run in zip(systems, (one, other, third), strict=True):
        whole = run.evaluation.tables["test"].set_index("path")
        np.testing.assert_array_equal(system.table["logit"], whole.loc[expected, "logit"])
    assert "5 of 40 images of test of one are not in all runs and are left out" in caplog.text
    assert "2 of 37 images of test of other are not in all runs" in caplog.text
    assert "3 of 38 images of test of third are not in all runs" in caplog.text


def test_whole_tables_need_no_warning(make, caplog) -> None:
    form_systems([make("one"), make("other", backbone="b")], "test")
    assert not caplog.text


def _one_truth_changed(table: pd.DataFrame) -> pd.DataFrame:
    column = next(name for name in table if name.startswith("target"))
    return table.assign(**{column: [1 - table[column].iloc[0], *table[column].iloc[1:]]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(path="x" + t["path"]), "one and other have no image of test in common"),
        (_one_truth_changed, "1 of 40 images have another truth in other than in one, first test/"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "other names test/0.png twice in predictions/test"),
    ],
    ids=["no common image", "another truth", "an image twice"],
)
def test_what_can_not_be_compared_is_one_line(make, change: Change, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        form_systems([make("one"), changed(make("other", backbone="b"), change)], "test")
    assert "\n" not in str(caught.value)


def test_what_is_unknown_of_a_finding_is_truth_too(make) -> None:
    one = make("one", task=FINDINGS)
    other = make("other", task=FINDINGS, backbone="b")
    assert one.evaluation.tables["test"]["target_Mass"].isna().any()
    assert len(form_systems([one, other], "test")) == 2
    told = changed(other, lambda t: t.assign(target_Mass=t["target_Mass"].fillna(0)))
    with pytest.raises(UserError, match=r"images have another truth in other than in one"):
        form_systems([one, told], "test")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (THREE, "one predicts the classes NORMAL, PNEUMONIA, other the classes NORMAL, BACTERIA"),
        (Task.exclusive(("PNEUMONIA", "NORMAL")), "the same classes in the same order"),
        (Task.multilabel(("NORMAL", "PNEUMONIA")), "other the findings NORMAL, PNEUMONIA"),
    ],
)
def test_other_classes_are_one_line(make, task: Task, message: str) -> None:
    with pytest.raises(UserError, match=message):
        form_systems([make("one"), make("other", task=task)], "test")


def test_a_run_without_the_split_is_one_line(make) -> None:
    runs = [make("one"), make("other", splits=("val",), backbone="b")]
    with pytest.raises(UserError, match="other has no predictions of test, only of val; choose"):
        form_systems(runs, "test")
    assert len(form_systems(runs, "val")) == 2


def test_other_groups_of_patients_are_told_other_ids_are_not(make, caplog) -> None:
    one, other = make("one", images_each=2), make("other", images_each=2, backbone="b")
    salted = changed(other, lambda t: t.assign(patient_id="salt" + t["patient_id"]))
    form_systems([one, salted], "test")
    assert not caplog.text
    merged = changed(other, lambda t: t.assign(patient_id="all"))
    systems = form_systems([one, merged], "test")
    assert "other groups the images into other patients than one" in caplog.text
    assert systems[0].table["patient_id"].nunique() == 20


def test_seeds_of_one_configuration_are_one_system(make) -> None:
    runs = [
        make(f"{backbone}{seed}", backbone=backbone, seed=seed, overrides=[f"model={backbone}"])
        for seed in (1, 2, 3)
        for backbone in ("small", "large")
    ]
    assert names(runs) == [("small", 3), ("large", 3)]


def test_the_same_seed_again_is_another_system(make) -> None:
    runs = [make("before1", seed=1), make("before2", seed=2), make("after1", seed=1)]
    assert names(runs) == [
        ("mobilenetv2_100 ensemble of 2", 2),
        ("mobilenetv2_100 seed=1", 1),
    ]


def test_a_name_holds_what_was_changed_unless_all_changed_it(make) -> None:
    shared = ["data=chest_xray", "trainer.max_epochs=3", "tracking.name=x", "data.root=/secret"]
    runs = [
        make("one", overrides=[*shared, "data.root=/a"]),
        make("two", overrides=[*shared, "optimizer.lr=0.1", "loss=focal"]),
        make("three", backbone="resnet50", overrides=["model=resnet50", "trainer.max_epochs=5"]),
    ]
    found = [name for name, _ in names(runs)]
    assert found == [
        "mobilenetv2_100 data=chest_xray max_epochs=3",
        "mobilenetv2_100 data=chest_xray max_epochs=3 lr=0.1 loss=focal",
        "resnet50 max_epochs=5",
    ]


def test_names_that_say_too_little_are_marked_by_the_run(make) -> None:
    runs = [make("a", run_id="1" * 32), make("b", run_id="2" * 32)]
    assert [name for name, _ in names(runs)] == [
        "mobilenetv2_100 seed=0 11111111",
        "mobilenetv2_100 seed=0 22222222",
    ]


def test_runs_of_one_configuration_alone_are_compared_one_by_one_and_together(make, caplog) -> None:
    assert names([make("one", seed=1), make("two", seed=2)]) == [
        ("mobilenetv2_100 seed=1", 1),
        ("mobilenetv2_100 seed=2", 1),
        ("mobilenetv2_100 ensemble of 2", 2),
    ]
    assert "the runs differ in their seed alone" in caplog.text


def test_a_run_without_configuration_stands_for_itself(make) -> None:
    runs = [make(name, configuration=False) for name in ("there", "elsewhere")]
    assert names(runs) == [("there", 1), ("elsewhere", 1)]


@pytest.mark.parametrize("text", ["seed: 1", "[1, 2]", "a: [", "null: {"])
def test_a_damaged_configuration_is_one_line(make, tmp_path: Path, text: str) -> None:
    make("one")
    (tmp_path / "one/config/config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml is damaged.*; choose another run") as caught:
        ComparedRun.read(tmp_path / "one")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", [TWO, THREE, FINDINGS], ids=lambda task: task.kind)
def test_an_ensemble_is_the_mean_of_calibrated_probabilities(make, task: Task) -> None:
    runs = [make(f"{seed}", task=task, seed=seed) for seed in (1, 2)]
    tables = [run.evaluation.tables["test"] for run in runs]
    found = ensemble(tables, task)
    for kind in ("probability", "calibrated"):
        for name in [n for n in tables[0] if n.startswith(kind)]:
            expected = (tables[0][name.replace(kind, "calibrated")]
                        + tables[1][name.replace(kind, "calibrated")]) / 2  # fmt: skip
            np.testing.assert_allclose(found[name], expected, rtol=1e-14)
    assert not [name for name in found if name.startswith(("logit", "decision"))]
    if task.kind == "multiclass":
        np.testing.assert_allclose(scores(found, task, "probability").sum(axis=1), 1)


@pytest.mark.parametrize("rule", ["youden", "sensitivity:0.9", 0.3])
def test_its_threshold_is_chosen_on_its_validation_by_the_runs_own_rule(make, rule) -> None:
    runs = [make(f"{seed}", seed=seed, rule=rule) for seed in (1, 2)]
    runs += [make("other", backbone="b")]
    system = form_systems(runs, "test")[0]
    table = ensemble([run.evaluation.tables["val"] for run in runs[:2]], TWO)
    expected = choose_threshold(rule, table["target"], scores(table, TWO, "probability"))
    assert system.thresholds == (expected.value,)
    assert system.thresholds != runs[0].evaluation.point.cuts or rule == 0.3


def test_findings_have_a_threshold_each_and_more_classes_none(make) -> None:
    for task, count in ((FINDINGS, 3), (THREE, 0)):
        runs = [make(f"{task.kind}{seed}", task=task, seed=seed) for seed in (1, 2)]
        runs += [make(f"{task.kind}b", task=task, backbone="b")]
        assert len(form_systems(runs, "test")[0].thresholds) == count


@pytest.mark.parametrize("change", ["NaN", "one class"])
def test_an_ensemble_without_usable_validation_has_no_threshold(make, change, caplog) -> None:
    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        if change == "NaN":
            return table.assign(calibrated=np.nan)
        return table.assign(target=0)

    runs = [changed(make(f"{seed}", seed=seed), spoil, "val") for seed in (1, 2)]
    system = form_systems([*runs, make("other", backbone="b")], "test")[0]
    assert system.thresholds == ()
    assert "the ensemble of mobilenetv2_100 has no threshold, for" in caplog.text
