from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from helpers.replica import write_chest_xray

from cxrlab.data.sources import chest_xray, load_manifest
from cxrlab.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_chest_xray(tmp_path / "chest_xray")


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("person1946_bacteria_4874.jpeg", "person1946_bacteria"),
        ("person1946_virus_4874.jpeg", "person1946_virus"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("IM-0011-0001-0002.jpeg", "IM-0011"),
        ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1427"),
        ("something else.jpeg", "something else"),
    ],
)
def test_patient_keys(file: str, key: str) -> None:
    assert chest_xray.patient_key(file) == key


def test_the_official_test_stays_and_validation_comes_from_train(root: Path, compose) -> None:
    manifest = load_manifest(compose("data=chest_xray", f"data.root={root}").data)
    table = manifest.table
    assert (table["split"] == "test").sum() == 16
    assert set(table[table["path"].str.startswith("test/")]["split"]) == {"test"}
    assert len(table) == 48 + 4 + 16, "the official validation images train"
    by_split = {s: set(manifest.split(s)["patient_id"]) for s in ("train", "val", "test")}
    assert not by_split["train"] & by_split["val"]
    assert manifest.classes == ("NORMAL", "PNEUMONIA")


def test_official_validation_on_request(root: Path, compose) -> None:
    config = compose("data=chest_xray", f"data.root={root}", "data.official_val=val").data
    manifest = load_manifest(config)
    assert manifest.split("val")["path"].str.startswith("val/").all()
    assert len(manifest.split("val")) == 4


def test_pathogens_are_three_classes(root: Path, compose) -> None:
    options = ("data.target=pathogen", "data.val_fraction=0.3")
    manifest = load_manifest(compose("data=chest_xray", f"data.root={root}", *options).data)
    assert manifest.classes == ("NORMAL", "BACTERIA", "VIRUS")
    rows = manifest.table[manifest.table["path"].str.contains("_virus_")]
    assert set(rows["target"]) == {2}
    assert set(rows["pathogen"]) == {"virus"}


def test_a_name_without_a_cause_is_refused_where_it_is_needed(root: Path, compose) -> None:
    folder = root / "train" / "PNEUMONIA"
    next(folder.iterdir()).rename(folder / "mystery.jpeg")
    load_manifest(compose("data=chest_xray", f"data.root={root}").data)
    config = compose("data=chest_xray", f"data.root={root}", "data.target=pathogen").data
    with pytest.raises(UserError, match=r"mystery\.jpeg"):
        load_manifest(config)


def test_folds_cover_the_training_images(root: Path, compose) -> None:
    options = ("data=chest_xray", f"data.root={root}", "data.folds=3")
    validated = [
        set(load_manifest(compose(*options, f"data.fold={k}").data).split("val")["path"])
        for k in range(3)
    ]
    assert sum(map(len, validated)) == len(set.union(*validated)) == 52


def test_the_parent_folder_and_the_environment_work_as_well(
    root: Path, compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = load_manifest(compose("data=chest_xray", f"data.root={root}").data)
    parent = load_manifest(compose("data=chest_xray", f"data.root={root.parent}").data)
    monkeypatch.setenv("CXRLAB_DATA", str(root.parent))
    found = load_manifest(compose("data=chest_xray").data)
    for other in (parent, found):
        pd.testing.assert_frame_equal(other.table, direct.table)


def test_an_empty_class_is_named(root: Path, compose) -> None:
    for file in (root / "train" / "NORMAL").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="train/NORMAL: holds no image"):
        load_manifest(compose("data=chest_xray", f"data.root={root}").data)


def test_another_layout_names_the_folder_that_is_missing(tmp_path: Path, compose) -> None:
    (tmp_path / "train" / "healthy").mkdir(parents=True)
    with pytest.raises(UserError, match="train/NORMAL: no such folder"):
        load_manifest(compose("data=chest_xray", f"data.root={tmp_path}").data)


def test_without_data_and_network_the_three_ways_are_named(
    compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(chest_xray, "is_reachable", lambda url: asked.append(url) or False)
    with pytest.raises(UserError, match=r"data\.root=PATH.*CXRLAB_DATA.*data\.download=true"):
        load_manifest(compose("data=chest_xray").data)
    assert len(asked) == 1


def test_with_a_network_the_dataset_is_downloaded(
    root: Path, compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub

    monkeypatch.setattr(chest_xray, "is_reachable", lambda url: True)
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: str(root.parent))
    assert len(load_manifest(compose("data=chest_xray").data)) == 68


def test_a_failed_download_is_one_line(compose, monkeypatch: pytest.MonkeyPatch) -> None:
    import kagglehub

    def fail(name: str) -> str:
        raise ConnectionError("connection\nreset")

    monkeypatch.setattr(chest_xray, "is_reachable", lambda url: True)
    monkeypatch.setattr(kagglehub, "dataset_download", fail)
    with pytest.raises(UserError, match=r"connection reset.*data\.root=PATH"):
        load_manifest(compose("data=chest_xray").data)
