"""Checks of single files: those that can't be read, and those that show nothing."""

from __future__ import annotations

import numpy as np

from cxrlab.data.audit.findings import Finding, counted
from cxrlab.data.duplicates import is_blank
from cxrlab.data.prepare import PreparedData


def check_files(data: PreparedData) -> list[Finding]:
    """Unreadable files and blank images."""
    found = []
    if data.bad:
        items = [{"path": path, "reason": reason} for path, reason in data.bad.items()]
        message = (
            f"{counted(len(items), 'file')} under {data.manifest.root} can't be read whole and "
            f"left out, such as {items[0]['path']} ({items[0]['reason']}): replace or delete them"
        )
        found.append(Finding.of("unreadable", "warning", message, items))
    blank = np.flatnonzero(is_blank(data.thumbs, data.rows))
    if len(blank):
        table = data.manifest.table.iloc[blank]
        items = [
            {"path": path, "split": split, "label": label}
            for path, split, label in zip(
                table["path"], table["split"], table["label"], strict=True
            )
        ]
        message = (
            f"{counted(len(items), 'image')} without a picture (one gray value), such as "
            f"{items[0]['path']}: delete them, the label can't be learnt from them"
        )
        found.append(Finding.of("constant_images", "warning", message, items))
    return found
