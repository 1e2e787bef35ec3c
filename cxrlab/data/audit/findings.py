"""What an audit says, and its JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["info", "warning", "fatal"]
Verdict = Literal["ok", "warning", "fatal"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "fatal")
ITEMS = 100
# Headings of pages, by the name of the check.
TITLES = {
    "unreadable": "Unreadable files",
    "exact_duplicates": "Identical files",
    "near_duplicates": "The same picture twice",
    "mirrored_duplicates": "A picture and its mirror image",
    "conflicting_labels": "One picture, two labels",
    "duplicate_patients": "One picture, two patients",
    "patient_overlap": "Patients in two splits",
    "class_missing": "Missing classes",
    "class_balance": "Prevalence",
    "constant_images": "Blank images",
    "few_patients": "Few patients",
    "shortcut_metadata": "Label told by the file",
    "shortcut_exposure": "Label told by the gray values",
    "shortcut_border": "Label told by the rim",
    "shortcut_thumbnail": "Label told by 8 x 8 pixels",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        check: name of the check; it may find things of two severities.
        severity: `info` worth knowing, `warning` weakens what results mean, `fatal` voids them.
        count: how many, also of those that are not among the items.
        message: one line: what, where, what to do.
        items: the first 100, most telling first.
    """

    check: str
    severity: Severity
    count: int
    message: str
    items: list[dict[str, Any]]

    @classmethod
    def of(
        cls, check: str, severity: Severity, message: str, items: Sequence[dict[str, Any]]
    ) -> Finding:
        """A finding that counts its items, and keeps the first 100 of them."""
        return cls(check, severity, len(items), message, list(items[:ITEMS]))


@dataclass(frozen=True)
class SplitSummary:
    """What a split holds.

    Attributes:
        images: number of images.
        patients: number of patients.
        classes: images of each class that are known to belong to it.
    """

    images: int
    patients: int
    classes: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """The result of all checks.

    Attributes:
        images: readable images.
        splits: by name, in the order train, val, test.
        findings: worst first.
    """

    images: int
    splits: dict[str, SplitSummary]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst severity; `ok` with nothing above information."""
        worst = max((SEVERITIES.index(f.severity) for f in self.findings), default=0)
        return ("ok", "warning", "fatal")[worst]

    def of(self, severity: Severity) -> list[Finding]:
        """The findings of one severity."""
        return [f for f in self.findings if f.severity == severity]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists, as in `data/audit.json`."""
        return {
            "verdict": self.verdict,
            "images": self.images,
            "splits": {name: asdict(split) for name, split in self.splits.items()},
            "findings": [asdict(finding) for finding in self.findings],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Audit:
        """The audit that `to_json` wrote."""
        return cls(
            content["images"],
            {name: SplitSummary(**split) for name, split in content["splits"].items()},
            tuple(Finding(**finding) for finding in content["findings"]),
        )


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun: `1 image`, `1,204 images`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
