"""Callbacks of our own: repeatable steps, weight averaging, speed."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from cxrlab.data.batches import Batch
from cxrlab.training.optimizers import highest_rate


class SeededSteps(pl.Callback):
    """Make dropout and stochastic depth functions of (seed, epoch, batch) alone.

    Order and augmentation are so by their own making. So nothing that draws random numbers
    between steps, a figure or a resumed run, changes the training.
    """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Seed what the step itself draws."""
        if batch["seed"] is not None:
            torch.manual_seed(batch["seed"])


class MovingAverage(WeightAveraging):
    """Exponential moving average of the weights, validated and saved in place of the last ones.

    The decay rises as (1 + t) / (10 + t) up to the one asked for, as in TensorFlow's
    ExponentialMovingAverage, so that the random first weights are forgotten within some steps.
    """

    def __init__(self, decay: float) -> None:
        """Set the decay of long runs, in (0, 1)."""

        def average(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
            steps = float(count)
            weight = 1 - min(decay, (1 + steps) / (10 + steps))
            return old + (new - old) * weight if old.is_floating_point() else new

        super().__init__(avg_fn=average)


class Speed(pl.Callback):
    """Training images a second and the learning rate, once an epoch."""

    def __init__(self) -> None:
        """Begin with an empty clock."""
        self._seconds = 0.0
        self._images = 0
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._images, self._started = 0, time.perf_counter()
        self._seconds = 0.0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count images; validation is not on this clock."""
        self._images += len(batch["target"])
        self._seconds = time.perf_counter() - self._started

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch's speed and the highest learning rate."""
        if self._seconds > 0:
            pl_module.log("train/images_per_second", self._images / self._seconds)
        pl_module.log("lr", highest_rate(trainer.optimizers))
