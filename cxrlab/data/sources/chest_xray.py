"""Kaggle's Chest X-Ray Images (Pneumonia).

Population: children of one to five years, Guangzhou Women and Children's Medical Center,
anterior-posterior radiographs of routine care. 5,856 images: train 5,216, val 16, test 624.

Labels: NORMAL and PNEUMONIA, by two physicians, the test set checked by a third. The file names
of PNEUMONIA hold the cause: bacteria or virus.

Caveats: 74 % of train and 62 % of test are PNEUMONIA; train and test differ in exposure and
framing; about 42 % of the images share their patient with another; 30 groups of files are
byte-identical; 16 official validation images are too few to choose anything by. `personN`
numbers bacteria and virus patients apart, so it is no patient key by itself.

Overlap: the 5,856 images of PneumoniaMNIST are these.

Citation: Kermany et al., Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep
Learning, Cell 172(5), 2018, doi:10.1016/j.cell.2018.02.010; data doi:10.17632/rscbjbr9sj.

Licence: CC BY 4.0.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from cxrlab.config.datasets import ChestXrayData
from cxrlab.data.manifest import SPLITS, Manifest
from cxrlab.data.sources.roots import find_root, not_found, places
from cxrlab.errors import UserError
from cxrlab.network import is_reachable
from cxrlab.task import Task

KAGGLE = "paultimothymooney/chest-xray-pneumonia"
FOLDER = "chest_xray"
CLASSES = ("NORMAL", "PNEUMONIA")
PATHOGENS = ("NORMAL", "BACTERIA", "VIRUS")

_PATIENT = re.compile(r"^(person\d+_(?:bacteria|virus)|(?:NORMAL2-)?IM-\d+)")
_SUFFIXES = {".jpeg", ".jpg", ".png"}


def load(config: ChestXrayData) -> Manifest:
    """Read the folder layout `train|val|test/NORMAL|PNEUMONIA`; its folders are the split.

    The 16 official validation images train, unless `data.split=official` asks for the letter.

    Raises:
        UserError: the folder is missing or has another layout.
    """
    root = _root(config)
    table = pd.DataFrame(list_images(root))
    table["pathogen"] = [
        _pathogen(p, c) for p, c in zip(table["path"], table["class"], strict=True)
    ]
    task = Task.exclusive(CLASSES if config.target == "pneumonia" else PATHOGENS)
    label = table["class"] if config.target == "pneumonia" else table["pathogen"].str.upper()
    if (label == "UNKNOWN").any():
        first = table.loc[label == "UNKNOWN", "path"].iloc[0]
        raise UserError(
            f"{root / first}: the name holds neither _bacteria_ nor _virus_, which "
            "data.target=pathogen needs; rename it or take data.target=pneumonia"
        )
    if config.split != "official":
        table["split"] = table["split"].replace("val", "train")
    table["label"] = label
    table["target"] = label.map(task.classes.index).astype("int64")
    columns = ["path", "target", "label", "patient_id", "split", "pathogen"]
    return Manifest(config.name, root, task, table[columns], ("pathogen",), stratify="pathogen")


def list_images(root: Path) -> list[dict[str, str]]:
    """Every image under `root`: its path, class, patient and official split.

    Raises:
        UserError: a folder is missing or holds no image.
    """
    rows = []
    for split in SPLITS:
        for name in CLASSES:
            folder = root / split / name
            if split == "val" and not folder.is_dir():
                continue  # some copies leave out the 16 official validation images
            if not folder.is_dir():
                raise UserError(
                    f"{folder}: no such folder; expected train|val|test/NORMAL|PNEUMONIA"
                )
            files = sorted(f.name for f in os.scandir(folder) if _is_image(f.name))
            if not files and split != "val":
                raise UserError(
                    f"{folder}: holds no image (.jpeg, .jpg or .png); class {name} is empty"
                )
            rows += [
                {
                    "path": f"{split}/{name}/{file}",
                    "class": name,
                    "patient_id": patient_key(file),
                    "split": split,
                }
                for file in files
            ]
    return rows


def patient_key(file: str) -> str:
    """`personN_bacteria`, `personN_virus`, `IM-NNNN` or `NORMAL2-IM-NNNN`, else the file's stem.

    Bacteria and virus patients are numbered apart: `person1_bacteria` is not `person1_virus`.
    """
    found = _PATIENT.match(file)
    return found.group(1) if found else Path(file).stem


def _root(config: ChestXrayData) -> Path:
    looked = places(config.name, config.root)
    found = find_root(looked, lambda folder: (folder / "train").is_dir(), inside=[FOLDER])
    if found is not None:
        return found
    if config.root is None and config.download and is_reachable("https://www.kaggle.com"):
        return _download()
    raise not_found(
        config.name,
        "train/ folder",
        looked,
        get="with a network, data.download=true and data.root=null, which fetch "
        f"kaggle.com/datasets/{KAGGLE}",
    )


def _download() -> Path:
    import kagglehub

    try:
        # kagglehub draws its own progress bar and resumes a broken download.
        folder = Path(kagglehub.dataset_download(KAGGLE))
    except Exception as error:
        raise UserError(
            f"chest_xray: the download of {KAGGLE} failed ({' '.join(str(error).split())}); "
            "fetch it by hand and give data.root=PATH"
        ) from error
    return folder / FOLDER


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in _SUFFIXES and not name.startswith(".")


def _pathogen(path: str, label: str) -> str:
    if label == "NORMAL":
        return "normal"
    for cause in ("bacteria", "virus"):
        if f"_{cause}_" in path:
            return cause
    return "unknown"
