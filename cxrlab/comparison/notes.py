"""A comparison in sentences: who is better, what weakens a test, what could not be compared."""

from __future__ import annotations

from cxrlab.comparison.compare import Comparison
from cxrlab.comparison.files import letters
from cxrlab.evaluation.binary import SUMMARY

_LEVEL = 0.05


def verdicts(comparison: Comparison) -> list[str]:
    """A sentence a pair: whether its AUROCs differ by more than other patients could explain."""
    found = []
    for letter, system in zip(letters(comparison)[1:], comparison.systems[1:], strict=True):
        contrast = system.contrast("auroc")
        if contrast is None or contrast.interval is None or contrast.p_adjusted is None:
            reason = contrast.reason if contrast else "nothing was compared"
            found.append(f"{letter} and A can't be told apart by ROC-AUC: {reason}.")
            continue
        ends = f"{contrast.interval.low:+.3f} to {contrast.interval.high:+.3f}"
        numbers = f"{contrast.difference:+.3f} ({ends}), {told_p(contrast.p_adjusted)}"
        if contrast.p_adjusted >= _LEVEL:
            found.append(f"The ROC-AUCs of {letter} and A can't be told apart: {numbers}.")
        else:
            word = "better" if (contrast.difference or 0) > 0 else "worse"
            found.append(f"{letter} ranks {word} than A: ROC-AUC {numbers}.")
    return found


def notes(comparison: Comparison) -> list[str]:
    """What a reader has to know: the verdicts, and what weakens a test."""
    found = verdicts(comparison)
    if not comparison.independent:
        found.append(
            "DeLong's and McNemar's tests take images for independent, and some patients have "
            "several: where they differ from the bootstrap, which draws patients, go by that."
        )
    if comparison.split == "val":
        found.append(
            "Checkpoints, thresholds and calibration were chosen on these images, which flatters "
            "each system in its own way; split=test is the comparison to report."
        )
    if len(comparison.systems) > 2:
        found.append("p is adjusted for the number of systems (Holm).")
    return found + _absent_lines(comparison)


def show_p(p: float) -> str:
    """A p-value in a table."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def told_p(p: float) -> str:
    """A p-value in a sentence."""
    return f"p {show_p(p)}" if p < 0.001 else f"p = {show_p(p)}"


def _absent_lines(comparison: Comparison) -> list[str]:
    """A line for the metrics of all classes together that are not compared for one reason."""
    told: dict[tuple[str, str], list[str]] = {}
    for letter, system in zip(letters(comparison)[1:], comparison.systems[1:], strict=True):
        missing: dict[str, list[str]] = {}
        for each in system.contrasts:
            if each.reason and each.test == "bootstrap" and each.metric in SUMMARY:
                missing.setdefault(each.reason, []).append(each.metric)
        for reason, metrics in missing.items():
            told.setdefault((reason, ", ".join(metrics)), []).append(letter)
    return [
        f"Not compared of {', '.join(who)} and A, because {reason}: {metrics}"
        for (reason, metrics), who in told.items()
    ]
