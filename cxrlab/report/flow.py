"""The way of the images from the files found to the splits, drawn wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cxrlab.data.audit.findings import Audit, SplitSummary, counted
from cxrlab.explanation.figures import shorten
from cxrlab.report.words import percent

_MOST_CLASSES = 8
_PAD, _LINE, _HEAD = 16, 26, 86
# In pixels: a letter, and the room for a count with its share and for the share alone.
_LETTER, _NUMBERS, _SHARE = 7.6, 110, 52
_PURPOSE = {
    "train": "the weights are learnt here",
    "val": "checkpoint, threshold, calibration",
    "test": "read once, at the end",
}
_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}


@dataclass(frozen=True)
class Text:
    """A line of text; `style` is its class, `anchor` start, middle or end."""

    x: float
    y: float
    text: str
    style: str = ""
    anchor: str = "start"


@dataclass(frozen=True)
class Rect:
    """A box (`box`, `aside`) or the bar of a share (`track`, `share`)."""

    x: float
    y: float
    width: float
    height: float
    style: str


@dataclass(frozen=True)
class Diagram:
    """A drawing in pixels, read aloud as `label`."""

    name: str
    width: float
    height: float
    rects: tuple[Rect, ...]
    texts: tuple[Text, ...]
    paths: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class Split:
    """A split's box: what it is for, how many images and patients, and of which classes."""

    name: str
    purpose: str
    summary: SplitSummary

    @property
    def classes(self) -> list[tuple[str, int]]:
        """The classes drawn."""
        return list(self.summary.classes.items())[:_MOST_CLASSES]

    @property
    def hidden(self) -> int:
        """How many classes are not drawn."""
        return len(self.summary.classes) - len(self.classes)

    @property
    def height(self) -> float:
        """Of the box."""
        return _HEAD + _LINE * (len(self.classes) + bool(self.hidden)) + _PAD / 2


def draw_flow(audit: Audit, patients: int | None, *, tested: bool) -> tuple[Diagram, Diagram]:
    """The flow of the images, for wide and for narrow screens.

    Args:
        audit: counts.
        patients: of all images; None where unknown.
        tested: whether test was read.
    """
    left_out = sum(f.count for f in audit.findings if f.check == "unreadable")
    found = counted(audit.images + left_out, "image file") + " found"
    out = "none left out" if not left_out else f"{counted(left_out, 'file')} left out: unreadable"
    read = counted(audit.images, "image")
    if patients is not None:
        read += f" of {counted(patients, 'patient')}"
    splits = [
        Split(
            _TITLES.get(name, name),
            "not read in this run" if name == "test" and not tested else _PURPOSE.get(name, ""),
            summary,
        )
        for name, summary in audit.splits.items()
    ]
    label = f"{found}, {out}, {read}; " + "; ".join(
        f"{split.name} {counted(split.summary.images, 'image')}" for split in splits
    )
    return _wide(found, out, read, splits, label), _narrow(found, out, read, splits, label)


def _wide(found: str, out: str, read: str, splits: list[Split], label: str) -> Diagram:
    width, box, gap = 960.0, 300.0, 30.0
    middle, top = width / 2, 216.0
    rects = [
        Rect(330, 0, box, 52, "box"),
        Rect(660, 66, box, 40, "aside"),
        Rect(330, 120, box, 52, "box"),
    ]
    texts = [
        Text(middle, 32, found, "strong", "middle"),
        Text(660 + box / 2, 91, out, "soft", "middle"),
        Text(middle, 152, read, "strong", "middle"),
    ]
    paths = [_arrow(middle, 52, 120), f"M{middle} 86H660", f"M{middle} 172V194"]
    height = max((split.height for split in splits), default=0)
    for index, split in enumerate(splits):
        x = index * (box + gap)
        paths.append(f"M{middle} 194H{x + box / 2}{_arrow(x + box / 2, 194, top)}")
        rects.append(Rect(x, top, box, height, "box"))
        bars, lines = _inside(split, x, top, box)
        rects += bars
        texts += lines
    size = (width, top + height + 1)
    return Diagram("wide-flow", *size, tuple(rects), tuple(texts), tuple(paths), label)


def _narrow(found: str, out: str, read: str, splits: list[Split], label: str) -> Diagram:
    width, spine, inset = 360.0, 20.0, 44.0
    rects = [
        Rect(0, 0, width, 48, "box"),
        Rect(inset, 64, width - inset, 40, "aside"),
        Rect(0, 120, width, 48, "box"),
    ]
    texts = [
        Text(_PAD, 30, found, "strong"),
        Text(inset + _PAD, 89, out, "soft"),
        Text(_PAD, 150, read, "strong"),
    ]
    paths = [_arrow(spine, 48, 120), f"M{spine} 84H{inset}"]
    y = 186.0
    for split in splits:
        rects.append(Rect(inset, y, width - inset, split.height, "box"))
        bars, lines = _inside(split, inset, y, width - inset)
        rects += bars
        texts += lines
        paths.append(f"M{spine} 168V{y + 28}H{inset}m-6 -4l6 4l-6 4")
        y += split.height + 16
    return Diagram("narrow-flow", width, y, tuple(rects), tuple(texts), tuple(paths), label)


def _inside(split: Split, x: float, y: float, width: float) -> tuple[list[Rect], list[Text]]:
    summary = split.summary
    left, right = x + _PAD, x + width - _PAD
    sizes = f"{counted(summary.images, 'image')}, {counted(summary.patients, 'patient')}"
    texts = [
        Text(left, y + 28, split.name, "strong"),
        Text(left, y + 48, split.purpose, "soft"),
        Text(left, y + 72, sizes),
    ]
    bars: list[Rect] = []
    for line, (name, images) in enumerate(split.classes):
        base = y + _HEAD + line * _LINE + 14
        room = int((width - 2 * _PAD - _NUMBERS) / _LETTER)
        texts.append(Text(left, base, shorten(name, room), "small"))
        texts.append(Text(right - _SHARE, base, f"{images:,}", "small", "end"))
        texts.append(Text(right, base, percent(images, summary.images), "soft", "end"))
        share = images / summary.images if summary.images else 0.0
        bars += _bar(left, base + 5, right - left, share)
    if split.hidden:
        base = y + _HEAD + len(split.classes) * _LINE + 14
        texts.append(Text(left, base, f"and {split.hidden} more classes", "soft"))
    return bars, texts


def _bar(x: float, y: float, width: float, share: float) -> Iterator[Rect]:
    yield Rect(x, y, width, 3, "track")
    yield Rect(x, y, round(width * min(1.0, share), 1), 3, "share")


def _arrow(x: float, start: float, end: float) -> str:
    return f"M{x} {start}V{end}m-4 -6l4 6l4 -6"
