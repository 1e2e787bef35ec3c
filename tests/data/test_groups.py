from __future__ import annotations

import pandas as pd

from cxrlab.data.groups import group_images


def test_patients_that_share_a_picture_are_one_group() -> None:
    patients = pd.Series(["a", "a", "b", "c", "c", "d"])
    duplicates = pd.DataFrame({"a": [1, 3], "b": [2, 5]})
    groups = group_images(patients, duplicates)
    assert len(set(groups[[0, 1, 2]])) == 1
    assert len(set(groups[[3, 4, 5]])) == 1
    assert groups[0] != groups[3]


def test_without_duplicates_patients_are_the_groups() -> None:
    patients = pd.Series(["x", "y", "x"], index=[7, 8, 9])
    groups = group_images(patients, pd.DataFrame({"a": [], "b": []}, dtype="int64"))
    assert groups.tolist() == [0, 1, 0]
