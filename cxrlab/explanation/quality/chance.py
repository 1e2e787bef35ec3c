"""What maps without any knowledge score: the floor of every measure."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from cxrlab.explanation.methods.baselines import blurred
from cxrlab.explanation.methods.method import Method, seeded
from cxrlab.explanation.methods.mode import Question

NAME = "chance"


@dataclass(frozen=True)
class Chance(Method):
    """Blurred noise, of which the network knows nothing.

    Attributes:
        batch_size: images that go through the network at once.
    """

    batch_size: int = 16

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return NAME

    def maps(self, question: Question) -> Tensor:
        """Maps (B, H, W) without a meaning, the same in every call."""
        shape = question.images.shape
        noise = seeded((shape[0], 1, *shape[2:]), 0, normal=True)
        return blurred(noise)[:, 0]
