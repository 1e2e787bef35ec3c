"""Input times gradient: the first-order answer, in one backward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from torch import Tensor

from cxrlab.explanation.methods.method import Method
from cxrlab.explanation.methods.mode import Question


@dataclass(frozen=True)
class InputXGradient(Method):
    """The gradient of the logit times the pixel (Shrikumar et al., 2016), by Captum.

    Attributes:
        batch_size: images that go through the network at once.
    """

    batch_size: int = 16

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "input_x_gradient"

    def maps(self, question: Question) -> Tensor:
        """Signed maps (B, H, W), in logits a pixel."""
        explainer = CaptumInputXGradient(question.logits)
        found = [
            explainer.attribute(images.clone().requires_grad_(), additional_forward_args=classes)
            for images, classes in question.parts(self.batch_size)
        ]
        return torch.cat(found)[:, 0].detach()
