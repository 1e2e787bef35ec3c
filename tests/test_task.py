from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cxrlab.task import Task


def test_two_classes_are_binary_and_more_are_not() -> None:
    assert Task.exclusive(("a", "b")).kind == "binary"
    assert Task.exclusive(("a", "b")).outputs == 1
    assert Task.exclusive(("a", "b", "c")).kind == "multiclass"
    assert Task.exclusive(("a", "b", "c")).outputs == 3
    assert Task.multilabel(("a", "b")).outputs == 2


@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("binary", ("a",)),
        ("multiclass", ("a", "b")),
        ("multilabel", ("a",)),
        ("binary", ("a", "a")),
    ],
)
def test_classes_that_make_no_task_are_refused(kind: str, classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="class"):
        Task(kind, classes)


def test_the_truth_of_a_table() -> None:
    exclusive = Task.exclusive(("well", "sick"))
    table = pd.DataFrame({"target": [1, 0]})
    assert exclusive.targets(table).tolist() == [1, 0]
    assert {name: m.tolist() for name, m in exclusive.memberships(table)} == {
        "well": [0, 1],
        "sick": [1, 0],
    }
    findings = Task.multilabel(("mass", "effusion"))
    table = pd.DataFrame({"target_mass": [1.0, np.nan], "target_effusion": [0.0, 1.0]})
    np.testing.assert_array_equal(findings.targets(table), [[1, 0], [np.nan, 1]])
    np.testing.assert_array_equal(dict(findings.memberships(table))["mass"], [1, np.nan])
