from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.manifest import Manifest, data_fingerprint
from cxrlab.errors import UserError


def make(targets: list[int], splits: list[str]) -> Manifest:
    names = ("NORMAL", "PNEUMONIA", "OTHER")
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(len(targets))],
            "target": targets,
            "label": [names[t] for t in targets],
            "patient_id": [f"p{i // 2}" for i in range(len(targets))],
            "split": splits,
        }
    )
    return Manifest("made", Path("/nowhere"), names[:2], table)


@given(st.lists(st.integers(0, 1), min_size=8, max_size=60), st.integers(2, 30), st.integers(0, 9))
def test_a_limit_keeps_classes_and_their_proportions(
    targets: list[int], limit: int, seed: int
) -> None:
    manifest = make(targets, ["train"] * len(targets))
    limited = manifest.limited(limit, seed)
    assert len(limited) == min(limit, len(targets))
    assert set(limited.table["target"]) == set(targets)
    expected = limit * sum(targets) / len(targets)
    if limit <= len(targets):
        assert abs(limited.table["target"].sum() - expected) <= 1.5


def test_a_limit_is_for_each_split() -> None:
    manifest = make([0, 1] * 15, ["train"] * 10 + ["val"] * 10 + ["test"] * 10)
    counts = manifest.limited(4, 0).table["split"].value_counts()
    assert dict(counts) == {"train": 4, "val": 4, "test": 4}


def test_a_split_without_a_class_is_refused_by_name() -> None:
    manifest = make([0, 1, 0, 1, 0, 0], ["train", "train", "val", "val", "test", "test"])
    with pytest.raises(UserError, match="class PNEUMONIA has no image in split 'test'"):
        manifest.check()


def test_an_empty_split_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="no image in split 'val'"):
        make([0, 1], ["train", "train"]).check()


def test_a_path_listed_twice_is_refused() -> None:
    manifest = make([0, 1], ["train", "train"])
    with pytest.raises(UserError, match=r"0\.png is listed twice"):
        manifest.with_table(pd.concat([manifest.table, manifest.table.iloc[:1]]))


def test_the_split_hash_sees_splits_and_labels_and_not_the_row_order() -> None:
    manifest = make([0, 1, 0, 1], ["train", "train", "val", "val"])
    shuffled = manifest.with_table(manifest.table.iloc[[2, 0, 3, 1]])
    assert shuffled.split_hash() == manifest.split_hash()
    moved = manifest.with_table(manifest.table.assign(split=["train", "val", "val", "val"]))
    assert moved.split_hash() != manifest.split_hash()
    relabelled = manifest.with_table(manifest.table.assign(target=[1, 1, 0, 1]))
    assert relabelled.split_hash() != manifest.split_hash()


def test_the_fingerprint_sees_contents_and_not_the_row_order() -> None:
    one = data_fingerprint(["a", "b"], ["1", "2"], [0, 1])
    assert data_fingerprint(["b", "a"], ["2", "1"], [1, 0]) == one
    assert data_fingerprint(["a", "b"], ["1", "3"], [0, 1]) != one
    assert data_fingerprint(["a", "b"], ["1", "2"], [0, 0]) != one


def test_counts_give_images_and_patients() -> None:
    counts = make([0, 0, 1, 1], ["train", "train", "train", "val"]).counts()
    first = counts[(counts["split"] == "train") & (counts["label"] == "NORMAL")].iloc[0]
    assert (first["images"], first["patients"]) == (2, 1)
