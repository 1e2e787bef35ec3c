"""What augmentation makes of some training images, to look at before trusting it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor


def draw_augmented(
    images: NDArray[np.uint8],
    labels: Sequence[str],
    augment: Callable[[Tensor, int], Tensor],
    *,
    draws: int = 6,
) -> Figure:
    """A row an image: itself, then several draws of its augmentation.

    Args:
        images: (N, H, W) uint8.
        labels: N captions.
        augment: takes (B, 1, H, W) float32 in [0, 1] and a seed.
        draws: augmented versions of each image.
    """
    original = torch.from_numpy(images.astype(np.float32) / 255).unsqueeze(1)
    columns = [original, *(augment(original, seed) for seed in range(draws))]
    figure = Figure(figsize=(1.6 * len(columns), 1.75 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), len(columns), squeeze=False)
    for row, line in enumerate(axes):
        for column, axis in enumerate(line):
            axis.imshow(columns[column][row, 0], cmap="gray", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            if row == 0:
                axis.set_title("original" if column == 0 else f"draw {column}", fontsize=9)
        line[0].set_ylabel(labels[row], fontsize=9)
    return figure
