from __future__ import annotations

import builtins
from pathlib import Path

import pytest
from helpers.replica import write_dicom_folder

from cxrlab.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dicom_folder(tmp_path / "mine", size=8)


def test_patients_and_report_columns_come_from_the_headers(root: Path, load) -> None:
    manifest = load("data=dicom_folder", f"data.root={root}")
    assert manifest.classes == ("normal", "sick")
    assert manifest.report_columns == ("sex", "age", "view")
    table = manifest.table
    assert table["patient_id"].tolist()[:3] == ["00000", "00000", "00001"]
    assert table[["sex", "age", "view"]].iloc[0].tolist() == ["M", 40.0, "PA"]


def test_nothing_else_of_the_header_is_kept(root: Path, load) -> None:
    table = load("data=dicom_folder", f"data.root={root}").table
    assert set(table) == {
        *("path", "target", "label", "split", "patient_id", "sex", "age", "view"),
    }
    assert not table.astype(str).apply(lambda c: c.str.contains("Doe")).any(axis=None)


def test_without_an_id_an_image_is_its_own_patient(root: Path, load, caplog) -> None:
    import pydicom

    file = root / "sick" / "000.dcm"
    dataset = pydicom.dcmread(file)
    dataset.PatientID = ""
    del dataset.PatientSex, dataset.PatientAge, dataset.ViewPosition
    dataset.save_as(file)
    row = load("data=dicom_folder", f"data.root={root}").table.set_index("path").loc["sick/000.dcm"]
    assert row["patient_id"] == "sick/000.dcm"
    assert (row["sex"], row["view"]) == ("unknown", "unknown")
    assert row["age"] != row["age"]
    assert "1 of 16 files have no PatientID" in caplog.text


def test_files_without_a_suffix_count_if_they_are_dicom(root: Path, load) -> None:
    (root / "sick" / "000.dcm").rename(root / "sick" / "IM000001")
    (root / "sick" / "README").write_text("not DICOM")
    (root / "sick" / "DICOMDIR").write_bytes((root / "sick" / "IM000001").read_bytes())
    (root / "sick" / "preview.png").write_text("not DICOM")
    paths = set(load("data=dicom_folder", f"data.root={root}").table["path"])
    assert len(paths) == 16
    assert "sick/IM000001" in paths


def test_a_broken_file_stays_to_be_named_later(root: Path, load) -> None:
    (root / "sick" / "000.dcm").write_bytes(b"")
    assert len(load("data=dicom_folder", f"data.root={root}")) == 16


def test_a_folder_without_dicom_is_refused(tmp_path: Path, load) -> None:
    for name in ("normal", "sick"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "image").write_text("not DICOM")
    with pytest.raises(UserError, match="no readable DICOM file"):
        load("data=dicom_folder", f"data.root={tmp_path / 'mine'}")


def test_without_pydicom_the_extra_is_named(root: Path, load, monkeypatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object) -> object:
        if name.startswith("pydicom"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"cxrlab\[dicom\]"):
        load("data=dicom_folder", f"data.root={root}")
