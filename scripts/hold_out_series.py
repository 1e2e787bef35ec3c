"""A split of Kaggle's chest X-rays that validates on radiographs of another series.

    python scripts/hold_out_series.py PATH/chest_xray > series.csv
    python -m cxrlab.train experiment=chest_xray data.split=file data.split_file=series.csv

The file names tell two series of normal radiographs, `IM-` and `NORMAL2-IM-`. Of the training
images all normal ones of one series are held out, and pneumonia of an eighth of the patients:
validation is drawn from these by patient, the others are left out. A model that leans on how one
series looks does worse here than on a cut by patient. Test stays test: leave it unread
(`evaluation.test=false`).
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlab.data.sources.chest_xray import list_images

SERIES = re.compile(r"((?:NORMAL2-)?IM)-")
IMAGES = {"NORMAL": 350, "PNEUMONIA": 250}
SHARE = 0.12


def main() -> None:
    """Write the split to the standard output."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", type=Path, help="folder that holds train/, val/ and test/")
    parser.add_argument("--series", default="NORMAL2-IM", choices=("IM", "NORMAL2-IM"))
    options = parser.parse_args()
    split(pd.DataFrame(list_images(options.root)), options.series).to_csv(sys.stdout, index=False)


def split(images: pd.DataFrame, series: str) -> pd.DataFrame:
    """Columns path and split of all images.

    Args:
        images: columns path, class, patient_id and split.
        series: of normal radiographs, held out.
    """
    train = images[images["split"] != "test"]
    names = train["path"].map(lambda path: SERIES.match(Path(path).name))
    of_series = names.map(lambda found: found is not None and found[1] == series)
    sick = train.loc[train["class"] == "PNEUMONIA", "patient_id"].sort_values().unique()
    chosen = np.random.default_rng(0).choice(sick, int(len(sick) * SHARE), replace=False)
    held = train[of_series | train["patient_id"].isin(chosen)]
    splits = images["split"].where(images["split"] == "test", "train")
    splits[held.index] = "none"  # left out
    generator = np.random.default_rng(1)
    for label, most in IMAGES.items():
        own = held[held["class"] == label]
        patients = own["patient_id"].unique().tolist()
        generator.shuffle(patients)
        taken = own.set_index("patient_id").loc[patients].groupby("patient_id", sort=False).size()
        enough = taken.cumsum().shift(fill_value=0) < most
        rows = own.index[own["patient_id"].isin(taken.index[enough])]
        splits[rows] = "val"
    return images.assign(split=splits)[["path", "split"]]


if __name__ == "__main__":
    main()
