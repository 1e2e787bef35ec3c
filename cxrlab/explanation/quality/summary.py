"""Measures of single maps to the numbers of a method, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.evaluation.intervals import with_intervals
from cxrlab.evaluation.metrics import Metrics
from cxrlab.evaluation.resampling import count_patients
from cxrlab.evaluation.weighted import Measure as Measurement
from cxrlab.explanation.quality.study import Study

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """What a number of a method is.

    Attributes:
        label: in tables.
        better: `high` or `low`; "" where neither is.
        meaning: in a sentence.
    """

    label: str
    better: str
    meaning: str


MEASURES: dict[str, Measure] = {
    "pointing_game": Measure(
        "Pointing game", "high", "Share of lesions in which the strongest evidence lies."
    ),
    "mass_in_mask": Measure(
        "Mass in the lesion", "high", "Share of the positive evidence inside the lesion."
    ),
    "iou": Measure(
        "IoU", "high", "Overlap of the lesion with the evidence above Otsu's threshold."
    ),
    "auprc": Measure(
        "Pixel AUPRC", "high", "Average precision of the lesion's pixels, ranked by evidence."
    ),
    "deletion_auc": Measure(
        "Deletion", "low", "Probability of the decision as its evidence is taken away, in the mean."
    ),
    "insertion_auc": Measure(
        "Insertion", "high", "The same as the evidence is put into the blurred image."
    ),
    "insertion_less_deletion": Measure(
        "Insertion less deletion", "high", "The two together: 0 for evidence that decides nothing."
    ),
    "sensitivity_max": Measure(
        "Sensitivity", "low", "Greatest change of the map for images nearby, of its norm."
    ),
    "infidelity": Measure(
        "Infidelity",
        "low",
        "How badly the map foretells what hiding a square does: 0 not at all, 1 as zeros do.",
    ),
    "randomisation_similarity": Measure(
        "Similarity, shuffled",
        "low",
        "Rank correlation, either way, with the map of the network with shuffled weights.",
    ),
    "randomisation_ssim": Measure(
        "SSIM, shuffled", "low", "Structural similarity with that map; smooth maps have much of it."
    ),
    "border_share": Measure(
        "On the border", "low", "Share of the positive evidence in the outer 5 % of each side."
    ),
    "marker_pointing": Measure(
        "Pointing at the marker",
        "low",
        "Share of the marked images whose strongest evidence lies on the planted marker.",
    ),
    "marker_share": Measure(
        "On the marker", "low", "Share of the positive evidence on the planted marker."
    ),
    "completeness_error": Measure(
        "Completeness error", "low", "Sum of the map against the difference in output, median."
    ),
    "completeness_error_worst": Measure("Worst completeness error", "low", "Of all cases."),
    "seconds_per_image": Measure("Seconds an image", "low", "To make the map, on this machine."),
}
"""Every number of a method, in the order of tables."""

_MEDIAN = "completeness_error"


def summarise(study: Study, patients: NDArray[np.str_], draws: int) -> Metrics:
    """Mean of each measure over the cases that have it, with a 95 % interval.

    Patients are drawn anew with all their images, as for every metric. The completeness error is
    a median, and has none.

    Args:
        study: of N cases.
        patients: (N,) whose images they are.
        draws: samples of patients; 0: no intervals.
    """
    table = study.measures.drop(columns=[_MEDIAN, "lesion_area"], errors="ignore")
    known = table.loc[:, table.notna().any()]
    values = {str(name): float(known[name].mean()) for name in known}
    trials = {
        name: count_patients(patients[known[name].notna()])
        for name in ("pointing_game", "marker_pointing")
        if name in known
    }
    found = with_intervals(Metrics(values, {}), _means(known), patients, trials, draws, seed=0)
    values |= _completeness(study) | {"seconds_per_image": study.seconds_per_image}
    absent = {name: "no case has it" for name in MEASURES if name not in values}
    return Metrics(values, absent, found.intervals, found.no_interval)


def lesion_area(study: Study) -> float | None:
    """Mean share of the image that the lesions cover: the mass that an even map has in them."""
    areas = study.measures.get("lesion_area")
    return None if areas is None or areas.isna().all() else float(areas.mean())


def _means(table: pd.DataFrame) -> Measurement:
    """The means of the columns by weights of the rows; NaN where no weight is on a known one."""
    values = table.to_numpy(np.float64)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0)

    def means(weights: FloatArray) -> dict[str, FloatArray]:
        with np.errstate(invalid="ignore"):
            found = (weights @ filled) / (weights @ known)
        return dict(zip(map(str, table), found.T, strict=True))

    return means


def _completeness(study: Study) -> dict[str, float]:
    error = study.completeness_error[np.isfinite(study.completeness_error)]
    if not error.size:
        return {}
    return {_MEDIAN: float(np.median(error)), f"{_MEDIAN}_worst": float(error.max())}
