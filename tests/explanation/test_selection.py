from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlab.data.manifest import Manifest
from cxrlab.explanation import selection
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))


def panel(rows: pd.DataFrame, n: int, seed: int = 0) -> list[int]:
    return selection.panel_indices(rows, rows["target"].to_numpy(), n, seed)


def table_of(patients_per_class: int = 6, images: int = 3, classes: int = 2) -> pd.DataFrame:
    rows = [
        {
            "path": f"{target}/p{patient}_{image}.png",
            "patient_id": f"{target}-{patient}",
            "target": target,
        }
        for target in range(classes)
        for patient in range(patients_per_class)
        for image in range(images)
    ]
    return pd.DataFrame(rows)


def test_panel_is_half_positive_of_different_patients():
    table = table_of()
    chosen = table.iloc[panel(table, 8)]
    assert chosen["target"].tolist() == [0] * 4 + [1] * 4
    assert chosen["patient_id"].is_unique


def test_panel_spreads_over_all_classes():
    table = table_of(classes=3)
    chosen = table.iloc[panel(table, 8)]
    assert sorted(chosen["target"].value_counts()) == [2, 3, 3]


@settings(max_examples=20, deadline=None)
@given(order=st.randoms(use_true_random=False), n=st.integers(0, 14), seed=st.integers(0, 3))
def test_panel_does_not_depend_on_the_order_of_rows(order, n: int, seed: int):
    table = table_of()
    rows = list(range(len(table)))
    order.shuffle(rows)
    shuffled = table.iloc[rows]
    expected = table.iloc[panel(table, n, seed)]["path"].tolist()
    assert shuffled.iloc[panel(shuffled, n, seed)]["path"].tolist() == expected


def test_other_seeds_choose_other_panels():
    table = table_of(patients_per_class=30)
    panels = {tuple(panel(table, 8, seed)) for seed in range(5)}
    assert len(panels) > 1


def test_panel_takes_what_there_is_rather_than_one_patient_twice():
    table = table_of(patients_per_class=2, images=5)
    chosen = table.iloc[panel(table, 8)]
    assert len(chosen) == 4
    assert chosen["patient_id"].is_unique


def test_panel_fills_up_from_the_other_class():
    table = table_of()
    table = table[(table["target"] == 0) | table["patient_id"].str.endswith("-0")]
    assert len(panel(table, 6)) == 6


def test_panel_shows_each_finding_and_images_without_any():
    task = Task.multilabel(("Effusion", "Mass", "Hernia"))
    rng = np.random.default_rng(0)
    targets = (rng.random((80, 3)) < (0.6, 0.4, 0.05)).astype(np.float32)
    targets[:2] = [[1, 1, 1], [0, 0, np.nan]]
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(80)],
            "patient_id": [f"p{i}" for i in range(80)],
            "split": "val",
            "label": "",
            **dict(zip(task.target_columns, targets.T, strict=True)),
        }
    )
    strata = Manifest("study", Path(), task, table).strata()
    chosen = selection.panel_indices(table, strata, 8)
    assert strata[chosen].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    explained = selection.panel_explained(strata[chosen], task)
    assert explained.tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    truth = targets[chosen, explained]
    assert truth.tolist() == [1] * 6 + [0] * 2


def test_panel_explains_the_only_logit_of_two_classes_and_the_true_class_of_more():
    three = Task.exclusive(("a", "b", "c"))
    assert selection.panel_explained(np.array([0, 1, 0]), TWO).tolist() == [1, 1, 1]
    assert selection.panel_explained(np.array([0, 2, 1]), three).tolist() == [0, 2, 1]


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
    cases = selection.gallery_cases(binary, TWO, per_kind=2)
    assert {kind: "".join(rows["path"]) for kind, rows in cases.items()} == {
        "true_positives": "ba",
        "true_negatives": "cd",
        "false_positives": "eh",
        "false_negatives": "gf",
    }
    columns = ["path", "target", "decision", "explained", "probability"]
    for rows in cases.values():
        assert list(rows.columns) == columns
        assert (rows["explained"] == 1).all()
    assert cases["false_negatives"].index.tolist() == [6, 5]


def test_gallery_follows_the_decision_not_one_half(binary: pd.DataFrame):
    # At a threshold of 0.28, case f (probability 0.3) is decided positive.
    binary["decision"] = (binary["probability"] >= 0.28).astype(int)
    cases = selection.gallery_cases(binary, TWO, per_kind=5)
    assert cases["true_positives"]["path"].tolist() == ["b", "a", "f"]
    assert cases["false_negatives"]["path"].tolist() == ["g"]


def test_gallery_of_a_perfect_model_has_empty_error_tables(binary: pd.DataFrame):
    binary["target"] = binary["decision"]
    cases = selection.gallery_cases(binary, TWO, per_kind=2)
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
    task = Task.exclusive(("normal", "virus", "bacteria"))
    cases = selection.gallery_cases(predictions, task, per_kind=2)
    assert cases["correct"]["path"].tolist() == ["d", "b"]
    assert cases["wrong"]["path"].tolist() == ["c"]
    assert cases["correct"]["explained"].tolist() == [2, 1]
    assert cases["correct"]["probability"].tolist() == [0.9, 0.8]
    assert cases["wrong"]["explained"].tolist() == [0]


def test_gallery_of_findings_has_known_pairs_and_an_image_once_a_kind():
    predictions = pd.DataFrame(
        {
            "path": list("abcd"),
            "target_Mass": pd.array([1, 0, None, 1], dtype="Int64"),
            "target_Hernia": [1, 0, 0, 1],
            "probability_Mass": [0.9, 0.8, 0.99, 0.3],
            "probability_Hernia": [0.95, 0.1, 0.2, 0.4],
            "decision_Mass": [1, 1, 1, 0],
            "decision_Hernia": [1, 0, 0, 1],
        }
    )
    task = Task.multilabel(("Mass", "Hernia"))
    cases = selection.gallery_cases(predictions, task, per_kind=5)
    found = {
        kind: list(zip(rows["path"], rows["explained"], rows.index, strict=True))
        for kind, rows in cases.items()
    }
    # Image a has both findings: the surer one stands for it. Nobody knows of a mass in c.
    assert found == {
        "true_positives": [("a", 1, 0), ("d", 1, 3)],
        "true_negatives": [("b", 1, 1), ("c", 1, 2)],
        "false_positives": [("b", 0, 1)],
        "false_negatives": [("d", 0, 3)],
    }
    assert cases["true_positives"]["probability"].tolist() == [0.95, 0.4]
    assert cases["false_negatives"]["target"].tolist() == [1]
    assert cases["false_negatives"]["decision"].tolist() == [0]
