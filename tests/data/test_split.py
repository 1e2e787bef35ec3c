from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlab.data.split import assign, fold, holdout
from cxrlab.errors import UserError


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Patients of one to four images, one class a patient, at least ten of each class."""
    patients = [
        (f"c{target}-{number}", target, draw(st.integers(1, 4)))
        for target in (0, 1)
        for number in range(draw(st.integers(10, 25)))
    ]
    rows = [
        {"path": f"{name}/{i}.png", "patient_id": name, "target": target, "split": "train"}
        for name, target, images in patients
        for i in range(images)
    ]
    return pd.DataFrame(rows)


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from([0.1, 0.2, 0.25, 0.5]), st.integers(0, 5))
def test_a_holdout_splits_no_patient_and_has_every_class_on_both_sides(
    table: pd.DataFrame, fraction: float, seed: int
) -> None:
    held_out = holdout(table, fraction, seed)
    inside, outside = table[held_out], table[~held_out]
    assert not set(inside["patient_id"]) & set(outside["patient_id"])
    assert set(inside["target"]) == set(outside["target"]) == {0, 1}
    assert abs(held_out.mean() - fraction) < 0.12


@settings(max_examples=25, deadline=None)
@given(tables(), st.integers(2, 5), st.integers(0, 5))
def test_folds_hold_every_image_once(table: pd.DataFrame, folds: int, seed: int) -> None:
    parts = [fold(table, folds, which, seed, "target") for which in range(folds)]
    assert (sum(part.astype(int) for part in parts) == 1).all()
    for part in parts:
        assert not set(table[part]["patient_id"]) & set(table[~part]["patient_id"])
        assert set(table[part]["target"]) == {0, 1}


@settings(max_examples=20, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_row_order_does_not_matter(table: pd.DataFrame, random) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    shuffled = table.iloc[order].reset_index(drop=True)
    first = set(table[holdout(table, 0.2, 3)]["path"])
    assert set(shuffled[holdout(shuffled, 0.2, 3)]["path"]) == first


def test_another_seed_is_another_cut() -> None:
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(80)],
            "patient_id": [f"p{i}" for i in range(80)],
            "target": [i % 2 for i in range(80)],
        }
    )
    assert not holdout(table, 0.2, 0).equals(holdout(table, 0.2, 1))


def test_test_rows_never_become_validation() -> None:
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(60)],
            "patient_id": [f"p{i}" for i in range(60)],
            "target": [i % 2 for i in range(60)],
            "split": ["train"] * 40 + ["test"] * 20,
        }
    )
    cut = assign(table, fraction=0.2, folds=None, which=None, seed=0)
    assert (cut["split"][40:] == "test").all()
    assert set(cut["split"][:40]) == {"train", "val"}
    assert (table["split"][:40] == "train").all(), "the table given was changed"


def test_too_few_patients_are_refused() -> None:
    table = pd.DataFrame(
        {"path": ["a", "b", "c"], "patient_id": ["p", "p", "q"], "target": [0, 1, 0]}
    )
    with pytest.raises(UserError, match="2 patients can't be cut into 5 parts"):
        fold(table, 5, 0, 0, "target")
