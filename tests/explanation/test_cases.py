from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cxrlab.errors import UserError
from cxrlab.explanation.cases import Cases, _truly, case_table, choose_rows
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
FINDINGS = Task.multilabel(("Effusion", "Mass"))


def two_classes() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": ["a.png", "b.png", "c.png"],
            "patient_id": ["1", "1", "2"],
            "target": [0, 1, 1],
            "probability": [0.2, 0.7, 0.4],
            "decision": [0, 1, 0],
        }
    )


def cases_of(table: pd.DataFrame, task: Task, strata: list[int]) -> Cases:
    told = case_table(table, task, np.array(strata))
    return Cases(task, told, np.zeros((len(told), 4, 4), np.uint8), None, None)


def test_of_two_classes_the_second_is_explained() -> None:
    cases = cases_of(two_classes().iloc[[2, 0]], TWO, [1, 0])
    assert cases.table["row"].tolist() == [2, 0]
    assert cases.explained.tolist() == [1, 1]
    assert cases.table["probability"].tolist() == [0.4, 0.2]
    assert cases.decided.tolist() == [False, False]
    assert _truly(cases.table, TWO).tolist() == [True, False]


def test_of_more_the_class_decided_for() -> None:
    table = two_classes().drop(columns="probability").assign(target=[0, 1, 2], decision=[0, 2, 2])
    for index, name in enumerate(THREE.classes):
        table[f"probability_{name}"] = [0.1 * (index + 1)] * 3
    cases = cases_of(table, THREE, [0, 1, 2])
    assert cases.explained.tolist() == [0, 2, 2]
    np.testing.assert_allclose(cases.table["probability"], [0.1, 0.3, 0.3])
    assert cases.decided.all()
    # The mask of a bacterial opacity is no answer to what speaks for a virus, nor for health.
    assert _truly(cases.table, THREE).tolist() == [False, False, True]


def test_of_findings_the_one_for_which_an_image_was_chosen() -> None:
    table = two_classes()[["path", "patient_id"]].assign(
        target_Effusion=[1.0, 0.0, np.nan], target_Mass=[0.0, 1.0, 0.0],
        probability_Effusion=[0.8, 0.1, 0.3], probability_Mass=[0.2, 0.6, 0.1],
        decision_Effusion=[1, 0, 0], decision_Mass=[0, 0, 0],
    )  # fmt: skip
    cases = cases_of(table, FINDINGS, [0, 1, 2])
    assert cases.explained.tolist() == [0, 1, 0]
    assert cases.table["probability"].tolist() == [0.8, 0.6, 0.3]
    assert cases.decided.tolist() == [True, False, False]
    assert cases.table["target"].isna().tolist() == [False, False, True]
    assert _truly(cases.table, FINDINGS).tolist() == [True, True, False]


def test_rows_are_chosen_by_number_row_and_path() -> None:
    table, strata = two_classes(), np.array([0, 1, 1])
    assert choose_rows(table, strata, "all").tolist() == [0, 1, 2]
    assert choose_rows(table, strata, ["c.png", 0]).tolist() == [2, 0]
    some = choose_rows(table, strata, 3)
    assert sorted(strata[some]) == [0, 1]  # two patients, an image each
    with pytest.raises(UserError, match=r"did you mean 'c\.png'"):
        choose_rows(table, strata, ["cc.png"])
    with pytest.raises(UserError, match=r"0\.\.2"):
        choose_rows(table, strata, [-1])
