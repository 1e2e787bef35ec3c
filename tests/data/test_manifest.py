from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.manifest import Manifest, data_fingerprint, join_findings
from cxrlab.errors import UserError
from cxrlab.task import Task


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
    return Manifest("made", Path("/nowhere"), Task.exclusive(names[:2]), table)


@given(st.lists(st.integers(0, 1), min_size=8, max_size=60), st.integers(2, 30), st.integers(0, 9))
def test_a_limit_keeps_classes_and_their_proportions(
    targets: list[int], limit: int, seed: int
) -> None:
    manifest = make(targets, ["train"] * len(targets))
    limited = manifest.limited({"train": limit}, seed)
    assert len(limited) == min(limit, len(targets))
    assert set(limited.table["target"]) == set(targets)
    expected = limit * sum(targets) / len(targets)
    if limit <= len(targets):
        assert abs(limited.table["target"].sum() - expected) <= 1.5


def test_a_limit_is_for_each_split() -> None:
    manifest = make([0, 1] * 15, ["train"] * 10 + ["val"] * 10 + ["test"] * 10)
    counts = manifest.limited({"train": 4, "test": 6}, 0).table["split"].value_counts()
    assert dict(counts) == {"train": 4, "val": 10, "test": 6}


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
    one = data_fingerprint(["a", "b"], ["1", "2"], ["x", "y"])
    assert data_fingerprint(["b", "a"], ["2", "1"], ["y", "x"]) == one
    assert data_fingerprint(["a", "b"], ["1", "3"], ["x", "y"]) != one
    assert data_fingerprint(["a", "b"], ["1", "2"], ["x", "x"]) != one


def test_counts_give_images_and_patients() -> None:
    counts = make([0, 0, 1, 1], ["train", "train", "train", "val"]).counts()
    first = counts[(counts["split"] == "train") & (counts["label"] == "NORMAL")].iloc[0]
    assert (first["images"], first["patients"]) == (2, 1)


def make_findings(split: list[str], mass: list[float], hernia: list[float]) -> Manifest:
    table = pd.DataFrame({"target_Mass": mass, "target_Hernia": hernia, "split": split})
    table["path"] = table["patient_id"] = [f"{i}.png" for i in range(len(table))]
    task = Task.multilabel(("Mass", "Hernia"))
    table["label"] = join_findings(task, task.targets(table))
    return Manifest("made", Path("/nowhere"), task, table)


def test_findings_are_read_as_text() -> None:
    manifest = make_findings(["train"] * 4, [1, 1, 0, np.nan], [1, 0, np.nan, np.nan])
    assert manifest.table["label"].tolist() == ["Mass|Hernia", "Mass", "none", "unknown"]


def test_sampling_keeps_the_rarest_finding_of_an_image() -> None:
    manifest = make_findings(["train"] * 5, [1, 1, 1, 0, np.nan], [0, 0, 1, 0, np.nan])
    assert manifest.strata().tolist() == [0, 0, 1, 2, 2]


def test_a_finding_that_a_split_lacks_is_warned_of_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    splits = ["train", "train", "val", "val", "test", "test"]
    manifest = make_findings(splits, [1, 0, 1, 0, 1, 0], [1, 0, 0, 0, 0, np.nan])
    manifest.check()
    assert "Hernia: never or always present in split 'val'" in caplog.text
    assert "Mass" not in caplog.text


def test_a_split_without_any_finding_is_refused() -> None:
    splits = ["train", "train", "val", "val", "test", "test"]
    manifest = make_findings(splits, [1, 0, 1, 1, 1, 0], [1, 0, 0, 0, 0, 1])
    with pytest.raises(UserError, match="class Mass has no image in split 'val'"):
        manifest.check()
