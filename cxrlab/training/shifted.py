"""How a network does on validation images that look as if they came from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from cxrlab.augmentation.shifts import ShiftedPass, name_in_turn, shift_in_turn
from cxrlab.config.schema import EvaluationConfig
from cxrlab.data.batches import Batch, BatchLoader
from cxrlab.model.classifier import Classifier, probabilities
from cxrlab.model.metrics import epoch_metrics
from cxrlab.training.exchange import gathered
from cxrlab.training.inference import predict_logits


class ShiftedValidation(pl.Callback):
    """Validate each image a second time, through one of the shifts, and log `val_shifted/...`.

    Images take turns among the shifts by their place in the split, so every epoch sees the same
    pictures. AUROC over all of them together falls when scores move with the appearance, which
    AUROC within one appearance would not show.
    """

    def __init__(self, shifts: Sequence[str]) -> None:
        """Take turns among these names of `SHIFTS`."""
        self._shifts = tuple(shifts)
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
        index = batch["index"].cpu()
        images = shift_in_turn(batch["image"], index, self._shifts)
        with trainer.precision_plugin.forward_context():
            logits = pl_module(images).float()
        self._found.append((logits, batch["target"], index.to(logits.device)))

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


def predict_shifted(
    classifier: Classifier, val: BatchLoader, device: torch.device, config: EvaluationConfig
) -> list[ShiftedPass]:
    """Logits of the changed validation images, `evaluation.shifts_per_image` passes over them.

    Args:
        classifier: see `predict_logits`.
        val: the validation images in order.
        device: where to compute.
        config: which changes, and how many an image.
    """
    names = config.shifts
    passes = config.shifts_per_image or len(names)
    found = []
    for number in range(passes):
        turn = number * len(names) // passes
        change = partial(shift_in_turn, names=names, turn=turn)
        what = f"predicting val, changed, {number + 1} of {passes}"
        logits = predict_logits(classifier, val, device, what, change)
        found.append(
            ShiftedPass([name_in_turn(names, row, turn) for row in range(len(logits))], logits)
        )
    return found
