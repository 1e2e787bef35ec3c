"""Validation cut from training data by patient and class."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from cxrlab.errors import UserError


def holdout(rows: pd.DataFrame, fraction: float, seed: int, stratify: str = "target") -> pd.Series:
    """Which rows to hold out: whole patients, every class in its proportion.

    Args:
        rows: columns `patient_id`, `path` and the column to stratify by.
        fraction: share to hold out, in (0, 1).
        seed: of the draw; the same table gives the same cut on any machine, in any row order.
        stratify: column whose values keep their proportions.

    Returns:
        Boolean series with the index of `rows`, True for held out.

    Raises:
        UserError: there are too few patients for a part of that size.
    """
    inverted = fraction > 0.5
    folds = max(2, round(1 / (1 - fraction if inverted else fraction)))
    held_out = fold(rows, folds, 0, seed, stratify)
    return ~held_out if inverted else held_out


def fold(rows: pd.DataFrame, folds: int, which: int, seed: int, stratify: str) -> pd.Series:
    """Which rows are in one of K patient-grouped, stratified folds.

    Args:
        rows: columns `patient_id`, `path` and the column to stratify by.
        folds: number of folds, K.
        which: the fold wanted, 0..K-1.
        seed: of the draw.
        stratify: column whose values keep their proportions.

    Returns:
        Boolean series with the index of `rows`, True in that fold.

    Raises:
        UserError: there are fewer patients than folds.
    """
    patients = rows["patient_id"].nunique()
    if patients < folds:
        raise UserError(
            f"{patients} patients can't be cut into {folds} parts without splitting one; "
            "use more data, a larger data.val_fraction or fewer data.folds"
        )
    # The splitter's draw depends on the row order, which may differ between file systems.
    ordered = rows.sort_values("path")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = splitter.split(ordered, ordered[stratify], ordered["patient_id"])
    chosen = [test for _, test in parts][which]
    inside = pd.Series(False, index=rows.index)
    inside.loc[ordered.index[np.asarray(chosen)]] = True
    return inside


def assign(
    rows: pd.DataFrame,
    *,
    fraction: float,
    folds: int | None,
    which: int | None,
    seed: int,
    stratify: str = "target",
) -> pd.DataFrame:
    """Turn part of the training rows into validation: one fold of K, or a hold-out.

    Rows of other splits stay where they are.
    """
    rows = rows.copy()
    train = rows[rows["split"] == "train"]
    if folds is not None and which is not None:
        held_out = fold(train, folds, which, seed, stratify)
    else:
        held_out = holdout(train, fraction, seed, stratify)
    rows.loc[held_out.index[held_out], "split"] = "val"
    return rows
