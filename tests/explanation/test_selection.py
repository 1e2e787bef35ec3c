import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlab.explanation import selection


def table_of(patients_per_class: int = 6, images: int = 3, classes: int = 2) -> pd.DataFrame:
    rows = [
        {
            "path": f"{split}/{target}/p{patient}_{image}.png",
            "patient_id": f"{split}-{target}-{patient}",
            "split": split,
            "target": target,
        }
        for split in ("train", "val", "test")
        for target in range(classes)
        for patient in range(patients_per_class)
        for image in range(images)
    ]
    return pd.DataFrame(rows)


def test_panel_is_half_positive_of_different_validation_patients():
    table = table_of()
    chosen = table.iloc[selection.panel_indices(table, 8)]
    assert (chosen["split"] == "val").all()
    assert chosen["target"].tolist() == [0] * 4 + [1] * 4
    assert chosen["patient_id"].is_unique


def test_panel_spreads_over_all_classes():
    table = table_of(classes=3)
    chosen = table.iloc[selection.panel_indices(table, 8)]
    assert sorted(chosen["target"].value_counts()) == [2, 3, 3]


@settings(max_examples=20, deadline=None)
@given(order=st.randoms(use_true_random=False), n=st.integers(0, 14), seed=st.integers(0, 3))
def test_panel_does_not_depend_on_the_order_of_rows(order, n: int, seed: int):
    table = table_of()
    rows = list(range(len(table)))
    order.shuffle(rows)
    shuffled = table.iloc[rows]
    expected = table.iloc[selection.panel_indices(table, n, seed)]["path"].tolist()
    assert shuffled.iloc[selection.panel_indices(shuffled, n, seed)]["path"].tolist() == expected


def test_other_seeds_choose_other_panels():
    table = table_of(patients_per_class=30)
    panels = {tuple(selection.panel_indices(table, 8, seed)) for seed in range(5)}
    assert len(panels) > 1


def test_panel_takes_what_there_is_rather_than_one_patient_twice():
    table = table_of(patients_per_class=2, images=5)
    chosen = table.iloc[selection.panel_indices(table, 8)]
    assert len(chosen) == 4
    assert chosen["patient_id"].is_unique


def test_panel_fills_up_from_the_other_class():
    table = table_of()
    table = table[(table["target"] == 0) | table["patient_id"].str.endswith("-0")]
    assert len(selection.panel_indices(table, 6)) == 6


@pytest.fixture
def binary() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": list("abcdefgh"),
            "target": [1, 1, 0, 0, 0, 1, 1, 0],
            "probability": [0.9, 0.95, 0.1, 0.2, 0.8, 0.3, 0.25, 0.7],
            "decision": [1, 1, 0, 0, 1, 0, 0, 1],
        },
        index=np.arange(100, 108),
    )


def test_gallery_ranks_each_kind_by_confidence(binary: pd.DataFrame):
    cases = selection.gallery_cases(binary, per_kind=2)
    assert {kind: "".join(rows["path"]) for kind, rows in cases.items()} == {
        "true_positives": "ba",
        "true_negatives": "cd",
        "false_positives": "eh",
        "false_negatives": "gf",
    }
    assert list(cases["true_positives"].columns) == list(binary.columns)
    assert cases["false_negatives"].index.tolist() == [6, 5]


def test_gallery_follows_the_decision_not_one_half(binary: pd.DataFrame):
    # At a threshold of 0.28, case f (probability 0.3) is decided positive.
    binary["decision"] = (binary["probability"] >= 0.28).astype(int)
    cases = selection.gallery_cases(binary, per_kind=5)
    assert cases["true_positives"]["path"].tolist() == ["b", "a", "f"]
    assert cases["false_negatives"]["path"].tolist() == ["g"]


def test_gallery_of_a_perfect_model_has_empty_error_tables(binary: pd.DataFrame):
    binary["target"] = binary["decision"]
    cases = selection.gallery_cases(binary, per_kind=2)
    assert cases["false_positives"].empty
    assert cases["false_negatives"].empty


def test_gallery_of_several_classes_has_right_and_wrong():
    predictions = pd.DataFrame(
        {
            "path": list("abcd"),
            "target": [0, 1, 2, 2],
            "probability_normal": [0.6, 0.1, 0.5, 0.0],
            "probability_virus": [0.3, 0.8, 0.3, 0.1],
            "probability_bacteria": [0.1, 0.1, 0.2, 0.9],
            "decision": [0, 1, 0, 2],
        }
    )
    cases = selection.gallery_cases(predictions, per_kind=2)
    assert cases["correct"]["path"].tolist() == ["d", "b"]
    assert cases["wrong"]["path"].tolist() == ["c"]
