from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.replica import write_chest_xray

from cxrlab.data.sources import chest_xray
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


def test_folders_are_the_official_split(root: Path, load) -> None:
    manifest = load("data=chest_xray", f"data.root={root}", "data.split=official")
    assert manifest.table["split"].value_counts().to_dict() == {"train": 48, "test": 16, "val": 4}
    for split in ("train", "val", "test"):
        assert manifest.split(split)["path"].str.startswith(f"{split}/").all()
    assert manifest.classes == ("NORMAL", "PNEUMONIA")
    assert set(manifest.table["pathogen"]) == {"normal", "bacteria", "virus"}


def test_the_official_validation_images_train_unless_the_letter_is_asked_for(
    root: Path, load
) -> None:
    manifest = load("data=chest_xray", f"data.root={root}")
    assert manifest.table["split"].value_counts().to_dict() == {"train": 52, "test": 16}


def test_a_copy_without_the_official_validation_images_is_whole(root: Path, load) -> None:
    shutil.rmtree(root / "val")
    assert set(load("data=chest_xray", f"data.root={root}").table["split"]) == {"train", "test"}


def test_pathogens_are_three_classes(root: Path, load) -> None:
    manifest = load("data=chest_xray", f"data.root={root}", "data.target=pathogen")
    assert manifest.classes == ("NORMAL", "BACTERIA", "VIRUS")
    assert manifest.task.kind == "multiclass"
    rows = manifest.table[manifest.table["path"].str.contains("_virus_")]
    assert set(rows["target"]) == {2}
    assert set(rows["pathogen"]) == {"virus"}


def test_a_name_without_a_cause_is_refused_where_it_is_needed(root: Path, load) -> None:
    folder = root / "train" / "PNEUMONIA"
    next(folder.iterdir()).rename(folder / "mystery.jpeg")
    load("data=chest_xray", f"data.root={root}")
    with pytest.raises(UserError, match=r"mystery\.jpeg"):
        load("data=chest_xray", f"data.root={root}", "data.target=pathogen")


def test_the_parent_folder_and_the_environment_work_as_well(
    root: Path, load, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = load("data=chest_xray", f"data.root={root}")
    parent = load("data=chest_xray", f"data.root={root.parent}")
    monkeypatch.setenv("CXRLAB_DATA", str(root.parent))
    found = load("data=chest_xray")
    for other in (parent, found):
        pd.testing.assert_frame_equal(other.table, direct.table)


def test_an_empty_class_is_named(root: Path, load) -> None:
    for file in (root / "train" / "NORMAL").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="train/NORMAL: holds no image"):
        load("data=chest_xray", f"data.root={root}")


def test_another_layout_names_the_folder_that_is_missing(tmp_path: Path, load) -> None:
    (tmp_path / "train" / "healthy").mkdir(parents=True)
    with pytest.raises(UserError, match="train/NORMAL: no such folder"):
        load("data=chest_xray", f"data.root={tmp_path}")


def test_without_data_and_network_the_three_ways_are_named(
    load, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(chest_xray, "is_reachable", lambda url: asked.append(url) or False)
    with pytest.raises(UserError, match=r"data\.root=PATH.*CXRLAB_DATA.*data\.download=true"):
        load("data=chest_xray")
    assert len(asked) == 1


def test_with_a_network_the_dataset_is_downloaded(
    root: Path, load, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub

    monkeypatch.setattr(chest_xray, "is_reachable", lambda url: True)
    monkeypatch.setattr(kagglehub, "dataset_download", lambda name: str(root.parent))
    assert len(load("data=chest_xray")) == 68


def test_a_failed_download_is_one_line(load, monkeypatch: pytest.MonkeyPatch) -> None:
    import kagglehub

    def fail(name: str) -> str:
        raise ConnectionError("connection\nreset")

    monkeypatch.setattr(chest_xray, "is_reachable", lambda url: True)
    monkeypatch.setattr(kagglehub, "dataset_download", fail)
    with pytest.raises(UserError, match=r"connection reset.*data\.root=PATH"):
        load("data=chest_xray")
