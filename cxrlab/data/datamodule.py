"""Batches for Lightning: gathered as uint8, changed on the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cxrlab.data.banks import Bank
from cxrlab.data.batches import Batch, BatchLoader, Share
from cxrlab.data.prepare import PreparedData


class ImageDataModule(pl.LightningDataModule):
    """The three splits of a dataset whose images are decoded.

    Attributes:
        data: the images and their manifest.
        train_loader: shuffled batches, one object for all epochs.
        training_size: side in pixels that training images are brought to; None: as stored.
    """

    def __init__(
        self,
        data: PreparedData,
        *,
        train_bank: Bank,
        eval_bank: Bank,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        augment: Callable[[Tensor, int], Tensor],
        share: Share = Share(),  # noqa: B008  immutable
    ) -> None:
        """Set up the splits.

        Args:
            data: the decoded images and their manifest.
            train_bank: what the model is trained on: the manifest's images, or their features.
            eval_bank: the same for validation and test.
            batch_size: images a training step, over all processes.
            eval_batch_size: images a forward pass in validation and test, over all processes.
            seed: of the training order and augmentation.
            augment: takes (B, 1, H, W) float32 in [0, 1] and a seed.
            share: what of each batch this process trains on and validates.
        """
        super().__init__()
        self.data = data
        self.training_size: int | None = None
        self._augment, self._share = augment, share
        self._eval_bank, self._eval_batch_size = eval_bank, eval_batch_size
        self.train_loader = self._loader("train", train_bank, batch_size, seed, share)

    def images(
        self, split: str, chosen: NDArray[np.int64] | slice = slice(None)
    ) -> NDArray[np.uint8]:
        """Images (N, H, W) uint8 of one split, or some of it, copied out of the memory map."""
        return np.asarray(self.data.pixels[self.data.rows[self._in(split)[chosen]]])

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches, a new order every epoch."""
        return self.train_loader

    def val_dataloader(self) -> BatchLoader:
        """This process's share of the validation images, in the manifest's order."""
        return self._loader("val", self._eval_bank, self._eval_batch_size, share=self._share)

    def whole(self, split: str) -> BatchLoader:
        """All images of a split in the manifest's order, for one process to evaluate."""
        return self._loader(split, self._eval_bank, self._eval_batch_size)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make images float32 in [0, 1] and, where the batch has a seed, resize and change them."""
        if "image" not in batch:
            return batch
        images = to_unit(batch["image"])
        if batch["seed"] is not None:
            images = self._augment(resized(images, self.training_size), batch["seed"])
        return {**batch, "image": images}

    def _loader(
        self,
        split: str,
        bank: Bank,
        batch_size: int,
        seed: int | None = None,
        share: Share = Share(),  # noqa: B008  immutable
    ) -> BatchLoader:
        inside = self._in(split)
        manifest = self.data.manifest
        targets = manifest.task.targets(manifest.table)[inside]
        return BatchLoader(bank, inside, targets, batch_size, seed=seed, share=share)

    def _in(self, split: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.data.manifest.table["split"].to_numpy() == split)


def to_unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.float().div_(255)


def resized(images: Tensor, size: int | None) -> Tensor:
    """Bring images (B, 1, H, W) float32 in [0, 1] to another side, smoothed against aliasing."""
    if size is None or size == images.shape[-1]:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
