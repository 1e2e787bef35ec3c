"""Fit a classifier and come back with its best checkpoint."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.utilities.exceptions import SIGTERMException

from cxrlab.config.schema import Config, TrainerConfig
from cxrlab.data.datamodule import ImageDataModule
from cxrlab.layout import BEST, CHECKPOINTS, LAST
from cxrlab.model.classifier import Classifier
from cxrlab.tracking.logger import RunLogger
from cxrlab.tracking.run import Run
from cxrlab.training.callbacks import MovingAverage, PlateauSteps, SeededSteps, Speed
from cxrlab.training.hardware import Hardware
from cxrlab.training.parallel import companions, strategy
from cxrlab.training.progressive import ProgressiveSize
from cxrlab.training.ranks import Ranks
from cxrlab.training.shifted import ShiftedValidation
from cxrlab.training.stopping import GracefulStop, LastCheckpoint, Patience, Preempted

# A bar that is drawn shows the loss, and to read that waits for the GPU.
_STEPS_A_REDRAW = {"cpu": 1, "gpu": 20}


def fit(
    config: Config,
    classifier: Classifier,
    data: ImageDataModule,
    run: Run,
    hardware: Hardware,
    callbacks: Sequence[pl.Callback],
    ranks: Ranks = Ranks(),  # noqa: B008  immutable
) -> Classifier:
    """Train, and load the weights of the best validation AUROC.

    Args:
        config: the whole configuration.
        classifier: with its first weights; trained in place.
        data: training and validation batches.
        run: where metrics go; checkpoints are written below its folder.
        hardware: device and precision.
        callbacks: further callbacks, which see the weights that are validated.
        ranks: the place of this process among several; the first one starts the others.

    Returns:
        The same classifier, in the first process with the weights of `checkpoints/best.ckpt`.

    Raises:
        ProcessDiedError: one of several processes ended with an error.
        KeyboardInterrupt: the user or the system stopped it; `checkpoints/last.ckpt` is whole.
    """
    quieten(says_profile=config.trainer.profiler is not None)
    shows_bar = _shows_bar(config.trainer) and not ranks.rank
    own = _own_callbacks(config, data, run, hardware, shows_bar=shows_bar)
    if config.trainer.channels_last:
        classifier.to(memory_format=torch.channels_last)
    last = run.output / LAST
    resumed = str(last) if config.resume and last.is_file() else None
    try:
        if config.trainer.compile:
            classifier.backbone.net.compile(mode=config.trainer.compile)
        with companions(config.trainer, ranks, run):
            trainer = _trainer(
                config.trainer, run, hardware, [*callbacks, *own], ranks, shows_bar=shows_bar
            )
            trainer.fit(classifier, datamodule=data, ckpt_path=resumed, weights_only=False)
    except (SystemExit, SIGTERMException) as stopped:
        # Lightning turns Ctrl-C into the exit status 1 and SIGTERM into an error of its own.
        preempted = isinstance(stopped.__context__, Preempted)
        raise (Preempted if preempted else KeyboardInterrupt) from stopped
    if not ranks.rank:
        load_best(classifier, run.output)
    return classifier


def load_best(classifier: Classifier, output: Path) -> None:
    """Put the weights of the best checkpoint into a classifier of the same shape."""
    checkpoint = torch.load(output / BEST, map_location="cpu", weights_only=True)
    classifier.load_state_dict(checkpoint["state_dict"])


def _trainer(
    config: TrainerConfig,
    run: Run,
    hardware: Hardware,
    callbacks: list[pl.Callback],
    ranks: Ranks,
    *,
    shows_bar: bool,
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
        enable_progress_bar=shows_bar,
        enable_model_summary=False,
        # The order of batches is the loader's own, and an untrained model's metrics are no news.
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=run.output,
        **strategy(config, ranks, run.flush),
    )


def _own_callbacks(
    config: Config, data: ImageDataModule, run: Run, hardware: Hardware, *, shows_bar: bool
) -> list[pl.Callback]:
    folder, monitor = run.output / CHECKPOINTS, config.trainer.monitor
    mode = "min" if monitor.endswith("loss") else "max"
    callbacks: list[pl.Callback] = [
        SeededSteps(data.train_loader),
        GracefulStop(config.trainer.cluster),
        Speed(say=not shows_bar),
        PlateauSteps(),
        # Whole, since with `save_weights_only` Lightning leaves out the averaged weights.
        ModelCheckpoint(folder, "best", monitor, mode=mode, enable_version_counter=False),
        # Apart from the best one, which it would overwrite when training is interrupted.
        LastCheckpoint(folder, "last"),
    ]  # fmt: skip
    if config.evaluation.shifts:
        callbacks.append(ShiftedValidation(config.evaluation.shifts))
    if config.trainer.progressive:
        callbacks.append(ProgressiveSize(config.trainer.progressive, data))
    if config.trainer.early_stopping:
        callbacks.append(Patience(monitor, mode=mode, patience=config.trainer.early_stopping))
    if config.trainer.ema_decay:
        callbacks.append(MovingAverage(config.trainer.ema_decay))
    if shows_bar:
        callbacks.append(TQDMProgressBar(_STEPS_A_REDRAW[hardware.accelerator], leave=True))
    return callbacks


def _shows_bar(config: TrainerConfig) -> bool:
    """A bar is for a terminal; in a file it is thousands of lines."""
    return config.progress_bar and sys.stdout.isatty()


def quieten(*, says_profile: bool) -> None:
    """Drop Lightning's advice on things that are as we want them."""
    level = logging.INFO if says_profile else logging.WARNING  # its profile is a message too
    logging.getLogger("pytorch_lightning").setLevel(level)
    for message in (
        r".*does not have many workers.*",
        r".*exists and is not empty.*",
        r".*sync_dist=True.*",  # the values are those of all processes already
        r".*Grad strides do not match bucket view strides.*",
        r".*The number of training batches.*",
        r".*module\(s\) in eval mode at the start of training.*",
        r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message)
