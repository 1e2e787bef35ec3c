"""The path integral of Integrated Gradients, by a trapezoid rule that refines where it errs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrlab.explanation.methods.mode import explained_logits


@dataclass(frozen=True)
class Line:
    """The straight path from B baselines to B images, and the logit followed on it.

    Attributes:
        network: frozen, maps (B, 1, H, W) to logits (B,) or (B, K).
        baselines: float32 (B, 1, H, W), position 0.
        images: float32 (B, 1, H, W), position 1.
        classes: int64 (B,), which of K logits; no matter where there is a single one.
        batch_size: points that go through the network at once.
    """

    network: nn.Module
    baselines: Tensor
    images: Tensor
    classes: Tensor
    batch_size: int

    def points(self, positions: Sequence[Sequence[float]]) -> list[list[Point]]:
        """Compute points of each path, given by their positions in [0, 1]."""
        paths = np.repeat(np.arange(len(positions)), [len(each) for each in positions])
        together = np.concatenate([np.asarray(each, dtype=np.float64) for each in positions])
        found: list[list[Point]] = [[] for _ in positions]
        for first in range(0, len(paths), self.batch_size):
            part = slice(first, first + self.batch_size)
            for path, point in zip(
                paths[part], self._batch(paths[part], together[part]), strict=True
            ):
                found[path].append(point)
        return found

    def _batch(self, paths: NDArray[np.int64], positions: NDArray[np.float64]) -> list[Point]:
        chosen = torch.from_numpy(paths).to(self.images.device)
        shares = torch.from_numpy(positions).to(self.images)[:, None, None, None]
        baselines = self.baselines[chosen]
        direction = self.images[chosen] - baselines
        inputs = (baselines + shares * direction).requires_grad_()
        logits = explained_logits(self.network, inputs, self.classes[chosen])
        (gradients,) = torch.autograd.grad(logits.sum(), inputs)
        changes = (gradients * direction)[:, 0]
        slopes = changes.sum(dim=(1, 2), dtype=torch.float64).tolist()
        outputs = logits.detach().tolist()
        return [Point(*known) for known in zip(positions, outputs, slopes, changes, strict=True)]


@dataclass(frozen=True)
class Point:
    """A point on the path of one image.

    Attributes:
        position: 0 at the baseline, 1 at the image.
        output: the explained logit.
        slope: its derivative along the path.
        change: float32 (H, W), the share of each pixel in the slope.
    """

    position: float
    output: float
    slope: float
    change: Tensor


class Trapezoid:
    """The trapezoid rule over the points of one path, and where it is wrong.

    Over every interval the slope integrates to the difference in output, which is known. So the
    error of an interval is no estimate, and new points go where they are needed.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        """Take the first points, at least those at both ends."""
        self._points = sorted(points, key=lambda point: point.position)

    @property
    def intervals(self) -> int:
        """How many intervals the path is cut into."""
        return len(self._points) - 1

    @property
    def ends(self) -> tuple[float, float]:
        """The explained logit of the baseline and of the image."""
        return self._points[0].output, self._points[-1].output

    def map(self) -> Tensor:
        """The integral pixel by pixel, float32 (H, W): the attributions."""
        changes = torch.stack([point.change for point in self._points])
        width = np.diff(self._positions())
        weights = (np.append(width, 0) + np.insert(width, 0, 0)) / 2
        return torch.einsum("n,nhw->hw", torch.from_numpy(weights).to(changes), changes)

    def worst(self, count: int) -> list[float]:
        """Middles of the `count` intervals whose errors are the largest."""
        positions = self._positions()
        order = np.argsort(-np.abs(self._errors()), kind="stable")[:count]
        middles: list[float] = ((positions[:-1] + positions[1:])[order] / 2).tolist()
        return middles

    def error(self) -> float:
        """The integral less the difference in output; NaN where the network is not finite."""
        return float(self._errors().sum())

    def refine(self, points: Sequence[Point]) -> None:
        """Add points."""
        self._points = sorted([*self._points, *points], key=lambda point: point.position)

    def _positions(self) -> NDArray[np.float64]:
        return np.array([point.position for point in self._points])

    def _errors(self) -> NDArray[np.float64]:
        slopes = np.array([point.slope for point in self._points])
        outputs = np.array([point.output for point in self._points])
        width = np.diff(self._positions())
        errors: NDArray[np.float64] = width * (slopes[:-1] + slopes[1:]) / 2 - np.diff(outputs)
        return errors
