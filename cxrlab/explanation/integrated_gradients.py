"""Integrated Gradients with a completeness check that spends steps where they are needed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrlab import errors
from cxrlab.explanation.attribution import Attribution
from cxrlab.explanation.mode import device_of, exact_gradients, hold_exposure
from cxrlab.explanation.path import Line, Trapezoid

BASELINES: dict[str, Callable[[Tensor], Tensor]] = {"black": torch.zeros_like}
"""Images (B, 1, H, W) to the images without evidence from which the path of integration starts."""

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

    Attributes:
        steps: intervals on the path from the baseline to the image, at first.
        max_steps: most intervals an image gets.
        tolerance: accepted completeness error, relative to |f(image) - f(baseline)|.
        absolute_tolerance: in logits, the distance that is accepted in any case; where the
            outputs differ by less than `absolute_tolerance / tolerance`, the completeness error
            is relative to that quotient, not to a difference near zero.
        batch_size: points that go through the network at once.
        baseline: key of `BASELINES`.
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
        if self.baseline not in BASELINES:
            known = ", ".join(BASELINES)
            raise errors.UserError(f"explanation.baseline={self.baseline}: choose one of {known}")
        if not 1 <= self.steps <= self.max_steps:
            raise errors.UserError(
                f"explanation.steps={self.steps}: choose 1 to max_steps={self.max_steps}"
            )

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "integrated_gradients"

    def __call__(
        self, network: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        """Explain one logit an image; see `AttributionMethod`.

        Images whose attributions are not finite are named in a warning by their position; their
        completeness error is infinite, and the others are not affected.

        Raises:
            ValueError: `images` is not (B, 1, H, W), or the network is in training mode.
        """
        if images.dim() != 4 or images.shape[1] != 1:
            raise ValueError(f"images of shape {tuple(images.shape)}, expected (B, 1, H, W)")
        if any(module.training for module in network.modules()):
            raise ValueError("the network is in training mode, where its outputs are random")
        start = time.perf_counter()
        device = device_of(network)
        with exact_gradients(device):
            # Copies, because tensors made in inference mode can't be used with autograd.
            inputs = images.to(device, torch.float32, copy=True)
            network, inputs = hold_exposure(network, inputs)
            if targets is None:
                classes = _predicted_classes(network, inputs, self.batch_size)
            else:
                classes = targets.to(device, torch.int64, copy=True)
            explained = [
                image
                for group in torch.arange(len(inputs), device=device).split(_GROUP)
                for image in self._explain(network, inputs[group], classes[group])
            ]
        error = np.array([image.error for image in explained])
        _warn_not_finite(error)
        return Attribution(
            maps=np.stack([image.map for image in explained]),
            completeness_error=error,
            steps=np.array([image.steps for image in explained]),
            output=np.array([image.output for image in explained]),
            baseline_output=np.array([image.baseline_output for image in explained]),
            method=self.name,
            seconds=time.perf_counter() - start,
        )

    def _explain(self, network: nn.Module, inputs: Tensor, classes: Tensor) -> list[_Explained]:
        baselines = BASELINES[self.baseline](inputs)
        line = Line(network, baselines, inputs, classes, self.batch_size)
        return [
            _Explained(
                map=integral.map().cpu().numpy(),
                error=self._completeness_error(integral),
                steps=integral.intervals,
                baseline_output=integral.ends[0],
                output=integral.ends[1],
            )
            for integral in self._integrate(line)
        ]

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
        floor = self.absolute_tolerance / self.tolerance
        baseline_output, output = integral.ends
        error = abs(integral.error()) / max(abs(output - baseline_output), floor)
        return error if math.isfinite(error) else math.inf


class _Explained(NamedTuple):
    """What is kept of one image; fields as in `Attribution`."""

    map: NDArray[np.float32]
    error: float
    steps: int
    output: float
    baseline_output: float


def _predicted_classes(network: nn.Module, inputs: Tensor, batch_size: int) -> Tensor:
    """The class of the highest logit, int64 (B,); 0 where there is a single logit."""
    with torch.no_grad():
        if network(inputs[:1]).dim() == 1:
            return torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
        return torch.cat([network(chunk).argmax(dim=1) for chunk in inputs.split(batch_size)])


def _warn_not_finite(error: NDArray[np.float64]) -> None:
    positions = np.flatnonzero(~np.isfinite(error))
    if positions.size:
        listed = ", ".join(str(position) for position in positions)
        errors.warn(
            f"attributions of image {listed} (of {len(error)} explained) are not finite: they are "
            "marked and count as missed; look for NaN in the model's weights or in the image"
        )
