"""The LightningModule: backbone, head and loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from cxrlab.data.batches import Batch
from cxrlab.model.backbone import Backbone
from cxrlab.model.head import Head
from cxrlab.model.losses import ClassificationLoss
from cxrlab.model.metrics import epoch_metrics
from cxrlab.task import Task, TaskKind
from cxrlab.training.exchange import gathered
from cxrlab.training.optimizers import configure, total_steps


class Classifier(pl.LightningModule):
    """A classifier of grayscale radiographs that carries all it needs in its checkpoint.

    Every argument is a plain value and is saved as a hyperparameter, so that a checkpoint can be
    loaded without a configuration, weights file or network.
    """

    def __init__(
        self,
        *,
        task: TaskKind,
        classes: Sequence[str],
        image_size: int,
        preprocess: Mapping[str, Any],
        mean: Sequence[float],
        std: Sequence[float],
        model_args: Mapping[str, Any],
        class_weights: Sequence[float],
        model: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
    ) -> None:
        """Build the network with random weights.

        Args:
            task: binary, multiclass or multilabel.
            classes: class names; the index is the target.
            image_size: side of the square input, pixels.
            preprocess: the section `data.preprocess`: how an image becomes that square.
            mean: mean of each input channel that the weights expect, in [0, 1].
            std: SD of each input channel.
            model_args: arguments of the timm constructor that the weights need.
            class_weights: weight of each class in the loss.
            model: the `model` section of the configuration.
            loss: the `loss` section.
            optimizer: the `optimizer` section.
            scheduler: the `scheduler` section.
        """
        super().__init__()
        self.save_hyperparameters()
        self.task, self.image_size = Task(task, tuple(classes)), image_size
        self.backbone = Backbone(
            model["backbone"],
            mean=mean,
            std=std,
            model_args=model_args,
            drop_path=model["drop_path"],
            standardise=model["standardise"],
        )
        self.head = Head(
            self.backbone.num_features,
            self.task.outputs,
            hidden=model["hidden"],
            dropout=model["dropout"],
        )
        self.loss = ClassificationLoss(
            class_weights,
            label_smoothing=loss["label_smoothing"],
            focal_gamma=loss["focal_gamma"],
        )
        self.val_metrics = epoch_metrics(self.task)
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []
        if model["freeze_backbone"]:
            self.backbone.freeze(None)
        elif model["freeze_stages"]:
            self.backbone.freeze(model["freeze_stages"])

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch.

        Args:
            images: (B, 1, H, W) float32 in [0, 1].

        Returns:
            (B,) for two classes, the logit of the second; else (B, K).
        """
        return self.head(self.backbone(images))

    def logits(self, batch: Batch) -> Tensor:
        """Logits of a batch of images, or of features that the backbone made earlier."""
        features = batch["features"] if "features" in batch else self.backbone(batch["image"])
        logits: Tensor = self.head(features)
        return logits

    def network(self) -> nn.Sequential:
        """Backbone and head alone, without Lightning: images to logits, as `forward`."""
        return nn.Sequential(self.backbone, self.head)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a training batch."""
        if alpha := self.hparams["loss"]["mixup"]:
            loss = self._mixed_loss(batch, alpha)
        else:
            loss = self.loss(self.logits(batch), batch["target"])
        several = self.trainer.world_size > 1
        self.log("train/loss", loss, on_step=True, on_epoch=False, prog_bar=True, sync_dist=several)
        return loss

    def _mixed_loss(self, batch: Batch, alpha: float) -> Tensor:
        """Mixup (Zhang et al. 2018): each image faded into another of the batch, and so the loss.

        The order of a batch is random, so its reverse is a random pairing.
        """
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        mixed = batch.copy()
        if "features" in batch:
            mixed["features"] = torch.lerp(batch["features"].flip(0), batch["features"], share)
        else:
            mixed["image"] = torch.lerp(batch["image"].flip(0), batch["image"], share)
        logits, target = self.logits(mixed), batch["target"]
        loss: Tensor = share * self.loss(logits, target)
        return loss + (1 - share) * self.loss(logits, target.flip(0))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect what the validation metrics need; a metric a step would wait for a GPU."""
        logits = self.logits(batch).float()
        self._validated.append((logits, batch["target"], batch["index"].to(logits.device)))

    def on_validation_epoch_end(self) -> None:
        """Log loss and metrics of the whole validation split, the same on every process."""
        logits, targets, index = (
            gathered(torch.cat(parts)) for parts in zip(*self._validated, strict=True)
        )
        self._validated.clear()
        if self.trainer.world_size > 1:
            # Without fillers, and in the order of one process, for sums that end the same.
            order = index.argsort()[int((index < 0).sum()) :]
            logits, targets = logits[order], targets[order]
        self.log("val/loss", self.loss(logits, targets))
        self.val_metrics.update(probabilities(logits, self.task), targets)
        values = self.val_metrics.compute()
        self.val_metrics.reset()
        self.log_dict({k: v for k, v in values.items() if k != "val/auroc"})
        self.log("val/auroc", values["val/auroc"], prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimizer and scheduler of the configuration."""
        steps = total_steps(self.trainer)
        return configure(
            self.backbone,
            self.head,
            self.hparams["optimizer"],
            self.hparams["scheduler"],
            steps,
            # Lightning scales gradients of float16 outside the optimizer, and clips those of any
            # mixed precision there; fused rules allow neither.
            fused=self.trainer.precision != "16-mixed"
            and not (self.trainer.gradient_clip_val and "mixed" in self.trainer.precision),
        )


def probabilities(logits: Tensor, task: Task) -> Tensor:
    """Softmax of (B, K) logits of classes; sigmoid of (B,), and of (B, K) findings; float32.

    Metrics are always given these: torchmetrics guesses from the values of each batch whether it
    sees logits.
    """
    logits = logits.float()
    return logits.softmax(dim=1) if task.kind == "multiclass" else torch.sigmoid(logits)
