"""Where the inputs of a batch come from: mapped images, images on the GPU, or features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CHUNK = 1024  # images a copy to the device
_MOST_OF_FREE_MEMORY = 0.5  # the rest is for activations


class Bank(Protocol):
    """Inputs of every image of a manifest, by its row.

    Attributes:
        key: what a batch calls them.
        device: where batches are made, and where their indices have to be.
        prefetch: whether gathering is slow enough to be done ahead, in a thread.
    """

    key: Literal["image", "features"]
    device: torch.device
    prefetch: bool

    def gather(self, index: Tensor, epoch: int) -> Tensor:
        """Inputs of a batch.

        Args:
            index: (B,) int64 rows of the manifest, on the bank's device.
            epoch: which pass over the data it is.
        """
        ...


class MappedImages:
    """Images gathered from a memory map on the host; uint8 (B, 1, H, W)."""

    key: Literal["image", "features"] = "image"
    device = torch.device("cpu")

    def __init__(self, pixels: NDArray[np.uint8], rows: NDArray[np.int64], *, pin: bool) -> None:
        """Set up the bank.

        Args:
            pixels: (M, H, W) uint8, possibly memory-mapped.
            rows: (N,) row in `pixels` of each image.
            pin: gather ahead into page-locked memory, from which a GPU copies without waiting.
        """
        self._pixels, self._rows = pixels, rows
        self._pin = self.prefetch = pin

    def gather(self, index: Tensor, epoch: int) -> Tensor:
        """One copy, out of the map."""
        images = torch.from_numpy(self._pixels[self._rows[index.numpy()]]).unsqueeze(1)
        return images.pin_memory() if self._pin else images


class ResidentImages:
    """Images that lie on the device as a whole; uint8 (B, 1, H, W) without a transfer a step."""

    key: Literal["image", "features"] = "image"
    prefetch = False

    def __init__(
        self, pixels: NDArray[np.uint8], rows: NDArray[np.int64], device: torch.device
    ) -> None:
        """Copy the images to the device.

        Args:
            pixels: (M, H, W) uint8, possibly memory-mapped.
            rows: (N,) row in `pixels` of each image.
            device: where they will lie.
        """
        shape = (len(rows), 1, *pixels.shape[1:])
        self._images = torch.empty(shape, dtype=torch.uint8, device=device)
        self.device = self._images.device
        for start in range(0, len(rows), _CHUNK):
            chunk = torch.from_numpy(pixels[rows[start : start + _CHUNK]])
            self._images[start : start + _CHUNK, 0].copy_(chunk)

    def gather(self, index: Tensor, epoch: int) -> Tensor:
        """One kernel, on the device."""
        return self._images.index_select(0, index)


class Features:
    """Pooled features of a frozen backbone, float32 (B, F); epochs take turns among the views."""

    key: Literal["image", "features"] = "features"
    prefetch = False

    def __init__(self, views: Sequence[NDArray[np.float32]], device: torch.device) -> None:
        """Copy the features to the device.

        Args:
            views: one or more of (N, F) float32.
            device: where they will lie.
        """
        self._views = [torch.from_numpy(np.ascontiguousarray(view)).to(device) for view in views]
        self.device = self._views[0].device

    def gather(self, index: Tensor, epoch: int) -> Tensor:
        """One kernel, on the device."""
        return self._views[epoch % len(self._views)].index_select(0, index)


def image_bank(
    pixels: NDArray[np.uint8], rows: NDArray[np.int64], device: torch.device
) -> MappedImages | ResidentImages:
    """The bank for a device: on a GPU the images themselves where they fit, else a prefetch."""
    if device.type != "cuda":
        return MappedImages(pixels, rows, pin=False)
    free, _ = torch.cuda.mem_get_info(device)
    needed = len(rows) * int(np.prod(pixels.shape[1:]))
    if needed <= _MOST_OF_FREE_MEMORY * free:
        return ResidentImages(pixels, rows, device)
    return MappedImages(pixels, rows, pin=True)
