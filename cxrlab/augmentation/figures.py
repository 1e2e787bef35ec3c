"""What augmentation makes of some training images, to look at before trusting it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_SIDE = 176  # pixels of an image on the sheet
_GAP, _CAPTION = 6, 18


def draw_augmented(
    images: NDArray[np.uint8],
    labels: Sequence[str],
    augment: Callable[[Tensor, int], Tensor],
    *,
    draws: int = 6,
) -> Image.Image:
    """A row an image: itself, then several draws of its augmentation.

    Drawn without matplotlib, which is slow with many small axes.

    Args:
        images: (N, H, W) uint8.
        labels: N captions.
        augment: takes (B, 1, H, W) float32 in [0, 1] and a seed.
        draws: augmented versions of each image.
    """
    original = torch.from_numpy(images.astype(np.float32) / 255).unsqueeze(1)
    columns = [original, *(augment(original, seed) for seed in range(draws))]
    width, height = _SIDE + _GAP, _SIDE + _GAP + _CAPTION
    sheet = Image.new("L", (width * len(columns), height * len(images)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, versions in enumerate(columns):
        for row, pixels in enumerate((versions[:, 0] * 255).round().byte().numpy()):
            left, top = column * width, row * height
            caption = f"draw {column}" if column else labels[row]
            draw.text((left, top + 2), caption, fill="black", font=font)
            sheet.paste(Image.fromarray(pixels).resize((_SIDE, _SIDE)), (left, top + _CAPTION))
    return sheet
