"""Callbacks of our own: repeatable steps, weight averaging, speed."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cxrlab.data.batches import Batch, BatchLoader
from cxrlab.training.optimizers import highest_rate

_log = logging.getLogger("cxrlab")
_FORGETTING = 3


class SeededSteps(pl.Callback):
    """Make dropout and stochastic depth functions of (seed, epoch, batch) alone.

    Order and augmentation are so by their own making. So nothing that draws random numbers
    between steps, a figure or a resumed run, changes the training.
    """

    def __init__(self, loader: BatchLoader) -> None:
        """Tell this loader which batches are done."""
        self._loader = loader

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Seed what the step itself draws."""
        # Lightning counts one step too many where a run is resumed between two steps.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
        if batch["seed"] is not None:
            # Not torch.manual_seed: without a GPU it keeps a note for one at every call, for ever.
            torch.default_generator.manual_seed(batch["seed"])
            if pl_module.device.type == "cuda":
                torch.cuda.manual_seed(batch["seed"])

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the batch: a checkpoint from here on holds its effect."""
        self._loader.done = batch_idx + 1


class PlateauSteps(pl.Callback):
    """Cut the rate before the epoch's checkpoint is written.

    Lightning would do it after: a run that goes on from that checkpoint would miss the cut.
    """

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the scheduler what it watches."""
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                config.scheduler.step(trainer.callback_metrics[config.monitor or ""])


class MovingAverage(WeightAveraging):
    """Exponential moving average of the weights, validated and saved in place of the last ones.

    Until its decay is reached, step t weighs 3 / (t + 3) (polynomial decay, Shamir and Zhang
    2013): an average over the later half of the steps so far, which forgets the random first ones.
    """

    def __init__(self, decay: float) -> None:
        """Set the decay of long runs, in (0, 1)."""
        self._decay = decay
        # On the model's device: Lightning's default, the host, would copy every weight each step.
        super().__init__(device=None, multi_avg_fn=self._average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keep the count of averages on the host, where torch reads it twice a step."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            count = self._average_model.n_averaged
            self._average_model.n_averaged = torch.zeros_like(count, device="cpu")

    def _average(self, averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        # The same as `count`, which lies on the device: to read it there would wait for the GPU.
        steps = self._latest_update_step
        if averaged[0].is_floating_point():
            weight = max(1 - self._decay, _FORGETTING / (steps + _FORGETTING))
            torch._foreach_lerp_(averaged, current, weight)
        else:
            torch._foreach_copy_(averaged, current)


class Speed(pl.Callback):
    """Training images a second and the learning rate, once an epoch."""

    def __init__(self, *, say: bool) -> None:
        """Begin with an empty clock.

        Args:
            say: also print a line an epoch, for logs without a progress bar.
        """
        self._say = say
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
        self._images += len(batch["target"]) * trainer.world_size
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize()  # the steps so far are launched, not done
        self._seconds = time.perf_counter() - self._started

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch's speed and the highest learning rate, before its checkpoint is written."""
        if self._seconds > 0:
            pl_module.log("train/images_per_second", self._images / self._seconds)
        pl_module.log("lr", highest_rate(trainer.optimizers))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how it went."""
        if self._say:
            shown = {k: float(v) for k, v in trainer.callback_metrics.items()}
            _log.info(
                "epoch %d of %d: train/loss %.4f, val/auroc %.4f, %.1f images/s",
                trainer.current_epoch + 1,
                trainer.max_epochs,
                shown["train/loss"],
                shown["val/auroc"],
                self._images / max(self._seconds, 1e-9),
            )
