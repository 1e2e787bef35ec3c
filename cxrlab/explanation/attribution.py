"""What every attribution method takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Attribution:
    """Attribution maps of B images and the figures that say whether to believe them.

    Attributes:
        maps: float32 (B, H, W), signed: contribution of each pixel to the explained logit.
        completeness_error: float64 (B,), distance of the sum of a map from the difference in
            output, relative to that difference; infinite where the map is not finite, NaN for
            methods whose maps need not sum to it.
        steps: int64 (B,), intervals of the integral that the final map took.
        output: float64 (B,), the explained logit.
        baseline_output: float64 (B,), the same logit for the baseline image.
        method: name of the method.
        seconds: wall-clock time for all B images.
    """

    maps: NDArray[np.float32]
    completeness_error: NDArray[np.float64]
    steps: NDArray[np.int64]
    output: NDArray[np.float64]
    baseline_output: NDArray[np.float64]
    method: str
    seconds: float


class AttributionMethod(Protocol):
    """A way to explain a model's logit, image by image."""

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        ...

    @property
    def tolerance(self) -> float:
        """Completeness error above which a map is marked as doubtful."""
        ...

    def __call__(
        self, network: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        """Explain one logit an image.

        Args:
            network: maps (B, 1, H, W) in [0, 1] to logits (B,), or (B, K) for K classes or
                findings; frozen, as `inference_network` makes it, and not changed.
            images: float32 (B, 1, H, W) in [0, 1], on any device.
            targets: int64 (B,), the class or finding to explain; without it the one of the
                highest logit. A binary model has a single logit, that of the positive class,
                and takes no notice.
        """
        ...


def to_model_input(images: NDArray[np.uint8]) -> Tensor:
    """Cached images, uint8 (N, H, W), as model input, float32 (N, 1, H, W) in [0, 1]."""
    scaled = np.asarray(images).astype(np.float32) / np.float32(255)
    return torch.from_numpy(scaled)[:, None]
