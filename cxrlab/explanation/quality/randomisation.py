"""Whether a map changes when the network forgets what it learned."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from timm.models import group_parameters
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from cxrlab.explanation.attribution import AttributionMethod
from cxrlab.explanation.quality.evidence import SMOOTHING, smooth

_NAMED = 3  # parts of a stage that its name lists


@dataclass(frozen=True)
class Similarity:
    """How alike maps are to those of the trained network.

    Attributes:
        layers: the layers whose weights were shuffled last; those above them were before.
        ssim: float64 (B,), structural similarity, 1: the same; NaN for maps without an answer.
        rank: float64 (B,), Spearman's correlation of the pixels, without its sign.
    """

    layers: str
    ssim: NDArray[np.float64]
    rank: NDArray[np.float64]


def cascade(
    method: AttributionMethod,
    network: nn.Module,
    images: Tensor,
    classes: Tensor,
    maps: NDArray[np.float32],
    *,
    seed: int = 0,
) -> list[Similarity]:
    """Cascading randomisation of the weights (Adebayo et al., NeurIPS 2018).

    From the logits downwards, stage by stage, the entries of each tensor are shuffled, and the
    maps of the network that is left compared with those of the trained one. Shuffling keeps the
    scale of the weights, which new random ones would not in a network whose batch norms are
    folded away. A method whose maps stay the same doesn't show what was learned.

    Args:
        method: how to attribute.
        network: trained, frozen; not changed.
        images: float32 (B, 1, H, W) in [0, 1].
        classes: int64 (B,), the classes or findings whose logits are explained.
        maps: float32 (B, H, W), those of the trained network.
        seed: of the shuffling.

    Returns:
        One entry a stage; in the last every weight is shuffled.
    """
    shuffled = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    tensors = dict(shuffled.named_parameters())
    found = []
    for layers, names in stages(shuffled):
        with torch.no_grad():
            for name in names:
                tensors[name].copy_(_shuffled(tensors[name], generator))
        now = method(shuffled, images, classes).maps
        pairs = [similarity(*pair) for pair in zip(maps, now, strict=True)]
        ssim, rank = np.array(pairs, dtype=np.float64).T
        found.append(Similarity(layers, ssim, rank))
    return found


def deepest(stages: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Of each case the similarity at the last stage that still has a map.

    A network of ReLU6 with shuffled weights may answer all images alike, and then has none.

    Args:
        stages: float64 (B,) each, from the head down; NaN for maps without an answer.

    Returns:
        (B,), NaN where no stage has one.
    """
    found = np.full_like(stages[0], np.nan)
    for values in stages:
        found = np.where(np.isnan(values), found, values)
    return found


def similarity(
    one: NDArray[np.float32], other: NDArray[np.float32], sigma: float = SMOOTHING
) -> tuple[float, float]:
    """SSIM and Spearman's correlation of two maps (H, W), whichever way round.

    Of signed maps, smoothed by `sigma` pixels and scaled to a greatest magnitude of 1. A map
    turned round counts as the same, for the sign of a logit of a network without training is a
    matter of chance. Magnitudes alone would tell of the image: those of Integrated Gradients from
    black follow its brightness whatever the weights are (measured on phantoms, every weight
    shuffled: correlation 0.58 of the magnitudes, 0.03 of the signed maps).

    Returns:
        Both at most 1, the correlation in [0, 1]; NaN where a map is not finite or the same
        everywhere.
    """
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan"), float("nan")
    first, second = (smooth(each, sigma) for each in (one, other))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan"), float("nan")
    scaled = [torch.from_numpy(each / np.abs(each).max())[None, None] for each in (first, second)]
    ssim = max(_ssim(scaled[0], scaled[1]), _ssim(scaled[0], -scaled[1]))
    return ssim, abs(float(spearmanr(first, second, axis=None).statistic))


def _ssim(one: Tensor, other: Tensor) -> float:
    found = structural_similarity_index_measure(one, other, data_range=2.0)
    assert isinstance(found, Tensor)
    return float(found)


def stages(network: nn.Module) -> list[tuple[str, list[str]]]:
    """Names of a network's parameters, stage by stage from the logits to the image.

    The stages are timm's where part of the network is timm's; else each layer is one.

    Returns:
        Name of the stage, and the names of its parameters; all parameters are in one.
    """
    known = [
        (name, part) for name, part in network.named_modules() if hasattr(part, "group_matcher")
    ]
    every = [name for name, _ in network.named_parameters()]
    if not known:
        layers = dict.fromkeys(name.rpartition(".")[0] for name in every)
        return [
            (layer, [name for name in every if name.rpartition(".")[0] == layer])
            for layer in reversed(layers)
        ]
    prefix, part = known[0]
    prefix = f"{prefix}." if prefix else ""
    groups = group_parameters(part, part.group_matcher(coarse=True))
    inside = [[prefix + name for name in names] for _, names in sorted(groups.items())]
    head = [name for name in every if not name.startswith(prefix)]
    named = [(_common(names, prefix), names) for names in reversed(inside)]
    return [("head", head), *named] if head else named


def _common(names: list[str], prefix: str) -> str:
    """What a stage is called: what the names of its parameters share, and where they part."""
    paths = [name.removeprefix(prefix).split(".")[:-1] for name in names]
    shared: list[str] = []
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1:
            parts = [part for part in dict.fromkeys(level) if not part.isdigit()]
            shared += ["+".join(parts)] if 0 < len(parts) <= _NAMED else []
            break
        shared.append(level[0])
    return ".".join(shared)


def _shuffled(tensor: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
    return tensor.flatten()[order].reshape(tensor.shape)
