"""Which images train, validate and test, by every choice of `data.split`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlab.config.datasets import DataBase
from cxrlab.data.groups import group_images
from cxrlab.data.manifest import Manifest
from cxrlab.data.split import cut, pool, thin
from cxrlab.errors import UserError
from cxrlab.task import Task

NO_PAIRS = pd.DataFrame({"a": [], "b": []}, dtype="int64")
BASE = {
    "name": "made", "image_size": 32, "batch_size": 8, "split": "auto", "val_fraction": 0.2,
    "test_fraction": 0.25, "split_file": None, "site": None, "site_column": "site",
    "split_seed": 0, "folds": None, "fold": None, "limit": None, "on_bad_image": "skip",
    "cache": None,
    "preprocess": {
        "crop_borders": False, "percentiles": None, "resize": "stretch", "clahe": None,
    },
}  # fmt: skip


def config(**changes: object) -> DataBase:
    return DataBase.model_validate({**BASE, **changes})


def manifest(official: str = "", patients: int = 40, images: int = 2) -> Manifest:
    """Two images a patient, classes in turn, three sites; official: `train`, or none."""
    count = patients * images
    owner = np.arange(count) // images
    table = pd.DataFrame(
        {
            "path": [f"{i:03d}.png" for i in range(count)],
            "target": owner % 2,
            "label": np.where(owner % 2, "SICK", "WELL"),
            "patient_id": [f"p{n}" for n in owner],
            "split": official,
            "site": [f"s{n % 3}" for n in owner],
        }
    )
    return Manifest("made", Path("/made"), Task.exclusive(("WELL", "SICK")), table, ("site",))


def split(given: Manifest, pairs: pd.DataFrame = NO_PAIRS, **changes: object) -> Manifest:
    settings = config(**changes)
    pooled = thin(pool(given, settings), settings)
    return cut(pooled, group_images(pooled.table["patient_id"], pairs), settings)


def patients(found: Manifest, name: str) -> set[str]:
    return set(found.split(name)["patient_id"])


def with_official_test(given: Manifest) -> Manifest:
    last = np.arange(len(given)) >= len(given) - 20
    return given.with_table(given.table.assign(split=np.where(last, "test", "train")))


def test_without_an_official_split_three_parts_are_cut_by_patient() -> None:
    found = split(manifest())
    sizes = found.table["split"].value_counts()
    assert dict(sizes) == {"train": 48, "val": 12, "test": 20}
    assert not patients(found, "train") & patients(found, "val")
    assert not patients(found, "train") & patients(found, "test")
    assert not patients(found, "val") & patients(found, "test")


def test_an_official_test_set_stays_as_it_is() -> None:
    given = with_official_test(manifest())
    found = split(given)
    assert set(found.split("test")["path"]) == set(given.split("test")["path"])
    assert len(found.split("val")) == 12


@pytest.mark.parametrize("choice", ["auto", "official"])
def test_a_whole_split_of_the_datasets_own_stays_as_it_is(choice: str) -> None:
    given = with_official_test(manifest())
    splits = given.table["split"].where(np.arange(len(given)) >= 4, "val")
    given = given.with_table(given.table.assign(split=splits))
    pd.testing.assert_frame_equal(split(given, split=choice).table, given.table)


def test_folds_take_the_datasets_own_validation_set_in() -> None:
    given = with_official_test(manifest())
    splits = given.table["split"].where(np.arange(len(given)) >= 4, "val")
    given = given.with_table(given.table.assign(split=splits))
    found = [split(given, folds=3, fold=fold) for fold in range(3)]
    assert sum(len(f.split("val")) for f in found) == 60


def test_an_official_split_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"no official split for train, val, test.*auto"):
        split(manifest(), split="official")
    with pytest.raises(UserError, match="no official split for val"):
        split(with_official_test(manifest()), split="official")


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(0, 3))
def test_folds_validate_every_training_image_once_and_share_one_test_set(folds, seed) -> None:
    found = [split(manifest(), folds=folds, fold=fold, split_seed=seed) for fold in range(folds)]
    tests = {tuple(f.split("test")["path"]) for f in found}
    assert len(tests) == 1
    validated = [path for f in found for path in f.split("val")["path"]]
    assert len(validated) == len(set(validated)) == 80 - len(next(iter(tests)))
    for fold in found:
        assert set(fold.split("val")["target"]) == {0, 1}
        assert not patients(fold, "train") & patients(fold, "val")


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 79), st.integers(0, 79)), max_size=12))
def test_no_duplicate_is_parted_from_its_twin(pairs) -> None:
    table = pd.DataFrame(pairs, columns=["a", "b"], dtype="int64")
    found = split(manifest(), table).table.set_index("path")["split"]
    for a, b in pairs:
        assert found[f"{a:03d}.png"] == found[f"{b:03d}.png"]


@pytest.mark.parametrize(
    ("official", "expected"),
    [
        (["val", ""], {"val", "train", "test"}),
        (["test", ""], {"test", "train", "val"}),
        (["train", "val"], {"train", "val", "test"}),
    ],
)
def test_what_a_dataset_lacks_is_cut_from_what_is_not_taken(official, expected) -> None:
    given = manifest()
    named = given.with_table(
        given.table.assign(split=np.where(np.arange(len(given)) < 20, *official))
    )
    found = split(named)
    assert set(found.table["split"]) == expected
    for kept in {"val", "test"} & set(official):
        before = named.table["split"] == kept
        assert (found.table.loc[before, "split"] == kept).all()


def test_folds_without_a_test_set_part_no_patient() -> None:
    given = manifest()
    named = given.with_table(given.table.assign(split=np.where(np.arange(80) % 2, "val", "")))
    found = split(named, folds=4, fold=1)
    assert not patients(found, "test") & (patients(found, "train") | patients(found, "val"))


def test_a_kind_within_a_class_keeps_its_share() -> None:
    given = manifest(patients=80)
    kinds = np.where(np.arange(160) // 2 % 8 == 1, "rare", "common")
    table = given.table.assign(kind=kinds)
    plain = Manifest("made", given.root, given.task, table)
    found = split(Manifest("made", given.root, given.task, table, stratify="kind"))
    assert (found.split("val")["kind"] == "rare").sum() == 4
    assert plain.stratify is None


def test_a_site_is_left_out() -> None:
    found = split(manifest(), split="site", site="s1")
    assert set(found.split("test")["site"]) == {"s1"}
    assert set(found.split("train")["site"]) | set(found.split("val")["site"]) == {"s0", "s2"}


def test_an_unknown_site_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"data\.site=s9: no image is from there; did you mean"):
        split(manifest(), split="site", site="s9")
    with pytest.raises(UserError, match="no such column in made"):
        split(manifest(), split="site", site="x", site_column="hospital")


@pytest.mark.parametrize("key", ["path", "patient_id"])
def test_a_file_decides(tmp_path: Path, key: str) -> None:
    given = manifest()
    names = sorted(set(given.table[key]))
    wanted = {name: ("train", "val", "test", "none")[i % 4] for i, name in enumerate(names)}
    file = tmp_path / "split.csv"
    pd.DataFrame({key: list(wanted), "split": list(wanted.values())}).to_csv(file, index=False)
    found = split(given, split="file", split_file=str(file))
    assert (found.table[key].map(wanted) == found.table["split"]).all()
    assert len(found) == 60, "images of split none are left out"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "can't be read"),
        ("", "can't be read"),
        ("image,part\n", r"needs the columns path \(or patient_id\) and split; found image, part"),
        ("path,split\n000.png,valid\n", "split 'valid': did you mean 'val'"),
        ("path,split\n000.png,val\n000.png,test\n", "'000.png' is listed twice"),
        ("path,split\n000.png,val\n", "no row for 79 of 80 images .*'001.png'"),
    ],
)
def test_a_wrong_split_file_is_one_line(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "split.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        split(manifest(), split="file", split_file=str(file))
    assert "\n" not in str(caught.value)


def test_a_limit_is_for_each_split_and_thins_before_any_file_is_read() -> None:
    settings = config(limit=10)
    pooled = thin(pool(manifest(patients=200), settings), settings)
    assert len(pooled) == 17, "10 to train on, and as many to validate and test on as that implies"
    found = split(manifest(patients=200), limit=10).table["split"].value_counts()
    assert (found <= 10).all()
    assert set(found.index) == {"train", "val", "test"}


def test_the_table_given_is_not_changed() -> None:
    given = manifest()
    before = given.table.copy()
    split(given)
    pd.testing.assert_frame_equal(given.table, before)


def test_findings_are_spread_over_the_parts() -> None:
    rng = np.random.default_rng(0)
    findings = (rng.random((300, 5)) < [0.3, 0.1, 0.05, 0.03, 0.02]).astype(np.float32)
    task = Task.multilabel(tuple("ABCDE"))
    table = pd.DataFrame(findings, columns=task.target_columns).assign(
        path=[f"{i:03d}.png" for i in range(300)],
        label="",
        patient_id=[f"p{i // 2}" for i in range(300)],
        split="",
    )
    found = split(Manifest("made", Path("/made"), task, table))
    for name in ("train", "val", "test"):
        assert (found.split(name)[task.target_columns].sum() > 0).all()
