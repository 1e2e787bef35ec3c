"""Integrated Gradients averaged over noisy copies of the image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cxrlab.explanation.methods.integrated_gradients import IntegratedGradients
from cxrlab.explanation.methods.method import Method, seeded
from cxrlab.explanation.methods.mode import Question


@dataclass(frozen=True)
class SmoothGradIG(Method):
    """SmoothGrad (Smilkov et al., 2017) over Integrated Gradients from black.

    The mean of the maps of noisy copies sums to the mean of their outputs, not to that of the
    image, so that completeness does not apply. The noise is the same for every image and run.

    Attributes:
        samples: noisy copies of an image.
        noise: standard deviation of the Gaussian noise, as a share of the image's range.
        steps: intervals of each integral, all even.
        batch_size: points that go through the network at once.
        seed: of the noise.
    """

    samples: int = 8
    noise: float = 0.1
    steps: int = 16
    batch_size: int = 16
    seed: int = field(default=0, kw_only=True)

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "smoothgrad_ig"

    def maps(self, question: Question) -> Tensor:
        """Signed maps (B, H, W), in logits a pixel."""
        images = question.images
        drawn = seeded((self.samples, *images.shape[1:]), self.seed, normal=True).to(images)
        spread = self.noise * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
        method = IntegratedGradients(self.steps, self.steps, batch_size=self.batch_size)
        total = np.zeros((len(images), *images.shape[2:]), dtype=np.float64)
        for noise in drawn:
            noisy = images + spread[:, None, None, None] * noise
            explained = method.explain(Question(question.network, noisy, question.classes))
            total += np.stack([image.map for image in explained])
        return torch.from_numpy(total / self.samples)
