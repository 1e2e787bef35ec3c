"""How a network does on validation images that look as if they came from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from cxrlab.augmentation.shifts import SHIFTS
from cxrlab.data.batches import Batch
from cxrlab.model.classifier import Classifier, probabilities
from cxrlab.model.metrics import epoch_metrics
from cxrlab.training.exchange import gathered


class ShiftedValidation(pl.Callback):
    """Validate each image a second time, through one of the shifts, and log `val_shifted/...`.

    Images take turns among the shifts by their place in the split, so every epoch sees the same
    pictures. AUROC over all of them together falls when scores move with the appearance, which
    AUROC within one appearance would not show.
    """

    def __init__(self, shifts: Sequence[str]) -> None:
        """Take turns among these names of `SHIFTS`."""
        self._changes: list[Callable[[Tensor], Tensor]] = [SHIFTS[name] for name in shifts]
        self._found: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict the batch again, changed."""
        images = batch["image"].clone()
        index = batch["index"].to(images.device)
        for turn, change in enumerate(self._changes):
            rows = torch.nonzero(index.clamp(min=0) % len(self._changes) == turn)[:, 0]
            if len(rows):
                images[rows] = change(batch["image"][rows])
        with trainer.precision_plugin.forward_context():
            logits = pl_module(images).float()
        self._found.append((logits, batch["target"], index))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log loss and metrics, the same on every process."""
        logits, targets, index = (
            gathered(torch.cat(parts)) for parts in zip(*self._found, strict=True)
        )
        self._found.clear()
        known = index >= 0
        logits, targets = logits[known], targets[known]
        classifier = cast("Classifier", pl_module)
        metrics = epoch_metrics(classifier.task).to(logits.device)
        values = metrics(probabilities(logits, classifier.task), targets)
        shifted = {name.replace("val/", "val_shifted/", 1): v for name, v in values.items()}
        pl_module.log_dict(shifted | {"val_shifted/loss": classifier.loss(logits, targets)})
