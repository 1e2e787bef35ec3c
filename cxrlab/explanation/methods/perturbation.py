"""Methods that only ask what the logit does when parts of the image are hidden."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import Tensor
from torch.nn import functional

from cxrlab.explanation.methods.baselines import mean_grey
from cxrlab.explanation.methods.method import Method, each, seeded
from cxrlab.explanation.methods.mode import Question


@dataclass(frozen=True)
class Occlusion(Method):
    """Fall of the logit where a square is hidden (Zeiler and Fergus, ECCV 2014), by Captum.

    A pixel has the mean over the squares that cover it, in logits. Hidden means the image's own
    mean grey.

    Attributes:
        window: side of the square, as a share of the image's.
        stride: distance of neighbouring squares, as a share of the image's side.
        batch_size: images that go through the network at once.
    """

    window: float = 0.125
    stride: float = 0.0625
    batch_size: int = 16

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "occlusion"

    @torch.no_grad()
    def maps(self, question: Question) -> Tensor:
        """Signed maps (B, H, W), in logits."""
        side = question.images.shape[-1]
        window, stride = (max(1, round(part * side)) for part in (self.window, self.stride))
        explainer = CaptumOcclusion(question.logits)
        found = [
            explainer.attribute(
                image,
                sliding_window_shapes=(1, window, window),
                strides=(1, min(stride, window), min(stride, window)),
                baselines=mean_grey(image),
                additional_forward_args=label,
                perturbations_per_eval=self.batch_size,
            )[:, 0]
            for image, label in each(question)
        ]
        return torch.cat(found)


@dataclass(frozen=True)
class Rise(Method):
    """Randomised input sampling (Petsiuk, Das and Saenko, BMVC 2018), centred.

    The image is seen through random coarse masks. The paper's weighted mean of masks holds the
    mean logit at every pixel besides, whose noise takes many masks to go; here a pixel has the
    slope of the logit over its visibility, covariance over variance, in logits. Hidden means the
    image's own mean grey. The masks are the same for every image and run.

    Attributes:
        masks: how many.
        grid: cells of a mask along a side.
        visible: probability that a cell is seen.
        batch_size: images that go through the network at once.
        seed: of the masks.
    """

    masks: int = 512
    grid: int = 7
    visible: float = 0.5
    batch_size: int = 16
    seed: int = field(default=0, kw_only=True)

    @property
    def name(self) -> str:
        """Name in tables and figures."""
        return "rise"

    @torch.no_grad()
    def maps(self, question: Question) -> Tensor:
        """Signed maps (B, H, W), in logits."""
        masks = self._masks(question.images.shape[-1]).to(question.images)
        return torch.stack([self._slope(question, *one, masks) for one in each(question)])

    def _slope(self, question: Question, image: Tensor, label: Tensor, masks: Tensor) -> Tensor:
        hidden = mean_grey(image)
        logits = torch.cat(
            [
                question.logits(hidden + part[:, None] * (image - hidden), label.expand(len(part)))
                for part in masks.split(self.batch_size)
            ]
        )
        centred = logits - logits.mean()
        together = torch.einsum("n,nhw->hw", centred, masks) / self.masks
        return together / masks.var(dim=0, correction=0).clamp(min=1e-6)

    def _masks(self, side: int) -> Tensor:
        """Smooth masks (N, side, side) in [0, 1], each a random grid, enlarged and shifted."""
        cell = -(-side // self.grid)
        cells = seeded((self.masks, self.grid + 1, self.grid + 1), self.seed, normal=False)
        shifts = (seeded((self.masks, 2), self.seed + 1, normal=False) * cell).long().tolist()
        large = (self.grid + 1) * cell
        drawn = functional.interpolate(
            (cells < self.visible).float()[:, None], (large, large), mode="bilinear"
        )[:, 0]
        shifted = [
            mask[down : down + side, right : right + side]
            for mask, (down, right) in zip(drawn, shifts, strict=True)
        ]
        return torch.stack(shifted)
