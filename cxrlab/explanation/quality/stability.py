"""Whether a map holds for the image's neighbours, and foretells what the logit does: by Captum."""

from __future__ import annotations

import numpy as np
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity_max
from numpy.typing import NDArray
from torch import Tensor

from cxrlab.explanation.attribution import AttributionMethod
from cxrlab.explanation.methods.baselines import mean_grey
from cxrlab.explanation.methods.method import seeded
from cxrlab.explanation.quality.model import Model

_SQUARES = (1 / 16, 1 / 4)  # sides of the hidden squares, shares of the image's


def sensitivity_max(
    method: AttributionMethod, model: Model, image: Tensor, label: int, *, radius: float, count: int
) -> float:
    """Greatest change of a map over `count` images nearby, relative to its norm.

    Yeh et al., NeurIPS 2019. 0: none; 1: as large as the map itself.

    Args:
        method: how to attribute.
        model: what is explained.
        image: float32 (1, 1, H, W) in [0, 1].
        label: the class or finding whose logit is explained.
        radius: greatest change of a pixel.
        count: of changed images, the same in every call.
    """
    noise = (2 * seeded((count, *image.shape[1:]), 0, normal=False) - 1).to(image)

    def nearby(images: Tensor, _: float) -> Tensor:
        return images + radius * noise[: len(images)]

    # A tuple, as Captum gives it: it would pair every map with every other one of a plain tensor.
    def explain(images: Tensor | tuple[Tensor, ...]) -> tuple[Tensor]:
        given = images[0] if isinstance(images, tuple) else images
        found = method(model.network, given, torch.full((len(given),), label))
        return (torch.from_numpy(found.maps)[:, None],)

    found = captum_sensitivity_max(
        explain, image, nearby, perturb_radius=radius, n_perturb_samples=count
    )
    return float(found[0])


def infidelity(
    model: Model, image: Tensor, label: int, attribution: NDArray[np.float32], *, count: int
) -> float:
    """How far a map is from foretelling what hiding a square does to the logit.

    Yeh et al., NeurIPS 2019: the mean over random squares of the squared difference between the
    attribution inside and the fall of the logit; the map is scaled first as suits it best, for
    not every method speaks in logits. Divided by the mean squared fall: 0 foretells all, 1 is
    what a map of zeros has. Hidden means the image's own mean grey.

    Args:
        model: what is explained.
        image: float32 (1, 1, H, W) in [0, 1].
        label: the class or finding whose logit is explained.
        attribution: signed map (H, W), finite.
        count: of squares, the same in every call.

    Returns:
        In [0, 1]; NaN where no square changes the logit.
    """
    squares = _squares(count, image)
    hidden = torch.where(squares, mean_grey(image), image)
    labels = torch.full((count + 1,), label)
    logits = model.logits(torch.cat([image, hidden]), labels).double()
    fall = (logits[0] - logits[1:]).square().mean()
    if fall == 0:
        return float("nan")
    found = captum_infidelity(
        lambda images: model.logits(images, labels[: len(images)]),
        lambda images: (squares.to(images), hidden),
        image,
        torch.from_numpy(attribution)[None, None].to(image),
        n_perturb_samples=count,
        normalize=True,
    )
    return float(found[0].double() / fall)


def _squares(count: int, image: Tensor) -> Tensor:
    """Random squares, bool (count, 1, H, W), True inside, on the image's device."""
    height, width = image.shape[2:]
    least, most = _SQUARES
    drawn = seeded((count, 3), 1, normal=False).tolist()
    squares = torch.zeros((count, 1, height, width), dtype=torch.bool, device=image.device)
    for square, (size, down, right) in zip(squares, drawn, strict=True):
        side = max(1, round((least + size * (most - least)) * width))
        top, left = round(down * (height - side)), round(right * (width - side))
        square[:, top : top + side, left : left + side] = True
    return squares
