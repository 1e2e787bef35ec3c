"""Small images first: most is learned of them, at a fraction of the cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from cxrlab.data.batches import Batch
from cxrlab.data.datamodule import ImageDataModule
from cxrlab.training.optimizers import total_steps


class ProgressiveSize(pl.Callback):
    """Let training images grow with the share of steps that is done."""

    def __init__(self, sizes: Sequence[tuple[float, int]], data: ImageDataModule) -> None:
        """Set the plan.

        Args:
            sizes: rising shares of all steps, each with the side in pixels up to it; from the
                last one on images are as they are stored.
            data: whose training images to resize.
        """
        self._sizes, self._data = sizes, data

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the size of the first step."""
        self._choose(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Choose the size of the next step: its batch is resized before any hook of it."""
        self._choose(trainer)

    def _choose(self, trainer: pl.Trainer) -> None:
        done = trainer.global_step / total_steps(trainer)
        self._data.training_size = next((side for until, side in self._sizes if done < until), None)
