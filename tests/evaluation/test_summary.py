from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.summary import print_results
from cxrlab.evaluation.threshold import Threshold

TWO = ("NORMAL", "PNEUMONIA")
CHOSEN = Threshold(0.5, "youden", "val")


def printed(metrics, classes, width: int = 80, **keywords) -> str:
    stream = io.StringIO()
    print_results(metrics, classes, Console(file=stream, width=width), **keywords)
    return stream.getvalue()


@pytest.fixture
def both(make_table):
    good = make_table([0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.4, 0.8, 0.5, 0.9])
    poor = make_table([0, 1, 1], [0.1, 0.2, 0.3])
    return {
        "val": evaluate_table(good, TWO, threshold=0.5),
        "test": evaluate_table(poor, TWO, threshold=0.5),
    }


def row(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip().startswith(name)).split()


def test_val_stands_beside_test(both) -> None:
    text = printed(both, TWO, threshold=CHOSEN)
    assert row(text, "ROC-AUC") == ["ROC-AUC", "0.875", "1.000"]
    assert row(text, "Accuracy") == ["Accuracy", "0.833", "0.333"]
    assert row(text, "Recall") == ["Recall", "(sensitivity)", "1.000", "0.000"]
    assert row(text, "Precision") == ["Precision", "0.667", "-"]
    assert row(text, "Images") == ["Images", "6", "3"]
    assert row(text, "Threshold") == ["Threshold", "0.500", "0.500"]
    matrix = text[text.index("Confusion matrix, val") :]
    assert row(matrix, "NORMAL") == ["NORMAL", "3", "75.0%", "1", "25.0%"]
    assert row(matrix, "PNEUMONIA") == ["PNEUMONIA", "0", "0.0%", "2", "100.0%"]
    assert "Threshold 0.500 for PNEUMONIA, chosen on val by youden" in text
    assert "Not computed on test, because no image was called PNEUMONIA: precision" in text


def test_a_given_threshold_says_so(both) -> None:
    text = printed(both, TWO, threshold=Threshold(0.5, "0.5", "given"))
    assert "given in the configuration" in text


def test_a_pipe_gets_plain_lines_of_80_columns(both) -> None:
    text = printed(both, TWO, threshold=CHOSEN)
    assert "\x1b" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_names_are_no_markup(make_table) -> None:
    names = ("[red]well[/]", "[/nonsense]")
    table = make_table([0, 1], [0.2, 0.7], names)
    metrics = {"test": evaluate_table(table, names, threshold=0.5)}
    text = printed(metrics, names, threshold=CHOSEN)
    assert "[red]well[/]" in text
    assert "Threshold 0.500 for [/nonsense]" in text


def test_more_classes_and_a_matrix_too_wide_for_the_terminal(make_table) -> None:
    names = tuple(f"a rather long finding {i}" for i in range(5))
    probability = np.full((10, 5), 0.1) + 0.5 * np.eye(5)[np.arange(10) % 5]
    table = make_table(np.arange(10) % 5, probability, names)
    metrics = {"test": evaluate_table(table, names, threshold=None)}
    narrow, wide = printed(metrics, names), printed(metrics, names, width=200)
    assert max(len(line.rstrip()) for line in narrow.splitlines()) <= 80
    assert "Too wide to show here" in narrow
    assert "Too wide" not in wide
    assert row(wide, names[2])[-5:] == ["1.000"] * 5
