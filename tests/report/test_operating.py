from __future__ import annotations

import numpy as np
import pytest

from cxrlab.report.operating import operating_point
from cxrlab.task import Task


def test_both_splits_their_difference_and_the_figures_at_half(written) -> None:
    point = operating_point(written.read())
    val, test = (written.evaluation.metrics[split].values for split in ("val", "test"))
    assert point.table is not None
    assert point.table.head == (
        "", "validation", "test", "test less validation", "validation at 0.5", "test at 0.5",
    )  # fmt: skip
    name, cells = point.table.rows[1]
    assert name == "Specificity"
    gap = test["specificity"] - val["specificity"]
    assert gap < -0.2
    assert [cell.text for cell in cells] == [
        f"{val['specificity']:.3f}",
        f"{test['specificity']:.3f}",
        f"−{-gap:.3f}",  # noqa: RUF001
        f"{val['specificity_at_0.5']:.3f}",
        f"{test['specificity_at_0.5']:.3f}",
    ]
    assert cells[2].tone == "warning"
    sensitivity, specificity = point.pairs
    assert (sensitivity.name, specificity.name) == ("Sensitivity", "Specificity")
    assert specificity.moved
    assert (specificity.val.value, specificity.test.value) == (
        val["specificity"],
        test["specificity"],
    )


def test_it_says_why_the_threshold_does_not_hold(written) -> None:
    point = operating_point(written.read())
    medians = []
    for split in ("val", "test"):
        table = written.evaluation.tables[split]
        medians.append(np.median(table.loc[table["target"] == 0, "probability"]))
    higher, kept = point.why
    assert higher.startswith("NORMAL images of test score higher than those of validation")
    assert f"is {medians[1]:.2f} against {medians[0]:.2f}" in higher
    assert "the order of the images is kept while their scores have moved" in kept
    assert point.shift is not None
    label, cells = point.shift.rows[0]
    assert label == "NORMAL"
    assert [cell.text for cell in cells] == [f"{median:.3f}" for median in medians]


def test_a_lost_order_is_not_called_a_shift(make_run) -> None:
    written = make_run(gap=4.0)
    table = written.evaluation.tables["test"]
    rng = np.random.default_rng(0)
    run = written.read()
    run.evaluation.tables["test"] = table.assign(probability=rng.random(len(table)))
    values = run.evaluation.metrics["test"].values
    values |= {"auroc": 0.6, "recall": 0.6, "specificity": 0.6}
    assert "no threshold would bring the figures of validation back" in operating_point(run).why[-1]


def test_a_threshold_that_holds_needs_no_reason(make_run) -> None:
    point = operating_point(make_run(gap=9.0).read())
    assert point.why == ()
    assert not any(pair.moved for pair in point.pairs)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("0.5", "a number given in the configuration"),
        ("sensitivity:0.97", "by the rule sensitivity:0.97"),
    ],
)
def test_the_rule_and_its_origin(make_run, rule: str, told: str) -> None:
    assert told in operating_point(make_run(overrides=(f"threshold={rule}",)).read()).rules[0]


def test_findings_have_a_row_and_a_threshold_each(make_run) -> None:
    task = Task.multilabel(("Edema", "Mass"))
    written = make_run(task, shift=2.0)
    point = operating_point(written.read())
    assert point.table is not None
    assert [name for name, _ in point.table.rows] == ["Edema", "Mass"]
    cells = point.table.rows[1][1]
    threshold = written.evaluation.point.thresholds[1]
    assert (cells[0].text, cells[0].below) == (f"{threshold.value:.3f}", "youden")
    metrics = written.evaluation.metrics
    gap = metrics["test"].values["specificity_Mass"] - metrics["val"].values["specificity_Mass"]
    assert cells[-1].text == f"−{-gap:.3f}"  # noqa: RUF001
    assert point.pairs[0].name == "Mean sensitivity"


def test_more_classes_have_no_threshold(make_run) -> None:
    point = operating_point(make_run(Task.exclusive(("A", "B", "C"))).read())
    assert point.rules == (
        "The most probable class is decided for; there is no threshold to choose.",
    )
    assert point.table is not None
    assert [name for name, _ in point.table.rows] == ["A", "B", "C"]


def test_without_test_there_is_nothing_to_compare(make_run) -> None:
    point = operating_point(make_run(test=False).read())
    assert (point.pairs, point.why, point.shift) == ((), (), None)
    assert point.table is not None
    assert point.table.head == ("", "validation", "validation at 0.5")
