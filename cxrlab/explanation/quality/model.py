"""The model as the measures ask it: probabilities and logits of changed images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrlab.explanation.methods.mode import device_of, explained_logits
from cxrlab.model.classifier import probabilities
from cxrlab.task import Task


@dataclass(frozen=True)
class Model:
    """A frozen network and what it predicts.

    Attributes:
        network: maps (B, 1, H, W) in [0, 1] to logits (B,) or (B, K).
        task: what is predicted.
        batch_size: images that go through the network at once.
    """

    network: nn.Module
    task: Task
    batch_size: int

    @torch.no_grad()
    def probabilities(self, images: Tensor, label: int) -> NDArray[np.float64]:
        """Probability (B,) of a class or finding, uncalibrated; of two classes of the second."""
        device = device_of(self.network)
        found = [
            probabilities(self.network(part.to(device)), self.task).double().cpu()
            for part in images.split(self.batch_size)
        ]
        together = torch.cat(found)
        column = together if together.dim() == 1 else together[:, label]
        return np.asarray(column.numpy(), dtype=np.float64)

    @torch.no_grad()
    def logits(self, images: Tensor, classes: Tensor) -> Tensor:
        """Logits (B,), on the CPU, of the classes (B,) of images (B, 1, H, W)."""
        device = device_of(self.network)
        pairs = zip(images.split(self.batch_size), classes.split(self.batch_size), strict=True)
        found = [
            explained_logits(self.network, part.to(device), labels.to(device)).cpu()
            for part, labels in pairs
        ]
        return torch.cat(found)
