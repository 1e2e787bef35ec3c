"""Optimizers and learning rate schedules."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

# The rate that a one-cycle run begins with, as a share of the highest (torch's OneCycleLR).
_ONECYCLE_START = 1 / 25


def configure(
    backbone: nn.Module,
    head: nn.Module,
    optimizer: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    steps: int,
    *,
    fused: bool = True,
) -> OptimizerLRScheduler:
    """Optimizer and scheduler in Lightning's form.

    Args:
        backbone: trained at `lr * backbone_lr_factor`.
        head: trained at `lr`.
        optimizer: the `optimizer` section of the configuration.
        scheduler: the `scheduler` section.
        steps: optimizer steps of the whole run.
        fused: update all weights in one kernel, as far as torch has one.
    """
    built = build_optimizer(backbone, head, optimizer, fused=fused)
    if scheduler["name"] == "none":
        return built
    if scheduler["name"] == "plateau":
        plateau = ReduceLROnPlateau(
            built, mode="max", factor=scheduler["factor"], patience=scheduler["patience"]
        )
        return {
            "optimizer": built,
            # Its state is Lightning's to keep, its steps are PlateauSteps'.
            "lr_scheduler": {
                "scheduler": plateau,
                "monitor": "val/auroc",
                "interval": "epoch",
                "frequency": sys.maxsize,
            },
        }
    factors = LambdaLR(built, lambda step: rate_factor(step, steps, scheduler))
    return {"optimizer": built, "lr_scheduler": {"scheduler": factors, "interval": "step"}}


def total_steps(trainer: pl.Trainer) -> int:
    """Optimizer steps of the whole run.

    `Trainer.estimated_stepping_batches` would say the same, but it sets the loaders up before a
    checkpoint's state of them is known, and a resumed epoch would begin anew (Lightning 2.6).
    """
    batches = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
    limit = trainer.limit_train_batches
    used = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * limit))
    return math.ceil(used / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)


def build_optimizer(
    backbone: nn.Module, head: nn.Module, config: Mapping[str, Any], *, fused: bool = True
) -> Optimizer:
    """Adam, AdamW or SGD over four groups: backbone and head, with and without weight decay."""
    groups = []
    for module, rate in (
        (backbone, config["lr"] * config["backbone_lr_factor"]),
        (head, config["lr"]),
    ):
        trained = [p for p in module.parameters() if p.requires_grad]
        # Biases and norm weights are the one-dimensional ones; decaying them only hurts.
        for decay, chosen in (
            (config["weight_decay"], [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    if config["name"] == "sgd":
        momentum = config["momentum"]
        return torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0, fused=fused)
    betas = (config["momentum"], 0.999)
    kind = torch.optim.AdamW if config["name"] == "adamw" else torch.optim.Adam
    return kind(groups, betas=betas, fused=fused)


def rate_factor(step: int, steps: int, config: Mapping[str, Any]) -> float:
    """Learning rate at a step, as a share of the highest.

    Args:
        step: optimizer steps done.
        steps: of the whole run.
        config: the `scheduler` section: cosine (linear warm-up from zero) or onecycle (cosine
            up from 1/25).

    Returns:
        A factor in [0, 1].
    """
    warmup = config["warmup"] * steps
    if step < warmup:
        share = (step + 1) / (warmup + 1)
        return share if config["name"] == "cosine" else _cosine(_ONECYCLE_START, 1.0, share)
    share = (step - warmup) / max(1.0, steps - warmup)
    return _cosine(1.0, config["final_factor"], min(1.0, share))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def highest_rate(optimizers: Iterable[Optimizer]) -> float:
    """The highest rate of any group: the head's."""
    return max(group["lr"] for optimizer in optimizers for group in optimizer.param_groups)
