"""Cross-entropy for two or more classes and for findings, with weights, smoothing and focus."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ClassificationLoss(nn.Module):
    """Mean cross-entropy of a batch of logits.

    Two classes use one logit, as the Keras origin's sigmoid does; the value equals that of a
    softmax over (0, logit), so both paths share one formula. Findings are as many questions of
    two classes, each with its own weights; an unknown answer takes no part.
    """

    weights: Tensor

    def __init__(
        self, class_weights: Sequence[float], *, label_smoothing: float, focal_gamma: float
    ) -> None:
        """Set up the constants.

        Args:
            class_weights: weight of each class, by target; for findings, of each one present.
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
            target: (B,) int64, or (B, K) float32 findings, NaN where unknown.

        Returns:
            () float32. Weighted: the sum of weighted losses over the sum of weights, as torch's.
            Zero where nothing is known.
        """
        logits = logits.float()
        if target.ndim == 2:
            return self._of_findings(logits, target)
        if logits.ndim == 1:
            logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
        each = self._each(logits, target)
        weights = self.weights[target]
        return (each * weights).sum() / weights.sum()

    def _of_findings(self, logits: Tensor, target: Tensor) -> Tensor:
        known = ~target.isnan()
        truth = target.nan_to_num().long()
        pairs = torch.stack([torch.zeros_like(logits), logits], dim=2)
        each = self._each(pairs.flatten(0, 1), truth.flatten()).view_as(logits)
        weights = torch.where(truth == 1, self.weights, 1.0) * known
        return (each * weights).sum() / weights.sum().clamp(min=1e-12)

    def _each(self, logits: Tensor, target: Tensor) -> Tensor:
        each = functional.cross_entropy(
            logits, target, reduction="none", label_smoothing=self.label_smoothing
        )
        if self.focal_gamma:
            right = logits.softmax(dim=1).gather(1, target.unsqueeze(1)).squeeze(1)
            each = each * (1 - right) ** self.focal_gamma
        return each


def class_weights(targets: Tensor, classes: int, *, balanced: bool) -> list[float]:
    """Weight of each class: n / (K * n_k) for balanced classes, with mean 1 over images, else 1.

    Of a finding it is the number of images without it over that with it.

    Args:
        targets: (N,) int64 of the training images, or (N, K) float32 findings.
        classes: number of classes, K.
        balanced: weigh rare classes up.
    """
    if not balanced:
        return [1.0] * classes
    if targets.ndim == 2:
        return ((targets == 0).sum(dim=0) / (targets == 1).sum(dim=0).clamp(min=1)).tolist()
    counts = torch.bincount(targets, minlength=classes).clamp(min=1)
    return (len(targets) / (classes * counts)).tolist()
