"""What the methods share whose maps need not sum to a difference in output."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrlab import errors
from cxrlab.explanation.attribution import Attribution
from cxrlab.explanation.methods.mode import Question, asked


class Method(ABC):
    """An attribution method without completeness: its error is NaN, or infinite without a map."""

    batch_size: int

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in tables and figures."""

    @property
    def tolerance(self) -> float:
        """No finite error is known, so that any is too much."""
        return 0.0

    @abstractmethod
    def maps(self, question: Question) -> Tensor:
        """Signed maps, float32 (B, H, W), one an image, no image's depending on the others."""

    def __call__(
        self, network: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        """Explain one logit an image; see `AttributionMethod`.

        Raises:
            ValueError: `images` is not (B, 1, H, W), or the network is in training mode.
            UserError: the network has nothing that the method could look at.
        """
        start = time.perf_counter()
        with asked(network, images, targets, self.batch_size) as question:
            maps = self.maps(question).detach().float().cpu().numpy()
            output = question.output(self.batch_size).double().cpu().numpy()
        finite = np.isfinite(maps).all(axis=(1, 2)) & np.isfinite(output)
        error = np.where(finite, math.nan, math.inf)
        warn_not_finite(error)
        return Attribution(
            maps=maps,
            completeness_error=error,
            steps=np.zeros(len(maps), dtype=np.int64),
            output=output,
            baseline_output=np.full(len(maps), math.nan),
            method=self.name,
            seconds=time.perf_counter() - start,
        )


def warn_not_finite(error: NDArray[np.float64]) -> None:
    """Name the images (by their position) whose completeness error is infinite."""
    positions = np.flatnonzero(np.isinf(error))
    if positions.size:
        listed = ", ".join(str(position) for position in positions)
        errors.warn(
            f"attributions of image {listed} (of {len(error)} explained) are not finite: they are "
            "marked and count as missed; look for NaN in the model's weights or in the image"
        )


def each(question: Question) -> list[tuple[Tensor, Tensor]]:
    """The images one by one, (1, 1, H, W), with their class (1,)."""
    return list(zip(question.images.split(1), question.classes.split(1), strict=True))


def seeded(count: tuple[int, ...], seed: int, *, normal: bool) -> Tensor:
    """The same random numbers (normal, or even in [0, 1]) in every call; no stream is touched."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn if normal else torch.rand
    return draw(count, generator=generator)
