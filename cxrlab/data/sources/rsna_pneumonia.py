"""RSNA Pneumonia Detection Challenge 2018.

Population: 26,684 frontal radiographs of NIH ChestX-ray14, chosen to hold many pneumonia-like
ones; DICOM of 1024 x 1024 pixels. These are the challenge's stage 2 training images; the test
images have no public labels.

Labels: by radiologists who saw the image alone. `Target` is 1 (6,012 images) where an opacity is
suspicious for pneumonia, with a box around each opacity. The detailed class splits the others
into Normal (8,851) and No Lung Opacity / Not Normal (11,821), called Other Abnormality here.
Boxes become masks, for measures of explanations: a box holds more than the opacity.

Split: none official.

Caveats: an opacity on an image is no diagnosis of pneumonia. `patientId` names an image, not a
patient, and many patients have several: put pneumonia-challenge-dataset-mappings_2018.json,
which RSNA publishes, beside the tables, and images of one NIH patient stay together.

Overlap: every image is also in NIH ChestX-ray14 and, small, in ChestMNIST. Never train on one and
test on another.

Citation: Shih et al., Augmenting the National Institutes of Health Chest Radiograph Dataset with
Expert Annotations of Possible Pneumonia, Radiology: Artificial Intelligence 1(1), 2019,
doi:10.1148/ryai.2019180041.

Licence: the rules of the Kaggle competition rsna-pneumonia-detection-challenge; the images are
NIH's, free to use with attribution.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cxrlab.config.datasets import RsnaData
from cxrlab.data.manifest import UNASSIGNED, Manifest
from cxrlab.data.sources.generated import generated, in_threads, key_of, write_png
from cxrlab.data.sources.headers import read_header
from cxrlab.data.sources.present import keep_present
from cxrlab.data.sources.roots import require_root
from cxrlab.data.sources.tables import read_table
from cxrlab.errors import UserError, warn
from cxrlab.progress import track
from cxrlab.task import Task

CLASSES = ("No Pneumonia", "Pneumonia")
DETAILED = ("Normal", "Other Abnormality", "Lung Opacity")

_FOLDER = "stage_2_train_images"
_LABELS, _DETAILS = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
_MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_BOX = ["x", "y", "width", "height"]
_OFFICIAL_NAMES = {
    "Normal": "Normal",
    "No Lung Opacity / Not Normal": "Other Abnormality",
    "Lung Opacity": "Lung Opacity",
}
_SIDE = 1024  # pixels, of every image as published


def load(config: RsnaData) -> Manifest:
    """Read the tables and, once, write the boxes as masks into the cache folder.

    Raises:
        UserError: the dataset is missing, a table is another one, or no image is there.
    """
    root = require_root(
        config.name,
        config.root,
        signs=[_LABELS],
        get="download it from kaggle.com/competitions/rsna-pneumonia-detection-challenge",
    )
    boxes = _boxes(root)
    images = boxes.drop_duplicates("patientId").reset_index(drop=True)
    present = images["patientId"].isin(_list_images(root))
    images = keep_present(images, present, table_name=_LABELS, folder=root / _FOLDER)
    images = images.reset_index(drop=True)
    detail = _details(root, images["patientId"])
    if config.target == "pneumonia":
        task, label = Task.exclusive(CLASSES), images["Target"].map(CLASSES.__getitem__)
    else:
        task, label = Task.exclusive(DETAILED), detail
    positive = boxes[(boxes["Target"] == 1) & boxes["patientId"].isin(images["patientId"])]
    masks = _masks(config, root, positive)
    table = pd.DataFrame(
        {
            "path": f"{_FOLDER}/" + images["patientId"] + ".dcm",
            "target": label.map(task.classes.index).astype("int64"),
            "label": label,
            "patient_id": _patients(root, images["patientId"]),
            "split": UNASSIGNED,
            "mask": [
                (masks / f"{name}.png").as_posix() if target else ""
                for name, target in zip(images["patientId"], images["Target"], strict=True)
            ],
            "detail": detail,
        }
    )
    return Manifest(config.name, root, task, table, ("detail",), stratify="detail")


def _boxes(root: Path) -> pd.DataFrame:
    boxes = read_table(root / _LABELS, ("patientId", *_BOX, "Target"))
    numbers = boxes[[*_BOX, "Target"]].apply(pd.to_numeric, errors="coerce")
    bad = ~numbers["Target"].isin([0, 1])
    bad |= (numbers["Target"] == 1) & numbers[_BOX].isna().any(axis=1)
    if bad.any():
        name = boxes.loc[bad, "patientId"].iloc[0]
        raise UserError(
            f"{root / _LABELS}: {name} has no Target of 0 or 1, or a Target of 1 without a box; "
            "take the table as the challenge publishes it"
        )
    return numbers.assign(patientId=boxes["patientId"])


def _details(root: Path, images: pd.Series) -> pd.Series:
    rows = read_table(root / _DETAILS, ("patientId", "class")).drop_duplicates("patientId")
    detail = images.map(rows.set_index("patientId")["class"]).map(_OFFICIAL_NAMES)
    if detail.isna().any():
        raise UserError(
            f"{root / _DETAILS}: has no class, or none of the challenge's, for "
            f"{images[detail.isna()].iloc[0]}; take the table as the challenge publishes it"
        )
    return detail


def _list_images(root: Path) -> set[str]:
    folder = root / _FOLDER
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; unpack {_FOLDER}.zip into it")
    return {entry.name.removesuffix(".dcm") for entry in os.scandir(folder)}


def _patients(root: Path, images: pd.Series) -> pd.Series:
    """The NIH patient of each image by RSNA's mapping, else the image itself."""
    file = root / _MAPPING
    if not file.is_file():
        warn(
            f"{root}: no {_MAPPING}, so every image counts as its own patient and images of one "
            "may train and test; get the file from RSNA's page of the challenge"
        )
        return images
    try:
        nih = {row["subset_img_id"]: row["img_id"] for row in json.loads(file.read_bytes())}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: not RSNA's mapping ({error!r}); download it again") from error
    # NIH's files are named <patient>_<number>.png.
    return images.map(nih).fillna(images).str.partition("_")[0]


