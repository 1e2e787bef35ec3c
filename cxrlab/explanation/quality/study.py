"""A method's maps of some cases, and every measure of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrlab.explanation.attribution import AttributionMethod, to_model_input
from cxrlab.explanation.cases import Cases
from cxrlab.explanation.quality import localisation
from cxrlab.explanation.quality.deletion import Curves, deletion_insertion
from cxrlab.explanation.quality.evidence import why_unusable
from cxrlab.explanation.quality.model import Model
from cxrlab.explanation.quality.randomisation import Similarity, cascade, deepest
from cxrlab.explanation.quality.stability import infidelity, sensitivity_max

_GROUP = 8  # images a call, between two steps of the progress bar
_SQUARES = 8  # of infidelity, for each perturbation of sensitivity: a pass and not a map each


@dataclass(frozen=True)
class Effort:
    """How thoroughly to measure.

    Attributes:
        checked: cases, from the first, whose weights are shuffled and images changed.
        curve_steps: of deletion and insertion.
        perturbations: images nearby whose maps are made.
        radius: greatest change of their pixels.
    """

    checked: int
    curve_steps: int
    perturbations: int
    radius: float


@dataclass(frozen=True)
class Study:
    """What became of one method.

    Attributes:
        method: its name.
        maps: float32 (N, S, S), signed.
        completeness_error: float64 (N,), see `Attribution`.
        tolerance: the error above which a map is doubtful.
        seconds_per_image: of making the maps.
        measures: N rows, a column a measure; NaN where there is none.
        curves: of each case; None for a map that can't be used.
        similarities: of the cases checked, stage by stage; empty if none is.
        unusable: why nothing was measured, by the case's place.
    """

    method: str
    maps: NDArray[np.float32]
    completeness_error: NDArray[np.float64]
    tolerance: float
    seconds_per_image: float
    measures: pd.DataFrame
    curves: list[Curves | None]
    similarities: list[Similarity]
    unusable: dict[int, str]

    @property
    def doubtful(self) -> NDArray[np.bool_]:
        """(N,) maps that miss the tolerance, or are not finite."""
        return np.asarray(self.completeness_error > self.tolerance)


def study(
    method: AttributionMethod,
    model: Model,
    cases: Cases,
    effort: Effort,
    advance: Callable[[int], None],
) -> Study:
    """Make and measure the maps of all cases.

    Args:
        method: how to attribute.
        model: what is explained.
        cases: N images.
        effort: how thoroughly.
        advance: is told of every image that is done.

    Raises:
        UserError: the network has nothing that the method could look at.
    """
    bench = _Bench(method, model, cases, effort, to_model_input(cases.images))
    maps, error, seconds = bench.attribute()
    unusable = {place: reason for place, each in enumerate(maps) if (reason := why_unusable(each))}
    rows: list[dict[str, float]] = []
    curves: list[Curves | None] = []
    for place, attribution in enumerate(maps):
        row: dict[str, float] = {"completeness_error": float(error[place])}
        curve = None if place in unusable else bench.curves(place, attribution)
        if curve is not None:
            row |= _areas(curve) | _places(attribution, cases, place)
            if place < effort.checked:
                row |= bench.stability(place, attribution)
        rows.append(row)
        curves.append(curve)
        advance(1)
    similarities = bench.cascade(maps)
    measures = pd.DataFrame(rows)
    if similarities:
        for name, kind in (("similarity", "rank"), ("ssim", "ssim")):
            values = deepest([getattr(each, kind) for each in similarities])
            measures.loc[: len(values) - 1, f"randomisation_{name}"] = values
    return Study(
        method.name, maps, error, method.tolerance, seconds, measures, curves, similarities,
        unusable,
    )  # fmt: skip


@dataclass(frozen=True)
class _Bench:
    """A method on its cases; `inputs` are their images, float32 (N, 1, S, S)."""

    method: AttributionMethod
    model: Model
    cases: Cases
    effort: Effort
    inputs: Tensor

    def attribute(self) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
        """Maps (N, S, S), completeness errors (N,), seconds an image."""
        groups = zip(self.inputs.split(_GROUP), self._classes.split(_GROUP), strict=True)
        found = [self.method(self.model.network, images, labels) for images, labels in groups]
        return (
            np.concatenate([each.maps for each in found]),
            np.concatenate([each.completeness_error for each in found]),
            sum(each.seconds for each in found) / len(self.inputs),
        )

    def curves(self, place: int, attribution: NDArray[np.float32]) -> Curves:
        """Deletion and insertion of one case."""
        return deletion_insertion(
            self.model,
            self.inputs[place : place + 1],
            int(self.cases.explained[place]),
            attribution,
            decided=bool(self.cases.decided[place]),
            steps=self.effort.curve_steps,
        )

    def stability(self, place: int, attribution: NDArray[np.float32]) -> dict[str, float]:
        """Sensitivity and infidelity of one case."""
        image, label = self.inputs[place : place + 1], int(self.cases.explained[place])
        count = self.effort.perturbations
        changed = sensitivity_max(
            self.method, self.model, image, label, radius=self.effort.radius, count=count
        )
        missed = infidelity(self.model, image, label, attribution, count=_SQUARES * count)
        return {"sensitivity_max": changed, "infidelity": missed}

    def cascade(self, maps: NDArray[np.float32]) -> list[Similarity]:
        """Shuffled weights, of the cases to be checked."""
        count = min(self.effort.checked, len(self.inputs))
        if not count:
            return []
        return cascade(
            self.method, self.model.network, self.inputs[:count], self._classes[:count],
            maps[:count],
        )  # fmt: skip

    @property
    def _classes(self) -> Tensor:
        return torch.from_numpy(self.cases.explained)


def _places(attribution: NDArray[np.float32], cases: Cases, place: int) -> dict[str, float]:
    """Measures of where the evidence lies; `lesion_area` is the lesion's share of the image."""
    border = localisation.border_mask(*attribution.shape)
    found = {"border_share": localisation.mass_in_mask(attribution, border)}
    if cases.lesions is not None and (lesion := cases.lesions[place]).any():
        found |= {
            "pointing_game": float(localisation.pointing_game(attribution, lesion)),
            "mass_in_mask": localisation.mass_in_mask(attribution, lesion),
            "iou": localisation.otsu_iou(attribution, lesion),
            "auprc": localisation.pixel_auprc(attribution, lesion),
            "lesion_area": float(lesion.mean()),
        }
    if cases.markers is not None and (marker := cases.markers[place]).any():
        sign = localisation.sign_region(marker)
        found["marker_pointing"] = float(localisation.pointing_game(attribution, sign))
        found["marker_share"] = localisation.mass_in_mask(attribution, sign)
    return found


def _areas(curves: Curves) -> dict[str, float]:
    return {
        "deletion_auc": curves.deletion_auc,
        "insertion_auc": curves.insertion_auc,
        "insertion_less_deletion": curves.insertion_auc - curves.deletion_auc,
    }
