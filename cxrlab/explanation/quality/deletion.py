"""What becomes of the decision when the evidence is taken away, or shown alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrlab.explanation.methods.baselines import blurred, mean_grey
from cxrlab.explanation.quality.model import Model


@dataclass(frozen=True)
class Curves:
    """Probability of the decision over the share of pixels changed, 0 to 1 in even steps.

    Attributes:
        deletion: float64 (steps + 1,), the strongest evidence goes first, to the mean grey.
        insertion: float64 (steps + 1,), it comes first, into the blurred image.
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]

    @property
    def deletion_auc(self) -> float:
        """Mean height of the curve, in [0, 1]: low where the evidence is what decides."""
        return _area(self.deletion)

    @property
    def insertion_auc(self) -> float:
        """Mean height of the curve, in [0, 1]: high where the evidence is enough."""
        return _area(self.insertion)


def deletion_insertion(
    model: Model,
    image: Tensor,
    label: int,
    attribution: NDArray[np.float32],
    *,
    decided: bool,
    steps: int,
) -> Curves:
    """Deletion and insertion (Petsiuk, Das and Saenko, BMVC 2018) of one map.

    Where the decision is against the explained class, its evidence is what the map holds against
    it, and the probability is that of the decision as well.

    Args:
        model: what is explained.
        image: float32 (1, 1, H, W).
        label: the class or finding whose logit is explained.
        attribution: signed map (H, W), finite.
        decided: whether the decision is for that class.
        steps: forward passes a curve, less one.
    """
    evidence = attribution if decided else -attribution
    order = np.argsort(-evidence, axis=None, kind="stable")
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    place = torch.from_numpy(rank.reshape(evidence.shape)).to(image.device)
    cuts = torch.linspace(0, order.size, steps + 1, device=image.device)[:, None, None]
    changed = (place < cuts)[:, None]  # (steps + 1, 1, H, W), none at first and all at last
    deleted = torch.where(changed, mean_grey(image), image)
    inserted = torch.where(changed, image, blurred(image))
    both = model.probabilities(torch.cat([deleted, inserted]), label)
    curves = both if decided else 1 - both
    return Curves(curves[: steps + 1], curves[steps + 1 :])


def _area(curve: NDArray[np.float64]) -> float:
    return float(np.trapezoid(curve) / (len(curve) - 1))
