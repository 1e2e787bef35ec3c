"""NIH ChestX-ray14.

Population: patients of the NIH Clinical Center, Bethesda, 1992 to 2015; frontal radiographs, AP
and PA, of routine care. 112,120 images of 30,805 patients, PNG of 1024 x 1024 pixels, 8 bits.

Labels: 14 findings, text-mined from the radiology reports, which are not public. An image may
have several; `No Finding` means that none of the 14 was mined, not that the lungs are healthy.

Split: official, by patient: 86,524 images to train and validate on, 25,596 to test on. There is
no official validation set.

Caveats: the authors expect the labels to be more than 90 % right; Oakden-Rayner (2020) looked at
samples and found them far less so for several findings. Many images of pneumothorax show the
chest drain that treats it, which a model can take for the finding. Some ages are impossible
(above 120 years): they count as unknown.

Overlap: the images of the RSNA Pneumonia Detection Challenge and of ChestMNIST are from here.
Never train on one and test on another.

Citation: Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on
Weakly-Supervised Classification and Localization of Common Thorax Diseases, CVPR 2017,
doi:10.1109/CVPR.2017.369. On the labels: Oakden-Rayner, Exploring Large-scale Public Medical
Image Datasets, Academic Radiology 27(1), 2020, doi:10.1016/j.acra.2019.10.006.

Licence: free to use; NIH asks for a link to its download page, the citation, and the
acknowledgement that the NIH Clinical Center provided the data.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.datasets import NihData
from cxrlab.data.manifest import UNASSIGNED, Manifest
from cxrlab.data.sources.demographics import ages, sexes, views
from cxrlab.data.sources.findings import add_targets, choose_target
from cxrlab.data.sources.present import keep_present
from cxrlab.data.sources.roots import require_root
from cxrlab.data.sources.tables import read_table
from cxrlab.errors import UserError, warn

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NO_FINDING = "No Finding"

_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
_SEX_COLUMNS = ("Patient Gender", "Patient Sex")
_REPORT = ("sex", "age", "view")


def load(config: NihData) -> Manifest:
    """Read the table and the two official lists; images are found by listing folders once.

    Raises:
        UserError: the dataset is missing, its table is another one, or no image is there.
    """
    task = choose_target(config.name, config.target, FINDINGS, {"all": FINDINGS})
    root = require_root(
        config.name,
        config.root,
        signs=_TABLES,
        get="download it by hand from https://nihcc.app.box.com/v/ChestXray-NIHCC",
    )
    entries = _entries(root)
    if config.view != "all":
        entries = entries[entries["View Position"] == config.view]
    folders = list_images(root)
    folder = entries["Image Index"].map(folders)
    entries = keep_present(entries, folder.notna(), table_name="Data_Entry_2017", folder=root)
    table = pd.DataFrame(
        {
            "path": folder[entries.index] + "/" + entries["Image Index"],
            # The file names pad the number to eight digits; the table does not.
            "patient_id": entries["Patient ID"].str.zfill(8),
            "split": _official_split(root, entries["Image Index"]),
            "sex": sexes(entries["sex"]),
            "age": ages(entries["Patient Age"]),
            "view": views(entries["View Position"]),
        }
    ).reset_index(drop=True)
    table = add_targets(table, task, _findings(entries["Finding Labels"], root))
    return Manifest(config.name, root, task, table, _REPORT)


def list_images(root: Path) -> dict[str, str]:
    """The folder, relative to `root`, of every image in `images/` and `images_*/images/`."""
    found: dict[str, str] = {}
    for folder in [*sorted(root.glob("images_*/images")), root / "images"]:
        if folder.is_dir():
            relative = folder.relative_to(root).as_posix()
            with os.scandir(folder) as entries:
                found.update((e.name, relative) for e in entries if e.name.endswith(".png"))
    return found


def _entries(root: Path) -> pd.DataFrame:
    file = next(root / name for name in _TABLES if (root / name).exists())
    entries = read_table(file, _COLUMNS)
    sex = next((name for name in _SEX_COLUMNS if name in entries), None)
    if sex is None:
        raise UserError(f"{file}: no column {' or '.join(map(repr, _SEX_COLUMNS))}")
    if entries["Image Index"].duplicated().any():
        first = entries.loc[entries["Image Index"].duplicated(), "Image Index"].iloc[0]
        raise UserError(f"{file}: {first} is listed twice; take the table as NIH publishes it")
    return entries.rename(columns={sex: "sex"})


def _official_split(root: Path, names: pd.Series) -> pd.Series:
    splits = pd.Series(UNASSIGNED, index=names.index)
    missing = [file for file in _LISTS.values() if not (root / file).is_file()]
    if missing:
        warn(
            f"{root}: no {' and no '.join(missing)}, so the official test set is not known and "
            "one is drawn by patient; results do not compare with published ones; add the lists"
        )
        return splits
    listed = {
        name: split for split, file in _LISTS.items() for name in (root / file).read_text().split()
    }
    return pd.Series([listed.get(name, UNASSIGNED) for name in names], index=names.index)


def _findings(labels: pd.Series, root: Path) -> dict[str, NDArray[np.float32]]:
    """Which findings each row's `A|B` names; a few hundred combinations make up all rows."""
    codes, combinations = pd.factorize(labels)
    named = [set(str(combination).split("|")) for combination in combinations]
    if strange := sorted(set().union(*named) - {*FINDINGS, NO_FINDING}):
        raise UserError(
            f"{root}: Finding Labels has {strange[0]!r}, which is none of the 14 findings; "
            "take the table as NIH publishes it"
        )
    return {
        finding: np.array([finding in names for names in named], dtype=np.float32)[codes]
        for finding in FINDINGS
    }
