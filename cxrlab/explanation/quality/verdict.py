"""What the numbers of explanations mean, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cxrlab.evaluation.metrics import Metrics
from cxrlab.explanation.quality.results import Result, Results
from cxrlab.explanation.quality.summary import lesion_area

Tone = Literal["fatal", "warning", "ok"]
TONES: tuple[Tone, ...] = ("fatal", "warning", "ok")

SAME = 0.5
"""Rank correlation with the map of shuffled weights from which the weights hardly matter."""
MARKER, MARKER_TRACE = 0.2, 0.05
"""Shares of the evidence on a planted marker from which it is a shortcut, and a trace of one."""
MARKED, MARKED_TRACE = 0.5, 0.2
"""The same for shares of marked images that have their strongest evidence there."""
BORDER = 2.0
"""Border share, over the border's share of the image, from which the evidence leans outwards."""
_BORDER_AREA = 0.19  # of 5 % on each side
_SKILL = 0.6  # AUROC that has to be reached where there is no interval


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        tone: how bad it is.
        title: in a few words.
        text: what was found, what it means, what to do.
    """

    tone: Tone
    title: str
    text: str


def verdicts(results: Results) -> list[Finding]:
    """Everything to be said of a run's explanations, the worst first."""
    found = [*_skill(results.predicted)]
    for result in results.methods:
        found += [
            *_sanity(result),
            *_shortcut(result),
            *_faithful(result, results.chance),
            *_place(result),
            *_completeness(result),
            *_unusable(result),
        ]
    found += [
        Finding("warning", f"{_name(name)}: not made", reason[:1].upper() + reason[1:] + ".")
        for name, reason in results.failed.items()
    ]
    return sorted(found, key=lambda finding: TONES.index(finding.tone))


def _skill(predicted: Metrics) -> Iterator[Finding]:
    value = predicted.values.get("auroc")
    if value is None:
        return
    interval = predicted.intervals.get("auroc")
    low = interval.low if interval else None
    told = f"ROC-AUC {value:.2f}" + (f" ({low:.2f} to {interval.high:.2f})" if interval else "")
    if (low is not None and low <= 0.5) or (low is None and value < _SKILL):
        yield Finding(
            "fatal",
            "The model has no skill here",
            f"It does not tell the classes of these images apart better than chance: {told}. What "
            "its maps show is no evidence of anything. Look at its training before its maps.",
        )
    else:
        yield Finding("ok", "The model has skill here", f"{told} on all predicted images.")


def _sanity(result: Result) -> Iterator[Finding]:
    value = result.metrics.values.get("randomisation_similarity")
    if value is None:
        return
    told = f"rank correlation {value:.2f}"
    if value >= SAME:
        yield Finding(
            "fatal",
            f"{_name(result.name)}: sanity check failed",
            f"With all weights shuffled its maps stay much the same ({told}), so that they show "
            "the image more than what the model learned. Take another method.",
        )
    else:
        yield Finding(
            "ok",
            f"{_name(result.name)}: sanity check passed",
            f"Its maps change when the weights are shuffled ({told}).",
        )


def _shortcut(result: Result) -> Iterator[Finding]:
    values = result.metrics.values
    if "marker_share" in values:
        yield _marker(result.name, values["marker_pointing"], values["marker_share"])
    border = result.metrics.values.get("border_share", 0.0)
    if _at_least(result, "border_share") > BORDER * _BORDER_AREA:
        yield Finding(
            "warning",
            f"{_name(result.name)}: evidence at the border",
            f"{border:.0%} of the positive evidence lies in the outer 5 % of each side, where no "
            "lung is: look for letters, markers, collimation and padding in the overlays.",
        )


def _marker(name: str, pointing: float, share: float) -> Finding:
    told = (
        f"In {pointing:.0%} of the marked images the strongest evidence lies on the planted "
        f"marker, and {share:.1%} of all positive evidence."
    )
    certain = pointing >= MARKED or share >= MARKER
    if not certain and pointing < MARKED_TRACE and share < MARKER_TRACE:
        return Finding("ok", f"{_name(name)}: no shortcut", told)
    return Finding(
        "fatal" if certain else "warning",
        f"{_name(name)}: {'shortcut found' if certain else 'trace of a shortcut'}",
        f"{told} The model reads the marker{'' if certain else ' as well'}, not the disease alone. "
        "Train without it.",
    )


def _at_least(result: Result, name: str) -> float:
    """The lower end of a measure's interval; without one the value, 0 where it is absent."""
    interval = result.metrics.intervals.get(name)
    return interval.low if interval else result.metrics.values.get(name, 0.0)


def _faithful(result: Result, chance: Result) -> Iterator[Finding]:
    value = result.metrics.values.get("insertion_less_deletion")
    floor = chance.metrics.values.get("insertion_less_deletion")
    if value is None or floor is None:
        return
    if _at_least(result, "insertion_less_deletion") <= floor:
        yield Finding(
            "warning",
            f"{_name(result.name)}: evidence that decides little",
            f"Taking the evidence away or showing it alone moves the decision no more than noise "
            f"does (insertion less deletion {value:.2f}, noise {floor:.2f}).",
        )


def _place(result: Result) -> Iterator[Finding]:
    mass, area = result.metrics.values.get("mass_in_mask"), lesion_area(result.study)
    if mass is None or area is None:
        return
    told = f"{mass:.0%} of the positive evidence lies in the lesions, which cover {area:.1%}"
    if _at_least(result, "mass_in_mask") <= area:
        yield Finding(
            "warning",
            f"{_name(result.name)}: evidence outside the lesions",
            f"{told} of the images: it can't be told from an even map.",
        )
    else:
        yield Finding(
            "ok",
            f"{_name(result.name)}: evidence in the lesions",
            f"{told} of the images: {mass / area:.1f} times what an even map would have.",
        )


def _completeness(result: Result) -> Iterator[Finding]:
    missed = int(result.study.doubtful.sum()) - len(_not_finite(result))
    if missed > 0:
        yield Finding(
            "warning",
            f"{_name(result.name)}: completeness missed",
            f"{missed} of {len(result.study.maps)} maps do not sum to the difference in output "
            f"within {result.study.tolerance:.0%}: they are marked in the sheet. More steps may "
            "mend them (explanation.max_steps).",
        )


def _unusable(result: Result) -> Iterator[Finding]:
    if result.study.unusable:
        reasons = sorted(set(result.study.unusable.values()))
        yield Finding(
            "warning",
            f"{_name(result.name)}: maps without content",
            f"{len(result.study.unusable)} of {len(result.study.maps)} maps are "
            f"{' or '.join(reasons)}: nothing was measured of them.",
        )


def _not_finite(result: Result) -> list[int]:
    return [place for place, reason in result.study.unusable.items() if reason == "not finite"]


def _name(method: str) -> str:
    return method.replace("_", " ")
