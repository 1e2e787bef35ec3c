"""Integrated Gradients with a completeness check that spends steps where they are needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import captum.attr
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrlab import errors
from cxrlab.explanation.attribution import Attribution
from cxrlab.explanation.mode import attribution_mode, device_of, fixed_exposure

BASELINES: dict[str, Callable[[Tensor], Tensor]] = {"black": torch.zeros_like}
"""Images (B, 1, H, W) to the images without evidence from which the path of integration starts."""


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated Gradients (Sundararajan, Taly and Yan, ICML 2017), by Captum.

    The attributions of an image sum to f(image) - f(baseline), f being the explained logit, if
    the path integral is exact. How far they miss it is the completeness error. The images that
    miss it by more than the tolerance are done again with twice the steps, up to `max_steps`.
    For a model that standardises each image, path and baseline lie in standardised images.

    Attributes:
        steps: Gauss-Legendre points on the path from the baseline to the image, first try.
        max_steps: most points an image gets.
        tolerance: accepted completeness error, relative to |f(image) - f(baseline)|.
        absolute_tolerance: in logits, the distance that is accepted in any case; where the
            outputs differ by less than `absolute_tolerance / tolerance`, the completeness error
            is relative to that quotient, not to a difference near zero.
        batch_size: points that go through the model at once. 16 images of 224 x 224 keep
            MobileNetV2's activations near the CPU's caches: larger batches are slower there.
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
        self, model: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        """Explain one logit an image; see `AttributionMethod`.

        Images whose attributions are not finite are named in a warning by their position; their
        completeness error is infinite, and the others are not affected.

        Raises:
            ValueError: `images` is not (B, 1, H, W).
        """
        if images.dim() != 4 or images.shape[1] != 1:
            raise ValueError(f"images of shape {tuple(images.shape)}, expected (B, 1, H, W)")
        start = time.perf_counter()
        device = device_of(model)
        # A copy, because tensors made in inference mode can't be used with autograd.
        with (
            attribution_mode(model),
            fixed_exposure(model, images.to(device, torch.float32, copy=True)) as inputs,
        ):
            baselines = BASELINES[self.baseline](inputs)
            logits = self._logits(model, inputs)
            classes = _explained_classes(logits, targets)
            output = _select(logits, classes)
            baseline_output = _select(self._logits(model, baselines), classes)
            maps, error, steps = self._refine(
                captum.attr.IntegratedGradients(model),
                inputs,
                baselines,
                classes,
                output - baseline_output,
            )
        _warn_not_finite(error)
        return Attribution(
            maps=maps,
            completeness_error=error,
            steps=steps,
            output=output,
            baseline_output=baseline_output,
            method=self.name,
            seconds=time.perf_counter() - start,
        )

    def _logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([model(chunk) for chunk in inputs.split(self.batch_size)])

    def _refine(
        self,
        explainer: captum.attr.IntegratedGradients,
        inputs: Tensor,
        baselines: Tensor,
        classes: Tensor | None,
        difference: NDArray[np.float64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        """Maps, completeness errors and steps; more steps for the images over the tolerance."""
        count, _, height, width = inputs.shape
        maps = np.zeros((count, height, width), dtype=np.float32)
        error = np.full(count, np.inf)
        used = np.zeros(count, dtype=np.int64)
        pending, steps = np.arange(count), self.steps
        while pending.size:
            chosen = torch.from_numpy(pending).to(inputs.device)
            maps[pending] = self._integrate(
                explainer,
                inputs[chosen],
                baselines[chosen],
                None if classes is None else classes[chosen],
                steps,
            )
            used[pending] = steps
            error[pending] = self._completeness_error(maps[pending], difference[pending])
            if steps == self.max_steps:
                break
            # More steps mend a coarse integral, not a gradient that is not finite.
            doubtful = np.isfinite(error[pending]) & (error[pending] > self.tolerance)
            pending, steps = pending[doubtful], min(2 * steps, self.max_steps)
        return maps, error, used

    def _integrate(
        self,
        explainer: captum.attr.IntegratedGradients,
        inputs: Tensor,
        baselines: Tensor,
        classes: Tensor | None,
        steps: int,
    ) -> NDArray[np.float32]:
        """Captum's attributions (B, H, W), with full batches whatever the number of images."""
        chunk = max(1, self.batch_size // steps)
        maps = [
            explainer.attribute(
                inputs[first : first + chunk],
                baselines=baselines[first : first + chunk],
                target=None if classes is None else classes[first : first + chunk],
                n_steps=steps,
                internal_batch_size=self.batch_size,
            )
            for first in range(0, len(inputs), chunk)
        ]
        return torch.cat(maps)[:, 0].detach().float().cpu().numpy()

    def _completeness_error(
        self, maps: NDArray[np.float32], difference: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        floor = self.absolute_tolerance / self.tolerance
        with np.errstate(invalid="ignore", over="ignore"):
            residual = np.abs(maps.sum(axis=(1, 2), dtype=np.float64) - difference)
            error = residual / np.maximum(np.abs(difference), floor)
        return np.where(np.isfinite(maps).all(axis=(1, 2)) & np.isfinite(error), error, np.inf)


def _explained_classes(logits: Tensor, targets: Tensor | None) -> Tensor | None:
    if logits.dim() == 1:
        return None
    return logits.argmax(dim=1) if targets is None else targets.to(logits.device, copy=True)


def _select(logits: Tensor, classes: Tensor | None) -> NDArray[np.float64]:
    chosen = logits if classes is None else logits.gather(1, classes[:, None])[:, 0]
    return chosen.detach().double().cpu().numpy()


def _warn_not_finite(error: NDArray[np.float64]) -> None:
    positions = np.flatnonzero(~np.isfinite(error))
    if positions.size:
        listed = ", ".join(str(position) for position in positions)
        errors.warn(
            f"attributions of image {listed} (of {len(error)} explained) are not finite: they are "
            "marked and count as missed; look for NaN in the model's weights or in the image"
        )
