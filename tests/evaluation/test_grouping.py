from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.evaluation.grouping import groups_of, report_columns
from cxrlab.task import Task

entries = st.one_of(
    st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=60),
    st.lists(st.one_of(st.none(), st.integers(-5, 120)), max_size=60),
    st.lists(st.floats(width=32), max_size=60),
    st.lists(st.booleans(), max_size=60),
)


def cut(values: object, name: str = "dose") -> dict[str, list[int]]:
    found = groups_of(pd.Series(values, name=name))
    return {group: np.flatnonzero(members).tolist() for group, members in found}


@given(entries, st.sampled_from(["age", "dose"]))
def test_each_image_is_in_exactly_one_group(values: list[object], name: str) -> None:
    found = groups_of(pd.Series(values, name=name))
    taken = sum((members.astype(int) for _, members in found), np.zeros(len(values), dtype=int))
    assert (taken == 1).all()
    assert all(members.any() for _, members in found)
    assert len({group for group, _ in found}) == len(found)


def test_ages_are_cut_into_bands() -> None:
    ages = [64, 0, 17, 18, 39, 40, 65, 90, 17.9, np.nan, -1]
    expected = {"0-17": [1, 2, 8], "18-39": [3, 4], "40-64": [0, 5], "65+": [6, 7]}
    assert cut(ages, "Age") == {**expected, "unknown": [9, 10]}


def test_few_numbers_are_a_group_each() -> None:
    assert cut([10, 2, 2, 1]) == {"1": [3], "2": [1, 2], "10": [0]}
    assert cut([0.5, 0.25, np.inf]) == {"0.25": [1], "0.5": [0], "unknown": [2]}
    assert list(cut(list(range(8)), "age")) == [str(age) for age in range(8)]


def test_many_numbers_are_cut_at_their_quartiles() -> None:
    found = cut([*range(12, 0, -1), None])
    assert list(found) == ["1 to 3", "4 to 6", "7 to 9", "10 to 12", "unknown"]
    assert found["1 to 3"] == [9, 10, 11]
    # Three quarters are 0: one group of zeros, one of the others.
    assert cut([0] * 30 + list(range(1, 11))) == {
        "0": list(range(30)),
        "1 to 10": list(range(30, 40)),
    }


def test_close_numbers_have_different_names() -> None:
    values = 1000 + np.arange(40) / 1000
    assert list(cut(values))[:2] == ["1000 to 1000.01", "1000.01 to 1000.02"]


def test_texts_are_a_group_each_and_blanks_are_unknown() -> None:
    found = cut(["b", "a,<$x$>", None, " ", "b "])
    assert found == {"a,<$x$>": [1], "b": [0, 4], "unknown": [2, 3]}
    assert cut([None, None]) == {"unknown": [0, 1]}
    assert cut([np.nan, np.nan], "age") == {"unknown": [0, 1]}
    assert cut([True, False, True]) == {"False": [1], "True": [0, 2]}
    assert cut([]) == {}


def test_rare_texts_of_very_many_are_put_together() -> None:
    values = [f"site {n:02d}" for n in range(35)] + ["site 33", "site 34", ""]
    found = cut(values)
    assert len(found) == 31
    assert list(found)[-2:] == ["6 other values", "unknown"]
    assert found["site 34"] == [34, 36]
    assert found["6 other values"] == [27, 28, 29, 30, 31, 32]


@pytest.mark.parametrize(
    "task",
    [
        Task.exclusive(("NORMAL", "PNEUMONIA")),
        Task.exclusive(("NORMAL", "BACTERIA", "VIRUS")),
        Task.multilabel(("Effusion", "Mass")),
    ],
)
def test_reporting_columns_are_those_that_are_not_the_tables_own(make_table, task: Task) -> None:
    target = [[1, 0], [0, 1]] if task.kind == "multilabel" else [0, 1]
    probability = np.full((2, task.outputs), 0.3).squeeze()
    table = make_table(target, probability, task)
    assert report_columns(table, task) == []
    assert report_columns(table.assign(sex="F", age=3), task) == ["sex", "age"]
