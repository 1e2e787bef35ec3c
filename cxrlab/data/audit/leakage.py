"""The same picture or patient where it must not be: across splits, labels and patient ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxrlab.data.audit.findings import ITEMS, Finding, Severity, counted
from cxrlab.data.manifest import SPLITS, Manifest
from cxrlab.data.prepare import PreparedData

# Up to here a repeated image hardly moves a weight or an interval.
_HARMLESS_SHARE = 0.01

_KINDS = {
    "exact_duplicates": ("exact", "identical files"),
    "near_duplicates": ("near", "the same picture in two encodings, sizes or exposures"),
    "mirrored_duplicates": ("mirrored", "a picture and its mirror image"),
}


def check_leakage(data: PreparedData) -> list[Finding]:
    """Duplicates, their labels and patients, and patients in two splits.

    Duplicates across splits are a finding of their own beside those within a split: `fatal`
    (`warning` if mirrored), since what was seen in training is no test. Within a split they are
    information, and a warning from 1 % of the images on.
    """
    table, pairs = data.manifest.table, data.duplicates
    first, second = (table.iloc[pairs[side].to_numpy(np.int64)] for side in "ab")
    crosses = first["split"].to_numpy() != second["split"].to_numpy()
    found = []
    for check, (kind, what) in _KINDS.items():
        of_kind = (pairs["kind"] == kind).to_numpy()
        across, within = pairs[of_kind & crosses], pairs[of_kind & ~crosses]
        if len(across):
            found.append(_across_splits(check, what, table, across))
        if len(within):
            found.append(_within_split(check, what, table, within))
    differs = _labels_differ(data.manifest, pairs)
    if differs.any():
        found.append(_conflicting(_items(table, pairs[differs])))
    moved = first["patient_id"].to_numpy() != second["patient_id"].to_numpy()
    if moved.any():
        found.append(_of_two_patients(_items(table, pairs[moved])))
    return found + _patient_overlap(table)


def _across_splits(check: str, what: str, table: pd.DataFrame, pairs: pd.DataFrame) -> Finding:
    items = _items(table, pairs)
    severity: Severity = "warning" if check == "mirrored_duplicates" else "fatal"
    groups, images = _extent(pairs)
    message = (
        f"{counted(groups, 'group')} of {images} images across splits: {what}, such as "
        f"{_named(items[0])}; results on the later split are too good: delete one of each, or cut "
        "anew with data.split=file"
    )
    return Finding(check, severity, groups, message, items[:ITEMS])


def _within_split(check: str, what: str, table: pd.DataFrame, pairs: pd.DataFrame) -> Finding:
    items = _items(table, pairs)
    severity: Severity = "warning" if len(items) > _HARMLESS_SHARE * len(table) else "info"
    groups, images = _extent(pairs)
    message = (
        f"{counted(groups, 'group')} of {images} images within a split: {what}, such as "
        f"{_named(items[0])}; they count double and make intervals too narrow: keep one of each"
    )
    return Finding(check, severity, groups, message, items[:ITEMS])


def _extent(pairs: pd.DataFrame) -> tuple[int, int]:
    """How many groups of the same picture the pairs join, and how many images are in them."""
    rows, places = np.unique(pairs[["a", "b"]].to_numpy(np.int64), return_inverse=True)
    first, second = places.reshape(-1, 2).T
    links = coo_array((np.ones(len(pairs)), (first, second)), shape=(len(rows), len(rows)))
    return int(connected_components(links, directed=False)[0]), len(rows)


def _conflicting(items: list[dict[str, Any]]) -> Finding:
    labels = " and ".join(items[0]["labels"])
    message = (
        f"{counted(len(items), 'pair')} of one picture with two labels, such as "
        f"{_named(items[0])} ({labels}): find out which is right, or delete both"
    )
    return Finding.of("conflicting_labels", "warning", message, items)


def _of_two_patients(items: list[dict[str, Any]]) -> Finding:
    message = (
        f"{counted(len(items), 'pair')} of one picture under two patient ids, such as "
        f"{_named(items[0])}; their other images may be parted by a split: give them one id"
    )
    return Finding.of("duplicate_patients", "warning", message, items)


def _patient_overlap(table: pd.DataFrame) -> list[Finding]:
    splits = table.groupby("patient_id")["split"]
    shared = splits.nunique()[lambda count: count > 1].index
    if shared.empty:
        return []
    of_shared = table[table["patient_id"].isin(shared)].groupby("patient_id", sort=False)
    items: list[dict[str, Any]] = [
        {
            "patient": str(patient),
            "splits": [name for name in SPLITS if (rows["split"] == name).any()],
            "images": len(rows),
            "paths": rows["path"].head(4).tolist(),
        }
        for patient, rows in of_shared
    ]
    message = (
        f"{counted(len(items), 'patient')} in more than one split, such as {items[0]['patient']} "
        f"in {' and '.join(items[0]['splits'])}; results there are too good: cut anew by "
        "patient, with data.split=file, or mend the patient ids"
    )
    return [Finding.of("patient_overlap", "fatal", message, items)]


def _labels_differ(manifest: Manifest, pairs: pd.DataFrame) -> NDArray[np.bool_]:
    targets = manifest.task.targets(manifest.table).reshape(len(manifest), -1).astype(np.float32)
    first, second = (targets[pairs[side].to_numpy(np.int64)] for side in "ab")
    known = ~np.isnan(first) & ~np.isnan(second)
    return np.asarray((known & (first != second)).any(axis=1))


def _items(table: pd.DataFrame, pairs: pd.DataFrame) -> list[dict[str, Any]]:
    first, second = (table.iloc[pairs[side].to_numpy(np.int64)] for side in "ab")
    sides = [part[["path", "split", "label"]].astype(str).to_numpy() for part in (first, second)]
    return [
        {
            "a": a[0],
            "b": b[0],
            "similarity": round(float(similarity), 4),
            "splits": [a[1], b[1]],
            "labels": [a[2], b[2]],
        }
        for a, b, similarity in zip(*sides, pairs["similarity"], strict=True)
    ]


def _named(item: dict[str, Any]) -> str:
    return f"{item['a']} and {item['b']}"