def _masks(config: RsnaData, root: Path, boxes: pd.DataFrame) -> Path:
    by_image = [(str(name), rows) for name, rows in boxes.groupby("patientId")[_BOX]]
    key = key_of([str(root), boxes[["patientId", *_BOX]].to_csv(index=False)])

    def write(folder: Path, name: str, rows: pd.DataFrame) -> None:
        write_png(folder / f"{name}.png", _draw(rows, _size(root / _FOLDER / f"{name}.dcm")))

    def fill(folder: Path) -> None:
        written = in_threads(lambda image: write(folder, *image), by_image)
        for _ in track(written, total=len(by_image), what="drawing masks"):
            pass
        (folder / "done").touch()

    return generated(config.cache, "masks/rsna_pneumonia", key, "done", fill)


def _draw(boxes: pd.DataFrame, size: tuple[int, int]) -> np.ndarray:
    """Boxes as an image (height, width) uint8: 255 inside, 0 outside."""
    mask = np.zeros(size, np.uint8)
    for x, y, width, height in boxes.round().astype(int).itertuples(index=False):
        cv2.rectangle(mask, (x, y), (x + width - 1, y + height - 1), 255, thickness=-1)
    return mask


def _size(path: Path) -> tuple[int, int]:
    """Height and width by the header, in pixels."""
    header = read_header(path, ("Rows", "Columns")) or {}
    try:
        return int(header["Rows"]), int(header["Columns"])
    except (KeyError, ValueError):
        return _SIDE, _SIDE  # the image itself is left out later, with its reason
