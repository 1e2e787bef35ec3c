from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

import pytest
from helpers.replica import write_nih

from cxrlab.data.sources.nih_chestxray14 import FINDINGS
from cxrlab.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_nih(tmp_path / "nih_chestxray14", size=16)


def test_all_is_fourteen_findings_of_which_an_image_may_have_several(root: Path, load) -> None:
    manifest = load("data=nih_chestxray14", f"data.root={root}")
    assert manifest.task.kind == "multilabel"
    assert manifest.classes == FINDINGS
    row = manifest.table.set_index("path").loc["images_006/images/00000015_000.png"]
    assert row["label"] == "Effusion|Pneumonia"
    assert (row["target_Pneumonia"], row["target_Effusion"], row["target_Mass"]) == (1, 1, 0)
    assert manifest.table["label"].iloc[0] == "none"


def test_one_finding_is_present_or_absent(root: Path, load) -> None:
    manifest = load("data=nih_chestxray14", f"data.root={root}", "data.target=Pneumonia")
    assert manifest.classes == ("No Pneumonia", "Pneumonia")
    sick = manifest.table["patient_id"].astype(int) % 3 == 0
    assert (manifest.table["target"] == sick).all()


def test_the_official_lists_are_the_split_and_part_no_patient(root: Path, load) -> None:
    manifest = load("data=nih_chestxray14", f"data.root={root}")
    assert manifest.table["split"].value_counts().to_dict() == {"train": 48, "test": 12}
    train, test = (set(manifest.split(s)["patient_id"]) for s in ("train", "test"))
    assert not train & test


def test_without_the_lists_no_split_is_official(root: Path, load, caplog) -> None:
    (root / "test_list.txt").unlink()
    assert set(load("data=nih_chestxray14", f"data.root={root}").table["split"]) == {""}
    assert "no test_list.txt" in caplog.text


@pytest.mark.parametrize("old", [False, True])
def test_patients_and_report_columns_of_both_tables(tmp_path: Path, load, old: bool) -> None:
    root = write_nih(tmp_path / "nih", images=30, size=16, old=old)
    manifest = load("data=nih_chestxray14", f"data.root={root}")
    assert manifest.report_columns == ("sex", "age", "view")
    first = manifest.table.iloc[0]
    assert first["patient_id"] == "00000001"
    assert (first["sex"], first["age"], first["view"]) == ("F", 21.0, "PA")
    impossible = manifest.table[manifest.table["patient_id"] == "00000007"]
    assert len(impossible) == 2
    assert impossible["age"].isna().all()


def test_a_view_can_be_chosen(root: Path, load) -> None:
    manifest = load("data=nih_chestxray14", f"data.root={root}", "data.view=AP")
    assert len(manifest) == 30
    assert set(manifest.table["view"]) == {"AP"}


def test_one_flat_folder_of_images_works_as_well(root: Path, load) -> None:
    (root / "images").mkdir()
    for file in sorted(root.glob("images_*/images/*.png")):
        file.rename(root / "images" / file.name)
    assert load("data=nih_chestxray14", f"data.root={root}").table["path"].iloc[0] == (
        "images/00000001_000.png"
    )


def test_images_that_are_not_on_disk_are_left_out_and_counted(root: Path, load, caplog) -> None:
    shutil.rmtree(root / "images_012")
    with caplog.at_level(logging.WARNING, "cxrlab"):
        manifest = load("data=nih_chestxray14", f"data.root={root}")
    assert len(manifest) == 55
    assert "5 of 60 images" in caplog.text
    assert all((manifest.root / path).is_file() for path in manifest.table["path"])


def test_without_one_image_the_folder_is_named(root: Path, load) -> None:
    for folder in root.glob("images_*"):
        shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"nih_chestxray14: holds none of the 60 images"):
        load("data=nih_chestxray14", f"data.root={root}")


def test_the_environment_and_the_missing_dataset(root: Path, load, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"data\.root=PATH.*CXRLAB_DATA=FOLDER.*nihcc\.app\.box"):
        load("data=nih_chestxray14")
    monkeypatch.setenv("CXRLAB_DATA", str(root.parent))
    assert len(load("data=nih_chestxray14")) == 60


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Finding Labels", "Findings", "no column 'Finding Labels'; did you mean 'Findings'"),
        ("Patient Sex", "Sex", "no column 'Patient Gender' or 'Patient Sex'"),
        ("No Finding", "Broken Rib", "'Broken Rib', which is none of the 14"),
        ("00000002_000.png", "00000001_000.png", "00000001_000.png is listed twice"),
    ],
)
def test_another_table_is_refused(root: Path, load, old: str, new: str, message: str) -> None:
    file = root / "Data_Entry_2017_v2020.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        load("data=nih_chestxray14", f"data.root={root}")


def test_an_unknown_finding_names_the_nearest(root: Path, load) -> None:
    with pytest.raises(UserError, match=r"data\.target=pneumonia.*did you mean 'Pneumonia'"):
        load("data=nih_chestxray14", f"data.root={root}", "data.target=pneumonia")


@pytest.mark.slow
def test_the_whole_dataset_takes_seconds(tmp_path: Path, load) -> None:
    root = write_nih(tmp_path / "nih", images=112_120, size=16)
    start = time.perf_counter()
    assert len(load("data=nih_chestxray14", f"data.root={root}")) == 112_120
    # Two to four seconds on two cores; a busy machine must not fail the suite.
    assert time.perf_counter() - start < 30
