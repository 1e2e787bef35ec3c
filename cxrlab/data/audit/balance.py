"""How classes and patients are spread over the splits."""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrlab.data.audit.findings import ITEMS, Finding, Severity, SplitSummary, counted
from cxrlab.data.manifest import SPLITS, Manifest

_SHIFT = 0.10
# Of 30 patients a sensitivity of 0.90 has a 95 % interval 0.2 wide.
_FEW_PATIENTS = 30


def summarise(manifest: Manifest) -> dict[str, SplitSummary]:
    """Images, patients and class counts of each split."""
    found = {}
    for name in SPLITS:
        rows = manifest.split(name)
        classes = {c: int((m == 1).sum()) for c, m in manifest.task.memberships(rows)}
        found[name] = SplitSummary(len(rows), int(rows["patient_id"].nunique()), classes)
    return found


def check_balance(manifest: Manifest) -> list[Finding]:
    """Missing classes, prevalence by split, and splits with too few patients to judge by."""
    return [*_missing(manifest), *_prevalence(manifest), *_few_patients(manifest)]


def _missing(manifest: Manifest) -> list[Finding]:
    items = [
        {"class": name, "split": split}
        for split, summary in summarise(manifest).items()
        for name, images in summary.classes.items()
        if images == 0
    ]
    if not items:
        return []
    first = items[0]
    # Of several findings the others can be learnt all the same.
    severity: Severity = "warning" if manifest.task.kind == "multilabel" else "fatal"
    message = (
        f"class {first['class']} has no image in {first['split']} of {manifest.name}"
        f"{_more(len(items) - 1)}: nothing can be learnt or measured of it there; add images or "
        "change the split"
    )
    return [Finding.of("class_missing", severity, message, items)]


def _prevalence(manifest: Manifest) -> list[Finding]:
    items: list[dict[str, Any]] = []
    by_split = {split: dict(_shares(manifest, split)) for split in SPLITS}
    for name in manifest.classes[1:] if manifest.task.kind == "binary" else manifest.classes:
        shares = {split: by_split[split][name] for split in SPLITS}
        known = {split: share for split, share in shares.items() if share is not None}
        if known:
            shift = known["test"] - known["train"] if {"train", "test"} <= set(known) else 0.0
            items.append({"class": name, **shares, "shift": round(shift, 4)})
    if not items:
        return []
    items.sort(key=lambda item: -abs(item["shift"]))
    most = items[0]
    shown = ", ".join(f"{100 * most[s]:.0f} % of {s}" for s in SPLITS if most[s] is not None)
    told = f"{most['class']} makes up {shown}"
    moved = [item for item in items if abs(item["shift"]) > _SHIFT]
    if not moved:
        return [Finding("class_balance", "info", len(items), told, items[:ITEMS])]
    message = (
        f"{told}{_more(len(moved) - 1)}; probabilities, predictive values and thresholds of one "
        "prevalence do not hold at another: compare AUROC, sensitivity and specificity"
    )
    return [Finding("class_balance", "warning", len(moved), message, items[:ITEMS])]


def _shares(manifest: Manifest, split: str) -> list[tuple[str, float | None]]:
    """Each class's share of the images of which it is known, None where there are none."""
    memberships = manifest.task.memberships(manifest.split(split))
    return [
        (name, None if np.isnan(member).all() else round(float(np.nanmean(member)), 4))
        for name, member in memberships
    ]


def _few_patients(manifest: Manifest) -> list[Finding]:
    items: list[dict[str, Any]] = []
    for split in ("val", "test"):
        rows = manifest.split(split)
        for name, member in manifest.task.memberships(rows):
            patients = int(rows["patient_id"][member == 1].nunique())
            if 0 < patients < _FEW_PATIENTS:
                items.append({"class": name, "split": split, "patients": patients})
    if not items:
        return []
    items.sort(key=lambda item: item["patients"])
    first = items[0]
    message = (
        f"{counted(first['patients'], 'patient')} of class {first['class']} in {first['split']}"
        f"{_more(len(items) - 1)}, fewer than {_FEW_PATIENTS}: intervals and the threshold are "
        "uncertain; add patients or take folds (data.folds=5 data.fold=0)"
    )
    return [Finding.of("few_patients", "warning", message, items)]


def _more(others: int) -> str:
    return f" (and {others} more)" if others else ""
