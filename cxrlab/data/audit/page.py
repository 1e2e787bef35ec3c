"""The audit as one HTML file with the images it speaks of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrlab.data.audit.findings import SEVERITIES, TITLES, Audit, Finding
from cxrlab.data.audit.pictures import class_pictures, photo
from cxrlab.data.audit.shortcuts import ALARM, COARSE_ALARM
from cxrlab.data.audit.table import VERDICTS
from cxrlab.data.prepare import PreparedData
from cxrlab.files import write_atomically
from cxrlab.page import render

_PAIRS, _PHOTOS, _BARS, _LINES = 24, 24, 16, 24


@dataclass(frozen=True)
class Section:
    """A finding with what is drawn of it.

    Attributes:
        finding: what is told.
        title: its heading.
        pairs: pairs of images side by side.
        photos: single images.
        bars: AUROCs with intervals.
        alarm: where the bars alarm.
        lines: anything else, a line an item.
    """

    finding: Finding
    title: str
    pairs: list[dict[str, Any]]
    photos: list[dict[str, Any]]
    bars: list[dict[str, Any]]
    alarm: float
    lines: list[str]

    @property
    def hidden(self) -> int:
        """How many of the finding's items are not drawn."""
        shown = len(self.pairs) + len(self.photos) + len(self.lines)
        return 0 if self.bars else max(0, self.finding.count - shown)


def write_page(audit: Audit, data: PreparedData, path: Path) -> None:
    """Write the page: no script, nothing fetched, readable on paper and small screens.

    Args:
        audit: of this data.
        data: for the images.
        path: the HTML file; its folder is made.

    Raises:
        OSError: the file can't be written.
    """
    row_of = dict(zip(data.manifest.table["path"], data.rows, strict=True))

    def drawn(path: str) -> str:
        return photo(data.pixels[row_of[path]])

    page = render(
        Path(__file__).with_name("page.html.j2"),
        name=data.manifest.name,
        audit=audit,
        verdict=VERDICTS[audit.verdict],
        sections=[_section(f, drawn) for s in reversed(SEVERITIES) for f in audit.of(s)],
        classes=class_pictures(data),
        fingerprint=data.fingerprint,
        split_hash=data.manifest.split_hash(),
    )
    write_atomically(path, page)


def _section(finding: Finding, drawn: Callable[[str], str]) -> Section:
    items = finding.items
    pairs = [item for item in items if "a" in item]
    bars = [item for item in items if "auroc" in item]
    photos = [item for item in items if finding.check == "constant_images"]
    lines = [item for item in items if not (pairs or bars or photos)]
    return Section(
        finding=finding,
        title=TITLES.get(finding.check, finding.check),
        pairs=[{**pair, "photos": [drawn(pair[side]) for side in "ab"]} for pair in pairs[:_PAIRS]],
        photos=[{**item, "photo": drawn(item["path"])} for item in photos[:_PHOTOS]],
        bars=bars[:_BARS],
        alarm=COARSE_ALARM if finding.check == "shortcut_thumbnail" else ALARM,
        lines=[_line(item) for item in lines[:_LINES]],
    )


def _line(item: dict[str, Any]) -> str:
    return " · ".join(f"{key} {_shown(value)}" for key, value in item.items() if value is not None)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1%}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
