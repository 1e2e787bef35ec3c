"""Which images train, validate and test: a dataset's own split, a file's, a site's or a cut."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.datasets import DataBase
from cxrlab.config.validate import nearest
from cxrlab.data.manifest import SPLITS, UNASSIGNED, Manifest
from cxrlab.data.partition import partition
from cxrlab.errors import UserError

_LEAVE_OUT = "none"


def pool(manifest: Manifest, config: DataBase) -> Manifest:
    """Decide what is still to be cut, before any file is read.

    Returns:
        The manifest with `split` train (validation is cut from it, unless there are rows of val),
        val, test, or "" (validation and test are cut from it).

    Raises:
        UserError: there is no such split, file or site.
    """
    if config.split == "official":
        return _official(manifest)
    if config.split == "file":
        return _from_file(manifest, Path(str(config.split_file)).expanduser())
    splits = manifest.table["split"]
    if config.split == "site":
        splits = _leave_out_site(manifest, str(config.site), config.site_column)
    if config.folds is not None:
        splits = splits.where(splits != "val", "train")
    if (splits == "test").any():
        splits = splits.where(splits != UNASSIGNED, "train")
    else:
        splits = splits.where(splits == "val", UNASSIGNED)
    return manifest.with_table(manifest.table.assign(split=splits))


def thin(manifest: Manifest, config: DataBase) -> Manifest:
    """Keep only what `data.limit` needs, before any file is read; all without a limit."""
    if config.limit is None:
        return manifest
    limits = dict.fromkeys(SPLITS, config.limit)
    uncut = 1 - _val_share(config)
    if not (manifest.table["split"] == "val").any():
        limits["train"] = math.ceil(config.limit / uncut)
    limits[UNASSIGNED] = math.ceil(config.limit / (uncut * (1 - config.test_fraction)))
    return manifest.limited(limits, config.split_seed)


def cut(manifest: Manifest, groups: NDArray[np.int64], config: DataBase) -> Manifest:
    """Cut test and validation where they are still to be cut, and keep to `data.limit`.

    Args:
        manifest: from `pool`.
        groups: (N,) images with the same number stay together.
        config: fractions, folds, seed and limit.

    Raises:
        UserError: there are too few patients for a part.
    """
    splits = manifest.table["split"].to_numpy(dtype=object).copy()
    if (splits == UNASSIGNED).any():
        rows = np.flatnonzero(splits == UNASSIGNED)
        shares = [1 - config.test_fraction, config.test_fraction]
        parts = _parts(manifest, groups, rows, shares, config.split_seed)
        splits[rows] = np.where(parts == 1, "test", "train")
    if not (splits == "val").any():
        rows = np.flatnonzero(splits == "train")
        if config.folds is not None:
            shares, which = [1 / config.folds] * config.folds, config.fold
        else:
            shares, which = [1 - config.val_fraction, config.val_fraction], 1
        parts = _parts(manifest, groups, rows, shares, config.split_seed)
        splits[rows[parts == which]] = "val"
    done = manifest.with_table(manifest.table.assign(split=splits.astype(str)))
    if config.limit is None:
        return done
    return done.limited(dict.fromkeys(SPLITS, config.limit), config.split_seed)


def _parts(
    manifest: Manifest,
    groups: NDArray[np.int64],
    rows: NDArray[np.int64],
    shares: list[float],
    seed: int,
) -> NDArray[np.int64]:
    table = manifest.table.iloc[rows]
    return partition(table["path"].tolist(), groups[rows], _labels(manifest)[rows], shares, seed)


def _labels(manifest: Manifest) -> NDArray[np.bool_]:
    """(N, C): findings, and none of them; or the classes, by kind where the dataset has kinds."""
    if manifest.task.kind == "multilabel":
        present = np.asarray(manifest.task.targets(manifest.table) == 1)
        return np.column_stack([present, ~present.any(axis=1)])
    columns = ["label", *([manifest.stratify] if manifest.stratify else [])]
    kinds = manifest.table.groupby(columns, dropna=False).ngroup().to_numpy()
    return np.asarray(kinds[:, None] == np.arange(kinds.max(initial=-1) + 1))


def _val_share(config: DataBase) -> float:
    return 1 / config.folds if config.folds is not None else config.val_fraction


def _official(manifest: Manifest) -> Manifest:
    found = set(manifest.table["split"])
    missing = [split for split in SPLITS if split not in found]
    if missing or UNASSIGNED in found:
        lacks = ", ".join(missing) or "some images"
        raise UserError(
            f"data.split=official: {manifest.name} at {manifest.root} has no official split for "
            f"{lacks}; take data.split=auto, or data.split=file with a table of your own"
        )
    return manifest


def _from_file(manifest: Manifest, file: Path) -> Manifest:
    try:
        given = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"data.split_file={file}: can't be read ({reason})") from error
    key = next((c for c in ("path", "patient_id") if c in given), None)
    if key is None or "split" not in given:
        raise UserError(
            f"data.split_file={file}: needs the columns path (or patient_id) and split; "
            f"found {', '.join(given.columns)}"
        )
    valid = (*SPLITS, _LEAVE_OUT)
    if wrong := sorted(set(given["split"]) - set(valid)):
        raise UserError(f"data.split_file={file}: split {wrong[0]!r}: {nearest(wrong[0], valid)}")
    if given[key].duplicated().any():
        first = given.loc[given[key].duplicated(), key].iloc[0]
        raise UserError(f"data.split_file={file}: {key} {first!r} is listed twice; keep one row")
    splits = manifest.table[key].map(given.set_index(key)["split"])
    if splits.isna().any():
        first = manifest.table.loc[splits.isna(), key].iloc[0]
        raise UserError(
            f"data.split_file={file}: no row for {int(splits.isna().sum())} of {len(splits)} "
            f"images (first {key}: {first!r}); add them, with split {_LEAVE_OUT} to leave them out"
        )
    table = manifest.table.assign(split=splits)
    return manifest.with_table(table[table["split"] != _LEAVE_OUT])


def _leave_out_site(manifest: Manifest, site: str, column: str) -> pd.Series:
    if column not in manifest.table:
        raise UserError(
            f"data.site_column={column}: no such column in {manifest.name}; "
            f"{nearest(column, manifest.report_columns)}"
        )
    sites = manifest.table[column].astype(str)
    if not (sites == site).any():
        raise UserError(f"data.site={site}: no image is from there; {nearest(site, set(sites))}")
    return (sites == site).map({True: "test", False: "train"})
