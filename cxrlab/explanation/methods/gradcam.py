"""Class activation maps, weighted by gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cxrlab.explanation.methods.method import Method
from cxrlab.explanation.methods.mode import Question
from cxrlab.explanation.methods.spatial import spatial_layer, watched


@dataclass(frozen=True)
class GradCAM(Method):
    """Grad-CAM (Selvaraju et al., ICCV 2017) of the last layer with positions, without its ReLU.

    Evidence against a class, which the ReLU would cut off, is evidence for the other one of two.
    Maps are brought to the image's size by bilinear interpolation and hold logits a pixel: for a
    head that is linear in the pooled features they sum to the logit without its bias.

    Attributes:
        batch_size: images that go through the network at once.
    """

    batch_size: int = 16

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "gradcam"

    def maps(self, question: Question) -> Tensor:
        """Signed maps (B, H, W), in logits a pixel."""
        layer = spatial_layer(question.network, question.images[:1])
        found = []
        for images, classes in question.parts(self.batch_size):
            with watched(layer) as seen:
                logits = question.logits(images, classes)
            (gradient,) = torch.autograd.grad(logits.sum(), seen)
            found.append(_enlarged(self._weighted(seen[0].detach(), gradient), images))
        return torch.cat(found)

    def _weighted(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """One map (B, h, w) of the layer's maps and their gradients (B, C, h, w)."""
        return (gradient.mean((2, 3), keepdim=True) * activation).sum(1)


@dataclass(frozen=True)
class GradCAMPlusPlus(GradCAM):
    """Grad-CAM++ (Chattopadhay et al., WACV 2018): positions weighted before the mean.

    Its maps know no evidence against a class, and their units are its own.
    """

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "gradcam++"

    def _weighted(self, activation: Tensor, gradient: Tensor) -> Tensor:
        # Equation 19; the exponential of the logit, which the paper differentiates, cancels.
        square = gradient.square()
        around = (activation * gradient**3).sum((2, 3), keepdim=True)
        bottom = 2 * square + around
        alpha = square / torch.where(bottom == 0, 1, bottom)
        weights = (alpha * gradient.relu()).sum((2, 3), keepdim=True)
        return (weights * activation).sum(1).relu()


def _enlarged(small: Tensor, images: Tensor) -> Tensor:
    """Maps (B, h, w) at the size of the images, with their sum kept."""
    large = functional.interpolate(small[:, None], images.shape[2:], mode="bilinear")[:, 0]
    return large * (small[0].numel() / large[0].numel())
