"""Figures of a run inside the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cxrlab.errors import UserError
from cxrlab.page import data_uri

# As they are up to this size; larger ones hold photographs, which WebP keeps in a fifth of it.
_SMALL = 120_000
_WIDTHS = ((1600, 82), (1200, 76), (900, 70), (640, 60))
# Of base64, which adds a third, and of the rest of a page of at most some 6 MB.
_BUDGET = 4_000_000

_FIGURES = {
    "roc": (
        "ROC curve",
        "Sensitivity against false-positive rate at every threshold; the ring is the operating "
        "point.",
    ),
    "precision_recall": (
        "Precision-recall curve",
        "How many calls are right at each share of cases found; depends on prevalence.",
    ),
    "confusion_matrix": ("Confusion matrix", "Truth against decision at the operating point."),
    "scores": ("Scores by class", "Where the classes overlap, and where the threshold lies."),
    "decision_curve": (
        "Decision curve",
        "Net benefit of acting on the model, on everybody and on nobody.",
    ),
    "reliability": (
        "Reliability",
        "Observed share against predicted probability, before and after calibration.",
    ),
    "predictive_values": ("Predictive values", "What a call is worth at other prevalences."),
    "subgroups": ("Subgroups", "Each group with its 95 % interval; the line is the whole split."),
    "augmentation": (
        "Augmentation",
        "Training images as they are, and as the network saw them.",
    ),
}
_GALLERIES = {
    "false_negatives": "Missed: present, and called absent",
    "false_positives": "False alarms: absent, and called present",
    "wrong": "Decided wrongly",
    "true_positives": "Found: present, and called so",
    "true_negatives": "Cleared: absent, and called so",
    "correct": "Decided rightly",
}
_FAILURES = ("false_negatives", "false_positives", "wrong")


@dataclass(frozen=True)
class Picture:
    """An image of the page.

    Attributes:
        stem: the file's name without ending.
        title: what it shows.
        caption: how to read it.
        uri: the image itself.
        width: in pixels.
        height: in pixels.
    """

    stem: str
    title: str
    caption: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Album:
    """All images of the page, by what they are for.

    Attributes:
        figures: of the split that the verdict is of, by stem.
        others: of the other splits, by stem without the split's prefix.
        panels: the first and the last of the panels drawn in training.
        panels_left_out: how many lie between them.
        failures: galleries of wrong decisions.
        successes: galleries of right ones.
    """

    figures: dict[str, Picture]
    others: dict[str, Picture]
    panels: tuple[Picture, ...]
    panels_left_out: int
    failures: tuple[Picture, ...]
    successes: tuple[Picture, ...]


def collect(folder: Path, split: str) -> Album:
    """Read the images of a run's folder, as small as the page needs them.

    Args:
        folder: the run's folder.
        split: the one whose figures come first; figures of test have no prefix.
    """
    drawn = sorted((folder / "figures").glob("*.png"))
    galleries = {f.stem.removeprefix("gallery_"): f for f in _named(folder, "gallery_*.png")}
    order = [*(k for k in _GALLERIES if k in galleries), *sorted(galleries.keys() - _GALLERIES)]
    panels = sorted(_named(folder, "panel_epoch_*.png"), key=_epoch)
    shown = [panels[0], panels[-1]] if len(panels) > 1 else panels
    files = [*drawn, *shown, *(galleries[kind] for kind in order)]
    encoded = _encode_all(files)

    def picture(file: Path, stem: str, title: str, caption: str) -> Picture:
        uri, width, height = encoded[file]
        return Picture(stem, title, caption, uri, width, height)

    own: dict[str, Picture] = {}
    others: dict[str, Picture] = {}
    for file in drawn:
        prefix, stem = _split_of(file.stem)
        title, caption = _FIGURES.get(stem, (stem.replace("_", " ").capitalize(), ""))
        home = own if prefix == split or stem == "augmentation" else others
        home[stem] = picture(file, stem, title, caption)
    known = [stem for stem in _FIGURES if stem in own]
    own = {stem: own[stem] for stem in [*known, *sorted(own.keys() - _FIGURES)]}
    cards = {
        kind: picture(
            galleries[kind], kind, _GALLERIES.get(kind, kind.replace("_", " ").capitalize()), ""
        )
        for kind in order
    }
    return Album(
        figures=own,
        others=others,
        panels=tuple(
            picture(file, file.stem, f"Validation panel after epoch {_epoch(file)}", "")
            for file in shown
        ),
        panels_left_out=len(panels) - len(shown),
        failures=tuple(card for kind, card in cards.items() if kind in _FAILURES),
        successes=tuple(card for kind, card in cards.items() if kind not in _FAILURES),
    )


def _named(folder: Path, pattern: str) -> list[Path]:
    return sorted((folder / "explanations").glob(pattern))


def _epoch(file: Path) -> int:
    found = re.search(r"\d+$", file.stem)
    return int(found[0]) if found else 0


def _split_of(stem: str) -> tuple[str, str]:
    """The split and the name of a figure; those of test have no prefix."""
    for split in ("val", "train"):
        if stem.startswith(f"{split}_"):
            return split, stem.removeprefix(f"{split}_")
    return "test", stem


def _encode_all(files: Sequence[Path]) -> dict[Path, tuple[str, int, int]]:
    """Address, width and height of each; smaller and smaller until all fit."""
    found: dict[Path, tuple[str, int, int]] = {}
    for width, quality in _WIDTHS:
        found = {file: _encode(file, width, quality) for file in files}
        if _size(uri for uri, _, _ in found.values()) <= _BUDGET:
            break
    return found


def _size(uris: Iterable[str]) -> int:
    return sum(map(len, uris))


def _encode(file: Path, most: int, quality: int) -> tuple[str, int, int]:
    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            width, height = image.size
            if len(content) <= _SMALL and width <= most:
                return data_uri(content, "png"), width, height
            small = image.convert("RGB")
    except OSError as error:
        raise UserError(f"{file} can't be read ({error}); delete it or restore it") from error
    if width > most:
        small = small.resize((most, round(height * most / width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "webp", quality=quality, method=4)
    return data_uri(out.getvalue(), "webp"), small.width, small.height
