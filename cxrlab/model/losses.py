"""Cross-entropy for two or more classes, with weights, smoothing and focus."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ClassificationLoss(nn.Module):
    """Mean cross-entropy of a batch of logits.

    Two classes use one logit, as the Keras origin's sigmoid does; the value equals that of a
    softmax over (0, logit), so both paths share one formula.
    """

    weights: Tensor

    def __init__(
        self, class_weights: Sequence[float], *, label_smoothing: float, focal_gamma: float
    ) -> None:
        """Set up the constants.

        Args:
            class_weights: weight of each class, by target.
            label_smoothing: share of the target spread evenly over all classes.
            focal_gamma: exponent of (1 - p), where p is the probability of the true class (Lin
                et al. 2017); 0 for plain cross-entropy.
        """
        super().__init__()
        self.register_buffer("weights", torch.tensor(class_weights, dtype=torch.float32))
        self.label_smoothing, self.focal_gamma = label_smoothing, focal_gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            logits: (B,) for two classes, else (B, K); computed in float32.
            target: (B,) int64.

        Returns:
            () float32. Weighted: the sum of weighted losses over the sum of weights, as torch's.
        """
        logits = logits.float()
        if logits.ndim == 1:
            logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
        each = functional.cross_entropy(
            logits, target, reduction="none", label_smoothing=self.label_smoothing
        )
        if self.focal_gamma:
            right = logits.softmax(dim=1).gather(1, target.unsqueeze(1)).squeeze(1)
            each = each * (1 - right) ** self.focal_gamma
        weights = self.weights[target]
        return (each * weights).sum() / weights.sum()


def class_weights(targets: Tensor, classes: int, *, balanced: bool) -> list[float]:
    """Weight of each class: n / (K * n_k) for balanced classes, with mean 1 over images, else 1.

    Args:
        targets: (N,) int64 of the training images.
        classes: number of classes, K.
        balanced: weigh rare classes up.
    """
    if not balanced:
        return [1.0] * classes
    counts = torch.bincount(targets, minlength=classes).clamp(min=1)
    return (len(targets) / (classes * counts)).tolist()
