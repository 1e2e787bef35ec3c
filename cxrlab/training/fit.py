"""Fit a classifier and come back with its best checkpoint."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException

from cxrlab.config.schema import Config, TrainerConfig
from cxrlab.data.datamodule import ImageDataModule
from cxrlab.model.classifier import Classifier
from cxrlab.tracking.logger import RunLogger
from cxrlab.tracking.run import Run
from cxrlab.training.callbacks import GracefulStop, MovingAverage, SeededSteps, Speed
from cxrlab.training.hardware import Hardware
from cxrlab.training.progressive import ProgressiveSize

# A bar that is drawn shows the loss, and to read that waits for the GPU.
_STEPS_A_REDRAW = {"cpu": 1, "gpu": 20}

MONITOR = "val/auroc"
CHECKPOINTS = "checkpoints"
BEST, LAST = f"{CHECKPOINTS}/best.ckpt", f"{CHECKPOINTS}/last.ckpt"


def fit(
    config: Config,
    classifier: Classifier,
    data: ImageDataModule,
    run: Run,
    hardware: Hardware,
    callbacks: Sequence[pl.Callback],
) -> Classifier:
    """Train, and load the weights of the best validation AUROC.

    Args:
        config: the whole configuration.
        classifier: with its first weights; trained in place.
        data: training and validation batches.
        run: where metrics go; checkpoints are written below its folder.
        hardware: device and precision.
        callbacks: further callbacks, which see the weights that are validated.

    Returns:
        The same classifier with the weights of `checkpoints/best.ckpt`.

    Raises:
        KeyboardInterrupt: the user or the system stopped it; `checkpoints/last.ckpt` is whole.
    """
    _quieten(says_profile=config.trainer.profiler is not None)
    trainer = _trainer(
        config.trainer, run, hardware, [*callbacks, *_own_callbacks(config, data, run, hardware)]
    )
    if config.trainer.channels_last:
        classifier.to(memory_format=torch.channels_last)
    last = run.output / LAST
    resumed = str(last) if config.resume and last.is_file() else None
    try:
        if config.trainer.compile:
            classifier.backbone.net.compile(mode=config.trainer.compile)
        trainer.fit(classifier, datamodule=data, ckpt_path=resumed, weights_only=False)
    except (SystemExit, SIGTERMException) as stopped:
        # Lightning turns Ctrl-C into the exit status 1 and SIGTERM into an error of its own.
        raise KeyboardInterrupt from stopped
    load_best(classifier, run.output)
    return classifier


def load_best(classifier: Classifier, output: Path) -> None:
    """Put the weights of the best checkpoint into a classifier of the same shape."""
    checkpoint = torch.load(output / BEST, map_location="cpu", weights_only=True)
    classifier.load_state_dict(checkpoint["state_dict"])


def _trainer(
    config: TrainerConfig, run: Run, hardware: Hardware, callbacks: list[pl.Callback]
) -> pl.Trainer:
    return pl.Trainer(
        accelerator=hardware.accelerator,
        devices=config.devices,
        precision=hardware.precision,  # type: ignore[arg-type]
        max_epochs=config.max_epochs,
        gradient_clip_val=config.gradient_clip,
        accumulate_grad_batches=config.accumulate,
        limit_train_batches=config.limit_batches,
        limit_val_batches=config.limit_batches,
        overfit_batches=config.overfit_batches,
        log_every_n_steps=config.log_every_n_steps,
        deterministic=config.deterministic,
        profiler=config.profiler,
        logger=RunLogger(run),
        callbacks=callbacks,
        enable_progress_bar=_shows_bar(config),
        enable_model_summary=False,
        # The order of batches is the loader's own, and an untrained model's metrics are no news.
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=run.output,
    )


def _own_callbacks(
    config: Config, data: ImageDataModule, run: Run, hardware: Hardware
) -> list[pl.Callback]:
    folder = run.output / CHECKPOINTS
    shows_bar = _shows_bar(config.trainer)
    callbacks: list[pl.Callback] = [
        SeededSteps(data.train_loader),
        GracefulStop(),
        Speed(say=not shows_bar),
        # Whole, since with `save_weights_only` Lightning leaves out the averaged weights.
        ModelCheckpoint(folder, "best", MONITOR, mode="max", enable_version_counter=False),
        # Apart from the best one, which it would overwrite when training is interrupted.
        ModelCheckpoint(folder, "last", save_on_exception=True, enable_version_counter=False),
    ]  # fmt: skip
    if config.trainer.progressive:
        callbacks.append(ProgressiveSize(config.trainer.progressive, data))
    if config.trainer.early_stopping:
        callbacks.append(EarlyStopping(MONITOR, mode="max", patience=config.trainer.early_stopping))
    if config.trainer.ema_decay:
        callbacks.append(MovingAverage(config.trainer.ema_decay))
    if shows_bar:
        callbacks.append(TQDMProgressBar(_STEPS_A_REDRAW[hardware.accelerator], leave=True))
    return callbacks


def _shows_bar(config: TrainerConfig) -> bool:
    """A bar is for a terminal; in a file it is thousands of lines."""
    return config.progress_bar and sys.stdout.isatty()


def _quieten(*, says_profile: bool) -> None:
    """Drop Lightning's advice on things that are as we want them."""
    level = logging.INFO if says_profile else logging.WARNING  # its profile is a message too
    logging.getLogger("pytorch_lightning").setLevel(level)
    for message in (
        r".*does not have many workers.*",
        r".*exists and is not empty.*",
        r".*The number of training batches.*",
        r".*module\(s\) in eval mode at the start of training.*",
        r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message)
