"""The quality of explanations as one HTML file: the verdict, the numbers, the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrlab.evaluation.intervals import why_no_intervals
from cxrlab.evaluation.resampling import count_patients
from cxrlab.explanation.quality.results import Result, Results
from cxrlab.explanation.quality.summary import MEASURES
from cxrlab.explanation.quality.verdict import verdicts
from cxrlab.files import write_atomically
from cxrlab.page import data_uri, render

FILE = "quality.html"

_WORDS = {"fatal": "Do not believe it", "warning": "Take care", "ok": "In order"}
_FIGURES = {
    "measures": ("Measures", "Each method with its interval; the dashed line is chance."),
    "curves": ("Deletion and insertion", "Steep curves: what the map marks is what decides."),
    "randomisation": (
        "Shuffled weights",
        "From the logits downwards. A line that stays high belongs to a method that doesn't "
        "depend on what was learned.",
    ),
    "side_by_side": ("Side by side", "The same images by each method; lesions in green."),
}
_SHEET = "Image, signed map, and its absolute value over the image."


def write_page(results: Results, pictures: Mapping[str, bytes], draws: int, output: Path) -> None:
    """Write `quality.html`: no script, nothing fetched.

    Args:
        results: what was found.
        pictures: the figures as PNG files, by stem.
        draws: samples of patients behind the intervals.
        output: the folder.

    Raises:
        OSError: the folder can't be written.
    """
    reason = why_no_intervals(results.cases.patients, draws)
    page = render(
        Path(__file__).with_name("page.html.j2"),
        results=results,
        verdicts=verdicts(results),
        words=_WORDS,
        patients=count_patients(results.cases.patients),
        rows=_rows(results.rows),
        measures=[m for name, m in MEASURES.items() if _has(name, results.methods)],
        intervals=reason is None,
        why_not=reason,
        checked=max(_checked(result) for result in results.methods),
        figures=[_figure(stem, content) for stem, content in pictures.items()],
    )
    write_atomically(output / FILE, page)


def _rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {
            "label": measure.label,
            "better": measure.better,
            "cells": [_cell(result, name) for result in results],
        }
        for name, measure in MEASURES.items()
        if _has(name, results)
    ]


def _has(name: str, results: Sequence[Result]) -> bool:
    return any(name in result.metrics.values for result in results)


def _cell(result: Result, name: str) -> dict[str, str]:
    value, interval = result.metrics.values.get(name), result.metrics.intervals.get(name)
    if value is None:
        return {"value": "–", "interval": ""}  # noqa: RUF001  a dash in print
    shown = f"{value:.3f}"
    return {
        "value": shown,
        "interval": f"{interval.low:.3f} to {interval.high:.3f}" if interval else "",
    }


def _checked(result: Result) -> int:
    similarities = result.study.similarities
    return len(similarities[0].ssim) if similarities else 0


def _figure(stem: str, content: bytes) -> dict[str, str]:
    sheet = stem.removeprefix("sheet_").replace("_plus_plus", "++").replace("_", " ")
    title, caption = _FIGURES.get(stem, (f"Sheet of {sheet}", _SHEET))
    return {"title": title, "caption": caption, "uri": data_uri(content, "png")}
