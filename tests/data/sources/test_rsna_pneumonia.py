from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.replica import write_rsna

from cxrlab.data.sources import rsna_pneumonia
from cxrlab.errors import UserError

MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_rsna(tmp_path / "rsna_pneumonia", mapping=True)


def test_an_image_is_one_row_whatever_the_number_of_its_boxes(root: Path, load) -> None:
    manifest = load("data=rsna_pneumonia", f"data.root={root}")
    assert len(manifest) == 30
    assert manifest.table["target"].sum() == 10
    assert manifest.classes == ("No Pneumonia", "Pneumonia")
    assert set(manifest.table["split"]) == {""}
    assert all((manifest.root / path).is_file() for path in manifest.table["path"])


def test_detailed_tells_other_abnormalities_apart(root: Path, load) -> None:
    manifest = load("data=rsna_pneumonia", f"data.root={root}", "data.target=detailed")
    assert manifest.classes == ("Normal", "Other Abnormality", "Lung Opacity")
    assert manifest.table["target"].value_counts().to_dict() == {0: 10, 1: 10, 2: 10}
    assert (manifest.table["detail"] == manifest.table["label"]).all()


def test_boxes_are_masks_of_the_images_own_size(root: Path, load) -> None:
    manifest = load("data=rsna_pneumonia", f"data.root={root}")
    expected = np.zeros((64, 64), np.uint8)
    expected[30:54, 4:24] = 255
    mask = manifest.table["mask"][2]
    np.testing.assert_array_equal(
        cv2.imread(str(manifest.root / mask), cv2.IMREAD_GRAYSCALE), expected
    )
    two_boxes = cv2.imread(manifest.table["mask"][5], cv2.IMREAD_GRAYSCALE)
    assert (two_boxes[34:54, 40:56] == 255).all()
    assert ((manifest.table["mask"] == "") == (manifest.table["target"] == 0)).all()


def test_masks_are_drawn_once_and_anew_for_other_boxes(root: Path, load, monkeypatch) -> None:
    first = load("data=rsna_pneumonia", f"data.root={root}")
    with monkeypatch.context() as patch:
        patch.setattr(rsna_pneumonia, "_draw", lambda *_: pytest.fail("drawn again"))
        assert (
            load("data=rsna_pneumonia", f"data.root={root}")
            .table["mask"]
            .equals(first.table["mask"])
        )
    file = root / "stage_2_train_labels.csv"
    file.write_text(file.read_text().replace("4.0,30.0", "5.0,30.0"))
    other = load("data=rsna_pneumonia", f"data.root={root}")
    assert other.table["mask"][2] != first.table["mask"][2]


def test_patients_come_from_the_mapping_to_nih(root: Path, load) -> None:
    manifest = load("data=rsna_pneumonia", f"data.root={root}")
    assert manifest.table["patient_id"].tolist()[:3] == ["00000001", "00000001", "00000002"]


def test_without_the_mapping_every_image_is_its_own_patient(root: Path, load, caplog) -> None:
    (root / MAPPING).unlink()
    manifest = load("data=rsna_pneumonia", f"data.root={root}")
    assert manifest.table["patient_id"].is_unique
    assert MAPPING in caplog.text


def test_a_broken_mapping_is_refused(root: Path, load) -> None:
    (root / MAPPING).write_text('[{"img_id": "00000001_000.png"}]')
    with pytest.raises(UserError, match="not RSNA's mapping"):
        load("data=rsna_pneumonia", f"data.root={root}")


def test_missing_images_are_left_out_and_counted(root: Path, load, caplog) -> None:
    sorted((root / "stage_2_train_images").iterdir())[2].unlink()
    manifest = load("data=rsna_pneumonia", f"data.root={root}")
    assert len(manifest) == 29
    assert "1 of 30 images" in caplog.text


def test_a_broken_image_still_has_a_mask(root: Path, load) -> None:
    sorted((root / "stage_2_train_images").iterdir())[2].write_bytes(b"broken")
    manifest = load("data=rsna_pneumonia", f"data.root={root}")
    assert cv2.imread(manifest.table["mask"][2], cv2.IMREAD_GRAYSCALE).shape == (1024, 1024)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("stage_2_train_labels.csv", "Target", "target", "did you mean 'target'"),
        ("stage_2_train_labels.csv", ",,,,0", ",,,,2", "no Target of 0 or 1"),
        ("stage_2_train_labels.csv", "4.0,30.0,20.0,24.0,1", ",,,,1", "Target of 1 without a box"),
        ("stage_2_detailed_class_info.csv", "Normal", "Fine", "has no class"),
    ],
)
def test_another_table_is_refused(
    root: Path, load, file: str, old: str, new: str, message: str
) -> None:
    (root / file).write_text((root / file).read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        load("data=rsna_pneumonia", f"data.root={root}")


def test_missing_folders_are_named(root: Path, load) -> None:
    shutil.rmtree(root / "stage_2_train_images")
    with pytest.raises(UserError, match="stage_2_train_images: no such folder"):
        load("data=rsna_pneumonia", f"data.root={root}")
    with pytest.raises(UserError, match=r"data\.root=PATH.*CXRLAB_DATA.*kaggle\.com"):
        load("data=rsna_pneumonia")
