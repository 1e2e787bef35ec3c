"""Integrated Gradients with a completeness check that spends steps where they are needed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrlab import errors
from cxrlab.explanation.attribution import Attribution
from cxrlab.explanation.methods.baselines import BASELINES
from cxrlab.explanation.methods.method import warn_not_finite
from cxrlab.explanation.methods.mode import Question, asked
from cxrlab.explanation.methods.path import Line, Trapezoid

AVERAGE = "average"
"""In place of a baseline: the mean of the maps of all of them."""

# New intervals a round, as a share of those there are: few, so that each goes where it is needed.
_SHARE = 1 / 16
# Images whose points are held at once: up to `max_steps` maps each.
_GROUP = 16


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated Gradients (Sundararajan, Taly and Yan, ICML 2017).

    The attributions of an image sum to f(image) - f(baseline), f being the explained logit, if
    the path integral is exact. How far they miss it is the completeness error.

    Captum computes the same integral at points fixed beforehand, and tests hold this one against
    it. Here the trapezoid rule starts with intervals of one length; while an image misses the
    tolerance, those intervals are halved over which the integral and the known difference in
    output disagree most (see `Trapezoid`). No point is computed twice, and points of several
    images share a batch. An image's map doesn't depend on the others, but for rounding.

    For a network that standardises each image, path and baseline lie in standardised images.

    With `baseline="average"` the map is the mean over all baselines (as in Sturmfels, Lundberg
    and Lee, Distill 2020), and so are the baseline's output and the signed error.

    Attributes:
        steps: intervals on the path from the baseline to the image, at first.
        max_steps: most intervals an image gets.
        tolerance: accepted completeness error, relative to |f(image) - f(baseline)|.
        absolute_tolerance: in logits, the distance that is accepted in any case; where the
            outputs differ by less than `least_difference`, the completeness error is relative
            to that, not to a difference near zero.
        batch_size: points that go through the network at once.
        baseline: key of `BASELINES`, or `AVERAGE`.
    """

    steps: int = 32
    max_steps: int = 256
    tolerance: float = 0.05
    absolute_tolerance: float = 0.01
    batch_size: int = 16
    baseline: str = "black"

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            UserError: unknown baseline, or `max_steps` below `steps`.
        """
        if self.baseline not in (*BASELINES, AVERAGE):
            known = ", ".join((*BASELINES, AVERAGE))
            raise errors.UserError(f"explanation.baseline={self.baseline}: choose one of {known}")
        if not 1 <= self.steps <= self.max_steps:
            raise errors.UserError(
                f"explanation.steps={self.steps}: choose 1 to max_steps={self.max_steps}"
            )

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        black = self.baseline == "black"
        return "integrated_gradients" if black else f"integrated_gradients_{self.baseline}"

    @property
    def least_difference(self) -> float:
        """Logits that completeness errors are relative to where the outputs differ by less."""
        return self.absolute_tolerance / self.tolerance

    def __call__(
        self, network: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        """Explain one logit an image; see `AttributionMethod`.

        Images whose attributions are not finite are named in a warning by their position; their
        completeness error is infinite, and the others are not affected.

        Raises:
            ValueError: `images` is not (B, 1, H, W), or the network is in training mode.
        """
        start = time.perf_counter()
        with asked(network, images, targets, self.batch_size) as question:
            explained = self.explain(question)
        error = np.array([image.error for image in explained])
        warn_not_finite(error)
        return Attribution(
            maps=np.stack([image.map for image in explained]),
            completeness_error=error,
            steps=np.array([image.steps for image in explained]),
            output=np.array([image.output for image in explained]),
            baseline_output=np.array([image.baseline_output for image in explained]),
            method=self.name,
            seconds=time.perf_counter() - start,
        )

    def explain(self, question: Question) -> list[Explained]:
        """Explain each image; for methods that build on this one."""
        chosen = list(BASELINES) if self.baseline == AVERAGE else [self.baseline]
        groups = zip(question.images.split(_GROUP), question.classes.split(_GROUP), strict=True)
        explained = []
        for inputs, classes in groups:
            integrals = []
            for baseline in chosen:
                start = BASELINES[baseline](inputs)
                line = Line(question.network, start, inputs, classes, self.batch_size)
                integrals.append(self._integrate(line))
            explained += [self._mean(of_image) for of_image in zip(*integrals, strict=True)]
        return explained

    def _mean(self, integrals: Sequence[Trapezoid]) -> Explained:
        """What is known of an image: the mean of its integrals, one a baseline."""
        baseline_output = float(np.mean([integral.ends[0] for integral in integrals]))
        output = integrals[0].ends[1]
        missed = float(np.mean([integral.error() for integral in integrals]))
        return Explained(
            map=torch.stack([integral.map() for integral in integrals]).mean(0).cpu().numpy(),
            error=self._relative(missed, output - baseline_output),
            steps=sum(integral.intervals for integral in integrals),
            output=output,
            baseline_output=baseline_output,
        )

    def _integrate(self, line: Line) -> list[Trapezoid]:
        """The integral of each path of a line, refined until it is complete or at its limit."""
        even = np.linspace(0, 1, self.steps + 1).tolist()
        integrals = [Trapezoid(points) for points in line.points([even] * len(line.images))]
        while any(wanted := [self._refinement(integral) for integral in integrals]):
            for integral, points in zip(integrals, line.points(wanted), strict=True):
                integral.refine(points)
        return integrals

    def _refinement(self, integral: Trapezoid) -> list[float]:
        """Positions at which an integral still needs points."""
        error = self._completeness_error(integral)
        # More points mend a coarse integral, not a gradient that is not finite.
        if error <= self.tolerance or not math.isfinite(error):
            return []
        share = max(1, round(_SHARE * integral.intervals))
        return integral.worst(min(share, self.max_steps - integral.intervals))

    def _completeness_error(self, integral: Trapezoid) -> float:
        baseline_output, output = integral.ends
        return self._relative(integral.error(), output - baseline_output)

    def _relative(self, missed: float, difference: float) -> float:
        error = abs(missed) / max(abs(difference), self.least_difference)
        return error if math.isfinite(error) else math.inf


class Explained(NamedTuple):
    """What is kept of one image; fields as in `Attribution`."""

    map: NDArray[np.float32]
    error: float
    steps: int
    output: float
    baseline_output: float
