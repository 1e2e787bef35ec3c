"""What there is to distrust in a run's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cxrlab.data.audit.findings import TITLES
from cxrlab.report.drift import NAMES, moved, overlap
from cxrlab.report.finished import FinishedRun
from cxrlab.report.tables import split_name
from cxrlab.report.words import joined, signed, two, value_and_span, why_absent

Tone = Literal["ok", "warning", "fatal"]

# Below these a decision is wrong too often for most uses, and an error of calibration shows.
LEAST = 0.7
MISCALIBRATED = 0.05
# Of 30 patients a sensitivity of 0.90 has a 95 % interval 0.2 wide.
FEW_PATIENTS = 30


@dataclass(frozen=True)
class Reservation:
    """A reason to distrust the numbers.

    Attributes:
        tone: `fatal` voids them, `warning` weakens them.
        title: in a few words.
        text: what was found and what it means.
        anchor: the section that tells more.
    """

    tone: Tone
    title: str
    text: str
    anchor: str


def reservations(run: FinishedRun) -> list[Reservation]:
    """All reasons, those that void the numbers first."""
    few = list(_few_patients(run))
    found = [
        *_audit(run, own_few_patients=bool(few)),
        *_untested(run),
        *_synthetic(run),
        *_chance(run),
        *_drift(run),
        *_low(run),
        *_calibration(run),
        *few,
        *_unmeasured(run),
        *_defaults(run),
    ]
    return sorted(found, key=lambda reservation: reservation.tone != "fatal")


def fewest_patients(run: FinishedRun, split: str) -> tuple[str, int] | None:
    """The class with the fewest patients of a split, and how many they are."""
    table = run.evaluation.tables[split]
    patients = table["patient_id"]
    counts = {
        name: int(patients[member == 1].nunique()) for name, member in run.task.memberships(table)
    }
    return min(counts.items(), key=lambda item: item[1]) if counts else None


def _audit(run: FinishedRun, *, own_few_patients: bool) -> Iterator[Reservation]:
    if run.audit is None:
        yield Reservation(
            "warning",
            "No audit",
            "The run kept no audit of its data, so leaks between the splits may lie unseen.",
            "audit",
        )
        return
    for finding in run.audit.findings:
        if finding.severity == "info" or (finding.check == "few_patients" and own_few_patients):
            continue
        title = TITLES.get(finding.check, finding.check)
        yield Reservation(finding.severity, title, finding.message, "audit")


def _untested(run: FinishedRun) -> Iterator[Reservation]:
    if run.tested:
        return
    yield Reservation(
        "warning",
        "Test was not read",
        f"The numbers are of {split_name(run.split)}, by which checkpoint, threshold and "
        "calibration were chosen: they flatter the model. Evaluate on test once, at the end.",
        "metrics",
    )


def _synthetic(run: FinishedRun) -> Iterator[Reservation]:
    if run.setting("data.name") == "phantom":
        yield Reservation(
            "warning",
            "Synthetic images",
            "The radiographs are drawn by a program. The numbers say that the pipeline works, and "
            "nothing of patients.",
            "data",
        )


def _chance(run: FinishedRun) -> Iterator[Reservation]:
    metrics = run.metrics
    ends = metrics.intervals.get("auroc")
    if ends is not None and ends.low <= 0.5:
        yield Reservation(
            "warning",
            "Not told from chance",
            f"The interval of AUROC, {value_and_span(metrics, 'auroc')}, includes 0.5.",
            "metrics",
        )


def _drift(run: FinishedRun) -> Iterator[Reservation]:
    mean = "" if run.task.kind == "binary" else "mean "
    for name, gap in moved(run).items():
        val, test = (run.evaluation.metrics[split].values[name] for split in ("val", "test"))
        chance = (
            " The intervals overlap, so chance may explain it."
            if overlap(run, name)
            else " The intervals do not overlap."
            if all(name in m.intervals for m in run.evaluation.metrics.values())
            else ""
        )
        yield Reservation(
            "warning",
            f"{NAMES[name].capitalize()} does not hold",
            f"{mean}{NAMES[name]} is {two(val)} on validation and {two(test)} on test "
            f"({signed(gap)}).{chance}",
            "operating",
        )


def _low(run: FinishedRun) -> Iterator[Reservation]:
    metrics = run.metrics
    for name, label in NAMES.items():
        value = metrics.values.get(name)
        if value is None or value >= LEAST:
            continue
        mean = "" if run.task.kind == "binary" else "mean "
        text = f"{mean}{label} is {value_and_span(metrics, name)} on {split_name(run.split)}"
        if run.task.kind == "binary":
            wrong, right = ("fn", "tp") if name == "recall" else ("fp", "tn")
            errors, hits = (int(metrics.values[cell]) for cell in (wrong, right))
            what = "missed" if name == "recall" else f"called {run.positive}"
            class_name = run.task.classes[1 if name == "recall" else 0]
            text += f": {errors:,} of {errors + hits:,} {class_name} images are {what}"
        yield Reservation("warning", f"Low {label}", f"{text}.", "operating")


def _calibration(run: FinishedRun) -> Iterator[Reservation]:
    values = run.metrics.values
    after, before = values.get("ece_calibrated"), values.get("ece")
    if after is None:
        return
    split = split_name(run.split)
    if after > MISCALIBRATED:
        yield Reservation(
            "warning",
            "Probabilities are off",
            f"The calibration error on {split} is {value_and_span(run.metrics, 'ece_calibrated')} "
            "after calibration: do not read the calibrated score as a probability of disease.",
            "calibration",
        )
    elif before is not None and after > before:
        yield Reservation(
            "warning",
            "Calibration does not carry over",
            f"What was fitted on validation raises the calibration error on {split} from "
            f"{two(before)} to {two(after)}.",
            "calibration",
        )


def _few_patients(run: FinishedRun) -> Iterator[Reservation]:
    found = fewest_patients(run, run.split)
    if found is None or not 0 < found[1] < FEW_PATIENTS:
        return
    name, patients = found
    yield Reservation(
        "warning",
        "Few patients",
        f"{split_name(run.split)} has {patients} patients with {name}: fewer than {FEW_PATIENTS} "
        "leave wide intervals, and a few other patients would give other numbers.",
        "data",
    )


def _unmeasured(run: FinishedRun) -> Iterator[Reservation]:
    metrics = run.metrics
    if "auroc" not in metrics.values:
        yield Reservation(
            "warning",
            "No AUROC",
            f"It can't be computed on {split_name(run.split)}: {why_absent(metrics, 'auroc')}.",
            "metrics",
        )
    elif not metrics.intervals:
        reasons = joined(sorted(set(metrics.no_interval.values())))
        yield Reservation(
            "warning",
            "No intervals",
            "How sure the numbers are is not known: "
            + (f"{reasons}." if reasons else "no samples of patients were drawn."),
            "metrics",
        )


def _defaults(run: FinishedRun) -> Iterator[Reservation]:
    pairs = zip(run.evaluation.point.thresholds, run.task.classes, strict=False)
    names = [name for threshold, name in pairs if threshold.origin == "default"]
    if names:
        yield Reservation(
            "warning",
            "Thresholds nobody chose",
            f"The rule could not be applied to {joined(names)}, decided at 0.5.",
            "operating",
        )
