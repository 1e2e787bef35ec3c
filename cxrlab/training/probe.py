"""Models that are trained for a few steps, to learn what a batch size or a learning rate does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from cxrlab.data.batches import Batch, BatchLoader
from cxrlab.data.datamodule import ImageDataModule
from cxrlab.errors import UserError
from cxrlab.model.classifier import Classifier
from cxrlab.training.optimizers import build_optimizer

# By these words Lightning's tuner knows that a batch was too large.
_TOO_LARGE = "DefaultCPUAllocator: can't allocate memory"
# A step's peak over what its forward pass keeps for the gradients. Measured on a CPU at 224 x 224
# in float32: ConvNeXt-T 1.19, ResNet-50 1.13, MobileNetV2 1.12, DenseNet-121 1.04; the rest is a
# margin, for bfloat16 too, which was not measured.
_STEP_OVER_KEPT = 1.5


class Probe(pl.LightningModule):
    """A classifier and its optimizer without a schedule; nothing is logged or validated."""

    def __init__(self, classifier: Classifier, batches: ImageDataModule) -> None:
        """Train a classifier, in place, on the training batches of a data module."""
        super().__init__()
        self.classifier = classifier
        self._batches = batches

    def train_dataloader(self) -> BatchLoader:
        """The batches; not handed over beside the model, which the tuner of sizes refuses."""
        return self._batches.train_loader

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """What the data module does to a batch on the device."""
        return self._batches.on_after_batch_transfer(batch, dataloader_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        loss: Tensor = self.classifier.loss(self.classifier.logits(batch), batch["target"])
        return loss

    def configure_optimizers(self) -> Optimizer:
        """The configured optimizer."""
        return build_optimizer(
            self.classifier.backbone,
            self.classifier.head,
            self.classifier.hparams["optimizer"],
            fused=self.trainer.precision != "16-mixed",
        )


class RateProbe(Probe):
    """Keeps the loss of every step, and the proportion of the groups' rates.

    Lightning's range test gives all groups one rate: the head's. Here the backbone's follows it at
    its factor, as in training.

    Attributes:
        rates: of the head, at each step.
        losses: of each step, the mean of its batches.
    """

    def __init__(
        self, classifier: Classifier, batches: ImageDataModule, advance: Callable[[int], None]
    ) -> None:
        """As of `Probe`; `advance` is told of each step."""
        super().__init__(classifier, batches)
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._pending: list[Tensor] = []
        self._factors: list[float] = []
        self._advance = advance

    def configure_optimizers(self) -> Optimizer:
        """The configured optimizer, whose rates' proportions are noted."""
        built = super().configure_optimizers()
        highest = self.classifier.hparams["optimizer"]["lr"]
        self._factors = [group["lr"] / highest for group in built.param_groups]
        return built

    def on_train_start(self) -> None:
        """Silence the bar of Lightning's own, which it draws in logs too."""
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if hasattr(callback, "progress_bar_refresh_rate"):
                callback.progress_bar_refresh_rate = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch, kept."""
        loss = super().training_step(batch, batch_idx)
        self._pending.append(loss.detach())
        return loss

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step with each group at its share of the rate that is tested."""
        rates = [group["lr"] for group in optimizer.param_groups]
        for group, factor in zip(optimizer.param_groups, self._factors, strict=True):
            group["lr"] *= factor
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.rates.append(rates[0])
        self.losses.append(float(torch.stack(self._pending).mean()))
        self._pending.clear()
        self._advance(1)


@dataclass
class Trial:
    """A batch size that was tried.

    Attributes:
        size: images.
        speed: images a second after the first step; None where it was not or can't be run.
        refused: why it is too large; empty where it is not.
    """

    size: int
    speed: float | None = None
    refused: str = ""


class SizeProbe(Probe):
    """Has the attribute `batch_size` that Lightning's tuner changes, and an end to its growth.

    On a GPU its memory is the end. A processor's memory is not: before torch is refused any, the
    machine swaps, or the system ends the process. So a size is refused there whose step would by
    estimate need more than is free.

    Attributes:
        trials: what was tried, in that order.
    """

    def __init__(
        self,
        classifier: Classifier,
        batches: ImageDataModule,
        *,
        images: int,
        limits: dict[str, int],
        free: int | None,
    ) -> None:
        """As of `Probe`.

        Args:
            classifier: trained in place.
            batches: whose training batches change their size.
            images: how many there are to train on.
            limits: the largest sizes allowed, by what forbids larger ones.
            free: bytes that a step may take; None: nobody has to ask, the device refuses.
        """
        super().__init__(classifier, batches)
        self.trials: list[Trial] = []
        self._images, self._limits, self._free = images, limits, free
        self._size = batches.train_loader.batch_size
        self._bytes_an_image: float | None = None
        self._steps, self._began = 0, 0.0

    @property
    def batch_size(self) -> int:
        """Images a batch."""
        return self._size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        if size < 1:
            raise UserError(
                "tune=batch_size: not even one image fits into memory; take a smaller "
                "data.image_size or model.backbone"
            )
        self._size = size
        # A loader without one whole batch would make no step, and so refuse nothing.
        self._batches.train_loader.batch_size = min(size, self._images)

    def on_train_start(self) -> None:
        """Begin a trial.

        Raises:
            RuntimeError: the size is too large, in words that the tuner knows.
        """
        self._steps = 0
        self.trials.append(Trial(self._size))
        if reason := self._too_large():
            self._refuse(reason)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch; on a processor once more first, for the memory that an image needs.

        Raises:
            RuntimeError: the batch is too large, in words that the tuner knows.
        """
        if self._free is not None and self._bytes_an_image is None:
            self._bytes_an_image = self._measured(batch["image"].shape[-1])
            if reason := self._too_large():
                self._refuse(reason)
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Count images, from the second step on."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._steps:
            self.trials[-1].speed = self._steps * self._size / max(now - self._began, 1e-9)
        else:
            self._began = now
        self._steps += 1

    def _too_large(self) -> str:
        for reason, most in self._limits.items():
            if self._size > most:
                return reason
        if self._free is not None and self._bytes_an_image is not None:
            needed = self._size * self._bytes_an_image * _STEP_OVER_KEPT
            if needed > self._free:
                return f"a step would need {needed / 1e9:.1f} GB of {self._free / 1e9:.1f} GB free"
        return ""

    def _refuse(self, reason: str) -> None:
        self.trials[-1].refused = reason
        raise RuntimeError(_TOO_LARGE)

    def _measured(self, side: int) -> float:
        """Bytes that a forward pass keeps for the gradients, an image."""
        few, more = (kept_bytes(self.classifier, count, side) for count in (2, 4))
        return (more - few) / 2  # without what doesn't grow with the batch


def kept_bytes(classifier: Classifier, count: int, side: int) -> int:
    """Bytes of all tensors that a forward pass of `count` images keeps for the backward pass."""
    kept: dict[int, int] = {}
    alive = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)  # an address that is freed would be used again
        return tensor

    images = torch.zeros(count, 1, side, side, device=classifier.device)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        classifier(images)
    return sum(kept.values())
