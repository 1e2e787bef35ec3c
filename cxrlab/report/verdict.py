"""The run in a sentence and a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrlab.evaluation.metrics import confusion_counts
from cxrlab.report.drift import NAMES, moved
from cxrlab.report.finished import FinishedRun
from cxrlab.report.reservations import LEAST, Reservation, Tone, reservations
from cxrlab.report.tables import Bar, bar, split_name
from cxrlab.report.words import ABSENT, joined, span, three, two, why_absent

_LABELS: dict[Tone, str] = {
    "ok": "No objection found",
    "warning": "To be read with reservations",
    "fatal": "Not to be trusted: a fault in the data voids these numbers",
}
# What a rank order is called; conventions of the field, not laws.
_RANKING = ((0.9, "good"), (0.8, "fair"), (0.7, "weak"), (0.5, "poor"), (0.0, "worse than chance"))


@dataclass(frozen=True)
class Number:
    """A number in large.

    Attributes:
        name: of the metric.
        text: the value; a dash where it is absent.
        span: its interval.
        note: what it is of, or why it is absent.
        bar: to be drawn; None where 0 to 1 is no scale of it.
    """

    name: str
    text: str
    span: str
    note: str
    bar: Bar | None


@dataclass(frozen=True)
class Verdict:
    """What stands at the top of the page.

    Attributes:
        tone: the worst of the reservations.
        label: the tone in words.
        sentence: what the model does.
        numbers: a few, with intervals.
        reservations: what to distrust.
    """

    tone: Tone
    label: str
    sentence: str
    numbers: tuple[Number, ...]
    reservations: tuple[Reservation, ...]


def judge(run: FinishedRun) -> Verdict:
    """Say what the run found on its best split, and how far that can be trusted."""
    found = tuple(reservations(run))
    tones = {reservation.tone for reservation in found}
    tone: Tone = "fatal" if "fatal" in tones else "warning" if tones else "ok"
    sentences = {"binary": _binary, "multiclass": _classes, "multilabel": _findings}
    return Verdict(tone, _LABELS[tone], sentences[run.task.kind](run), _numbers(run), found)


def _numbers(run: FinishedRun) -> tuple[Number, ...]:
    metrics = run.metrics
    if run.task.kind == "binary":
        names = {"auroc": "AUROC", "recall": "Sensitivity", "specificity": "Specificity"}
    elif run.task.kind == "multiclass":
        names = {
            "auroc": "Macro AUROC",
            "balanced_accuracy": "Balanced accuracy",
            "accuracy": "Accuracy",
        }
    else:
        names = {
            "auroc": "Mean AUROC",
            "recall": "Mean sensitivity",
            "specificity": "Mean specificity",
        }
    names["ece_calibrated"] = "Calibration error"
    return tuple(
        Number(
            name=label,
            text=three(metrics.values[name]) if name in metrics.values else ABSENT,
            span=span(metrics.intervals.get(name)),
            note="; ".join([_note(run, name), *_bare(run, name)]),
            bar=None if name.startswith("ece") else bar(metrics, name),
        )
        for name, label in names.items()
    )


def _bare(run: FinishedRun, name: str) -> list[str]:
    """Why a value has no interval."""
    reason = run.metrics.no_interval.get(name)
    return [f"no interval: {reason}"] if reason else []


def _note(run: FinishedRun, name: str) -> str:
    metrics = run.metrics
    if name not in metrics.values:
        return why_absent(metrics, name)
    cells = {"recall": ("tp", "fn"), "specificity": ("tn", "fp")}.get(name)
    if cells and run.task.kind == "binary":
        right, wrong = (int(metrics.values[cell]) for cell in cells)
        return f"{right:,} of {right + wrong:,} {run.task.classes[name == 'recall']} images"
    return {
        "auroc": f"{int(metrics.values['n']):,} images of {run.patients(run.split):,} patients",
        "ece_calibrated": "mean gap between probability and share, calibrated",
        "balanced_accuracy": "mean over the classes of the share recognised",
        "accuracy": "of all images",
    }.get(name, "over the findings")


def _binary(run: FinishedRun) -> str:
    values, (negative, positive) = run.metrics.values, run.task.classes
    decided = ""
    if {"tp", "fn", "tn", "fp"} <= values.keys():
        tp, fn, tn, fp = (int(values[cell]) for cell in ("tp", "fn", "tn", "fp"))
        parts = [f"finds {tp:,} of {tp + fn:,} {positive} images"] if tp + fn else []
        parts += [f"calls {fp:,} of {tn + fp:,} {negative} images {positive}"] if tn + fp else []
        decided = f"On {split_name(run.split)} the model {joined(parts)}: "
    return f"{decided}{_ranking(run)}{_threshold(run)}."


def _ranking(run: FinishedRun) -> str:
    metrics = run.metrics
    value = metrics.values.get("auroc")
    if value is None:
        return f"the ranking can't be judged, because {why_absent(metrics, 'auroc')}"
    ends = metrics.intervals.get("auroc")
    if ends is not None and ends.low <= 0.5:
        sure = f"AUROC {two(value)}, interval {two(ends.low)} to {two(ends.high)}"
        return f"the ranking can't be told from chance ({sure})"
    word = next(word for least, word in _RANKING if value >= least)
    return f"the ranking is {word} (AUROC {two(value)})"


def _threshold(run: FinishedRun) -> str:
    """How the threshold does, as the end of a sentence on the ranking."""
    thresholds = run.evaluation.point.thresholds
    if not thresholds:
        return ", and no threshold was chosen"
    given = thresholds[0].origin == "given"
    what = "the given threshold" if given else "the threshold chosen on validation"
    if not run.tested:
        return f"; test was not read, so nothing is known of {what} on new images"
    values = run.metrics.values
    low = [label for name, label in NAMES.items() if values.get(name, 1.0) < LEAST]
    good = (values.get("auroc") or 0.0) >= _RANKING[0][0]
    if moved(run):
        return f"{', but' if good else ', and'} {what} does not fit test"
    if low:
        return f"{', but' if good else ', and'} {what} gives a low {joined(low)}"
    if not run.evaluation.drift():
        return ""
    return f"{', and' if good else ', while'} {what} holds on test"


def _classes(run: FinishedRun) -> str:
    counts = confusion_counts(run.metrics, run.task)
    if counts is None:
        return f"On {split_name(run.split)} nothing could be decided: {_ranking(run)}."
    classes, right = run.task.classes, int(np.trace(counts))
    told = (
        f"On {split_name(run.split)} the model puts {right:,} of {int(counts.sum()):,} images in "
        "the right class"
    )
    wrong = counts - np.diag(np.diag(counts))
    if wrong.any():
        true, decided = np.unravel_index(int(wrong.argmax()), wrong.shape)
        told += (
            f"; most often it takes {classes[true]} for {classes[decided]} "
            f"({int(wrong[true, decided]):,} of {int(counts[true].sum()):,})"
        )
    untested = "" if run.tested else "; test was not read"
    return f"{told}: {_ranking(run)}{untested}."


def _findings(run: FinishedRun) -> str:
    values = run.metrics.values
    each = {n: values[f"auroc_{n}"] for n in run.task.classes if f"auroc_{n}" in values}
    if not each:
        return f"On {split_name(run.split)} no finding could be ranked: {_ranking(run)}."
    best, worst = max(each, key=lambda n: each[n]), min(each, key=lambda n: each[n])
    missing = len(run.task.classes) - len(each)
    told = (
        f"On {split_name(run.split)} the model ranks {len(each)} findings with a mean AUROC of "
        f"{two(values['auroc'])}, from {two(each[worst])} ({worst}) to {two(each[best])} ({best})"
    )
    if missing:
        told += f"; {missing} more could not be measured"
    if moved(run):
        names = joined([f"mean {NAMES[name]}" for name in moved(run)])
        told += f"; at the thresholds, {names} on test is not what it was on validation"
    return told + ("." if run.tested else "; test was not read.")
