"""Stanford CheXpert.

Population: patients of Stanford Hospital, in- and outpatients, October 2002 to July 2017;
224,316 radiographs of 65,240 patients, frontal and lateral, JPEG. `CheXpert-v1.0-small` holds the
same images at low resolution.

Labels: 14 observations, taken from the reports by a rule-based labeler: 1 mentioned as present, 0
as absent, -1 as uncertain, empty not mentioned. Not mentioned counts as absent here, which is
common practice and not in the labels; what is uncertain counts as `data.uncertain` says. The
validation set (200 studies) was read by three radiologists, the test set (500 studies) by five.
`No Finding` is one of the 14. The competition's five are atelectasis, cardiomegaly,
consolidation, edema and pleural effusion.

Split: train.csv and valid.csv; with test.csv (published later) valid validates and test tests,
without it valid is the test set.

Caveats: labels of train come from another process than those of valid and test. valid is small
and lacks some observations, such as fractures, so `data.target=all` needs test.csv or a split of
your own.

Overlap: none known with the other datasets here.

Citation: Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and
Expert Comparison, AAAI 2019, doi:10.1609/aaai.v33i01.3301590.

Licence: Stanford University School of Medicine CheXpert Dataset Research Use Agreement: research,
no commercial use, no redistribution.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.datasets import ChexpertData
from cxrlab.data.manifest import Manifest
from cxrlab.data.sources.demographics import ages, sexes, views
from cxrlab.data.sources.findings import add_targets, choose_target
from cxrlab.data.sources.present import keep_present
from cxrlab.data.sources.roots import require_root
from cxrlab.data.sources.tables import read_table, row_number
from cxrlab.errors import UserError

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
COMPETITION = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")

_FOLDERS = ("CheXpert-v1.0", "CheXpert-v1.0-small")
_COUNTS_AS = {"unknown": np.nan, "negative": 0.0, "positive": 1.0}
_REPORT = ("sex", "age", "view")


def load(config: ChexpertData) -> Manifest:
    """Read the tables of all splits and keep the views that are asked for.

    Raises:
        UserError: the dataset is missing, a table is another one, or no image is there.
    """
    groups = {"all": FINDINGS, "competition": COMPETITION}
    task = choose_target(config.name, config.target, FINDINGS, groups)
    root = require_root(
        config.name,
        config.root,
        signs=["train.csv"],
        inside=_FOLDERS,
        get="register at https://stanfordmlgroup.github.io/competitions/chexpert and download it",
    )
    rows = pd.concat([_read(root, file, split) for file, split in _tables(root)])
    rows = rows.reset_index(drop=True)
    if config.view != "all":
        rows = rows[rows["path"].str.contains(f"_{config.view}.", regex=False)]
    present = rows["patient_folder"].isin(_patient_folders(root))
    rows = keep_present(rows, present, table_name="train.csv and valid.csv", folder=root)
    values = {name: _labels(rows[name], config.uncertain, root) for name in FINDINGS}
    table = rows[["path", "patient_id", "split", *_REPORT]]
    table = add_targets(
        table, task, values, remedy="data.uncertain=negative or positive keeps uncertain ones"
    )
    return Manifest(config.name, root, task, table.reset_index(drop=True), _REPORT)


def _tables(root: Path) -> list[tuple[str, str]]:
    if (root / "test.csv").is_file():
        return [("train.csv", "train"), ("valid.csv", "val"), ("test.csv", "test")]
    return [("train.csv", "train"), ("valid.csv", "test")]


def _read(root: Path, file: str, split: str) -> pd.DataFrame:
    rows = read_table(root / file, ("Path", *FINDINGS))
    # `CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg`; test.csv has no prefix.
    path = rows["Path"].str.replace(r"^CheXpert-v1\.0[^/]*/", "", regex=True)
    parts = path.str.extract(r"^((\w+/)(patient\d+))/")
    if parts[0].isna().any():
        index = int(parts.index[parts[0].isna()][0])
        raise UserError(
            f"{root / file}: row {row_number(index)}: {rows['Path'][index]!r} is no path of "
            "CheXpert, such as CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg"
        )
    blank = pd.Series("", index=rows.index)
    projection = rows.get("AP/PA", blank)
    return rows.assign(
        path=path,
        patient_folder=parts[0],
        patient_id=parts[2],
        split=split,
        sex=sexes(rows.get("Sex", blank)),
        age=ages(rows.get("Age", blank)),
        view=views(projection.where(~path.str.contains("_lateral.", regex=False), "lateral")),
    )


def _patient_folders(root: Path) -> set[str]:
    """`train/patient00001` and so on: one listing a split, where a look at each file takes long."""
    return {
        f"{split}/{entry.name}"
        for split in ("train", "valid", "test")
        if (root / split).is_dir()
        for entry in os.scandir(root / split)
    }


def _labels(cells: pd.Series, uncertain: str, root: Path) -> NDArray[np.float32]:
    meaning = {"": 0.0, "0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}
    meaning |= dict.fromkeys(("-1", "-1.0"), _COUNTS_AS[uncertain])
    if strange := sorted(set(cells.unique()) - set(meaning)):
        raise UserError(
            f"{root}: column {cells.name!r} has {strange[0]!r}, which is none of 1, 0, -1 and "
            "empty; take the tables as Stanford publishes them"
        )
    return cells.map(meaning).to_numpy(np.float32)
