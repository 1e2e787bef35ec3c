from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from cxrlab.evaluation.intervals import add_intervals
from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.summary import print_results
from cxrlab.evaluation.threshold import Threshold
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
CHOSEN = Threshold(0.5, "youden", "val")


def printed(metrics, task, width: int = 80, **keywords) -> str:
    stream = io.StringIO()
    print_results(metrics, task, Console(file=stream, width=width), **keywords)
    return stream.getvalue()


@pytest.fixture
def both(make_table):
    good = make_table([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.4, 0.8, 0.5, 0.9])
    poor = make_table([0, 1, 1], [0.1, 0.2, 0.3])
    return {
        "val": evaluate_table(good, TWO, thresholds=[0.5]),
        "test": evaluate_table(poor, TWO, thresholds=[0.5]),
    }


def row(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip().startswith(name)).split()


def test_val_stands_beside_test(both) -> None:
    text = printed(both, TWO, thresholds=[CHOSEN])
    assert row(text, "ROC-AUC") == ["ROC-AUC", "0.875", "1.000"]
    assert row(text, "Accuracy") == ["Accuracy", "0.833", "0.333"]
    assert row(text, "Recall") == ["Recall", "(sensitivity)", "1.000", "0.000"]
    assert row(text, "Precision") == ["Precision", "0.667", "-"]
    assert row(text, "Images") == ["Images", "6", "3"]
    assert row(text, "Threshold") == ["Threshold", "0.500", "0.500"]
    matrix = text[text.index("Confusion matrix, val") :]
    assert row(matrix, "NORMAL") == ["NORMAL", "3", "75.0%", "1", "25.0%"]
    assert row(matrix, "PNEUMONIA") == ["PNEUMONIA", "0", "0.0%", "2", "100.0%"]
    assert "Threshold 0.500 for PNEUMONIA, chosen on validation by youden" in text
    assert "Not computed on test, because no image was called PNEUMONIA: precision" in text


def test_a_given_threshold_says_so(both) -> None:
    text = printed(both, TWO, thresholds=[Threshold(0.5, "0.5", "given")])
    assert "given in the configuration" in text


def test_a_pipe_gets_plain_lines_of_80_columns(both) -> None:
    text = printed(both, TWO, thresholds=[CHOSEN])
    assert "\x1b" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_names_are_no_markup(make_table) -> None:
    task = Task.exclusive(("[red]well[/]", "[/nonsense]"))
    table = make_table([0, 1], [0.2, 0.7], task)
    metrics = {"test": evaluate_table(table, task, thresholds=[0.5])}
    text = printed(metrics, task, thresholds=[CHOSEN])
    assert "[red]well[/]" in text
    assert "Threshold 0.500 for [/nonsense]" in text


def test_more_classes_and_a_matrix_too_wide_for_the_terminal(make_table) -> None:
    task = Task.exclusive([f"a rather long finding {i}" for i in range(5)])
    probability = np.full((10, 5), 0.1) + 0.5 * np.eye(5)[np.arange(10) % 5]
    table = make_table(np.arange(10) % 5, probability, task)
    metrics = {"test": evaluate_table(table, task, thresholds=())}
    narrow, wide = printed(metrics, task), printed(metrics, task, width=200)
    assert max(len(line.rstrip()) for line in narrow.splitlines()) <= 80
    assert "Too wide to show here" in narrow
    assert "Too wide" not in wide
    assert row(wide, task.classes[2])[-5:] == ["1.000"] * 5


def test_findings_have_a_row_each(make_table) -> None:
    task = Task.multilabel(("Enlarged Cardiomediastinum", "Mass", "Hernia"))
    target = [[1, 0, 0], [0, 1, np.nan], [np.nan, 0, np.nan], [1, 1, 0]]
    probability = [[0.9, 0.1, 0.2], [0.6, 0.3, 0.2], [0.9, 0.2, 0.2], [0.4, 0.8, 0.2]]
    cuts = [0.5, 0.25, 0.5]
    metrics = {"val": evaluate_table(make_table(target, probability, task), task, thresholds=cuts)}
    thresholds = [
        Threshold(0.5, "youden", "val"),
        Threshold(0.25, "youden", "val"),
        Threshold(0.5, "0.5", "default"),
    ]
    text = printed(metrics, task, thresholds=thresholds)
    assert "\x1b" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "Too wide" not in text
    assert "means over the findings" in text
    assert row(text, "ROC-AUC") == ["ROC-AUC", "0.750"]
    assert row(text, "Images") == ["Images", "4"]
    table = text[text.index("Each finding, val") :]
    assert row(table, "Enlarged")[2:] == ["0.500", "0.500", "0.000", "0.500", "2/3"]
    assert row(table, "Mass") == ["Mass", "1.000", "1.000", "1.000", "1.000", "2/4"]
    assert row(table, "Hernia") == ["Hernia", "-", "-", "1.000", "-", "0/2"]
    assert "Thresholds chosen on validation by youden" in text
    assert "Thresholds left at 0.5, for the rule can't be applied: Hernia" in text
    assert "because no image is Hernia: auroc, auprc, \nbalanced_accuracy, recall, f1" in text
    assert "Confusion matrix" not in text


def test_long_findings_are_wrapped_and_not_left_out(make_table) -> None:
    task = Task.multilabel(("a finding whose name is far longer than it has to be", "Mass"))
    metrics = {
        "test": evaluate_table(
            make_table([[0, 1], [1, 0]], [[0.4] * 2] * 2, task), task, thresholds=[0.5, 0.5]
        )
    }
    text = printed(metrics, task)
    assert "Too wide" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert row(text, "Mass")[1:] == ["0.500", "0.000", "1.000", "0.000", "1/2"]


def test_intervals_stand_beside_their_values_and_leave_room_for_classes(make_table) -> None:
    three = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([1, 1, 1], 60)
    table = make_table(np.arange(60) % 3, probability, three)
    metrics = evaluate_table(table, three, thresholds=())
    metrics = add_intervals(metrics, table, three, thresholds=(), draws=200)
    text = printed({"val": metrics, "test": metrics}, three)
    low, high = metrics.intervals["auroc"].low, metrics.intervals["auroc"].high
    assert f"{metrics.values['auroc']:.3f} ({low:.3f}-{high:.3f})" in text
    assert "Too wide" not in text
    assert row(text, "VIRUS")[1] == f"{metrics.values['auroc_VIRUS']:.3f}"


def test_three_splits_in_a_narrow_window_go_without_intervals(make_table) -> None:
    table = make_table([0, 0, 0, 0, 1, 1] * 5, [0.1, 0.2, 0.4, 0.8, 0.5, 0.9] * 5)
    metrics = evaluate_table(table, TWO, thresholds=[0.5])
    metrics = add_intervals(metrics, table, TWO, thresholds=[0.5], draws=200)
    splits = dict.fromkeys(("val", "test", "val_shifted"), metrics)
    narrow, wide = (printed(splits, TWO, width) for width in (80, 200))
    assert row(narrow, "ROC-AUC") == ["ROC-AUC", "0.875", "0.875", "0.875"]
    assert "(" in row(wide, "ROC-AUC")[2]
    assert "Too wide" not in narrow
