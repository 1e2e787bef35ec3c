"""Batch size and learning rate found by trying, with Lightning's Tuner, before training.

On a model and batches of its own: afterwards nothing is left of it but the two numbers, so the run
that follows is, to the bit, one that was given them.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.tuner.tuning import Tuner
from pytorch_lightning.utilities.exceptions import SIGTERMException

from cxrlab.config.schema import Config
from cxrlab.data.datamodule import ImageDataModule
from cxrlab.data.prepare import PreparedData
from cxrlab.errors import warn
from cxrlab.layout import FIGURES
from cxrlab.model.classifier import Classifier
from cxrlab.progress import progress
from cxrlab.tracking.run import Run
from cxrlab.training.build import build_classifier, build_datamodule
from cxrlab.training.fit import quieten
from cxrlab.training.hardware import Hardware
from cxrlab.training.probe import RateProbe, SizeProbe, Trial
from cxrlab.training.range_test import RangeTest, draw

FIGURE = f"{FIGURES}/learning_rate.png"
TAG = "cxrlab.tuned"
_STEPS_A_TRIAL = 3  # the first one also allocates the optimizer's state
_SHARE_OF_MEMORY = 0.8  # of what is free; other programs want some
_MOST_TRIALS = 25  # Lightning's default; sizes double
_log = logging.getLogger("cxrlab")


@dataclass(frozen=True)
class Tuning:
    """What was found.

    Attributes:
        config: with the values that were found.
        tags: for the run.
        curve: of the range test; None where there was none.
    """

    config: Config
    tags: Mapping[str, str] = field(default_factory=dict)
    curve: RangeTest | None = None

    def log(self, run: Run) -> None:
        """Log the curve as `tune/loss` and `tune/lr`, and send its figure."""
        if self.curve is None:
            return
        smoothed = self.curve.smoothed()
        for step, (rate, loss) in enumerate(zip(self.curve.rates, smoothed, strict=True), 1):
            run.log_metrics({"tune/lr": float(rate), "tune/loss": float(loss)}, step)
        run.upload(FIGURE)


def tune(config: Config, data: PreparedData, hardware: Hardware, output: Path) -> Tuning:
    """Find what `tune.what` names: the batch size first, since the rate depends on it.

    Args:
        config: the whole configuration; of a run that goes on, its values were found before.
        data: the decoded images.
        hardware: device and precision.
        output: the run's folder, for the figure.

    Returns:
        The configuration to train with.

    Raises:
        UserError: not even one image fits into memory.
        KeyboardInterrupt: the user or the system stopped it.
    """
    if config.resume is not None or not config.tune.what:
        return Tuning(config)
    quieten(says_profile=False)
    told = []
    if "batch_size" in config.tune.what:
        size, why = _find_batch_size(config, data, hardware)
        told.append(f"data.batch_size={size} (configured {config.data.batch_size}): {why}")
        config = _with(config, "data", batch_size=size)
    curve = None
    if "lr" in config.tune.what:
        curve = _range_test(config, data, hardware)
        rate, why = curve.suggestion()
        configured = config.optimizer.lr
        draw(curve, rate, configured, output / FIGURE)
        if rate is None:
            told.append(f"optimizer.lr={configured:g} as configured: {why}")
            warn(
                f"tune=lr: {why} between {config.tune.min_lr:g} and {config.tune.max_lr:g}, so no "
                f"rate can be read from {output / FIGURE} and optimizer.lr={configured:g} is kept; "
                "take a wider range (tune.min_lr, tune.max_lr) or more steps (tune.steps)"
            )
        else:
            told.append(f"optimizer.lr={rate:g} (configured {configured:g})")
            config = _with(config, "optimizer", lr=rate)
    for line in told:
        _log.info("tuned %s", line)
    return Tuning(config, {TAG: "; ".join(told)}, curve)


def _with(config: Config, section: str, **values: Any) -> Config:
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})


def _find_batch_size(config: Config, data: PreparedData, hardware: Hardware) -> tuple[int, str]:
    """The largest of the configured size times a power of two, and what forbids the next."""
    images = len(data.manifest.split("train"))
    limits = {
        f"tune.max_batch_size={config.tune.max_batch_size}": config.tune.max_batch_size,
        f"there are {images} training images": images,
    }
    first = min(config.data.batch_size, *limits.values())
    free = None if hardware.accelerator == "gpu" else int(_SHARE_OF_MEMORY * free_memory())
    classifier, batches = _scratch(config, data, hardware)
    probe = SizeProbe(classifier, batches, images=images, limits=limits, free=free)
    with _tuner(config, hardware) as tuner:
        size = tuner.scale_batch_size(
            probe,
            init_val=first,
            steps_per_trial=_STEPS_A_TRIAL,
            max_trials=_MOST_TRIALS,
            max_val=2**31,  # the probe's own limits say why
        )
    for trial in probe.trials:
        speed = f"{trial.speed:.1f} images/s" if trial.speed else ""
        _log.info("batches of %d: %s", trial.size, trial.refused or speed or "out of memory")
    assert size is not None  # only a `fast_dev_run` finds none
    larger = [t for t in probe.trials if t.size > size]
    refused = larger[-1] if larger else Trial(2 * size)
    return size, f"the largest that fits; not {refused.size}: {refused.refused or 'out of memory'}"


def _range_test(config: Config, data: PreparedData, hardware: Hardware) -> RangeTest:
    """Losses at rates that rise from step to step.

    Only the test is Lightning's. Its suggestion takes the slope over the rate itself, by which
    noise at the smallest rates wins over any fall at useful ones, and its smoothed curve begins at
    half of the first loss.
    """
    steps = config.tune.steps
    classifier, batches = _scratch(config, data, hardware)
    with progress(steps, "learning rate range test") as advance:
        probe = RateProbe(classifier, batches, advance)
        with _tuner(config, hardware) as tuner:
            tuner.lr_find(
                probe,
                min_lr=config.tune.min_lr,
                max_lr=config.tune.max_lr,
                num_training=steps,
                update_attr=False,
            )
    return RangeTest(np.array(probe.rates), np.array(probe.losses))


def _scratch(
    config: Config, data: PreparedData, hardware: Hardware
) -> tuple[Classifier, ImageDataModule]:
    """A model and batches as training will have them."""
    pl.seed_everything(config.seed, verbose=False)
    classifier, _ = build_classifier(config, data)
    batches = build_datamodule(config, data, classifier, hardware.device)
    if config.trainer.channels_last:
        classifier.to(memory_format=torch.channels_last)
    return classifier, batches


@contextmanager
def _tuner(config: Config, hardware: Hardware) -> Iterator[Tuner]:
    """Lightning's tuner, with a folder for the checkpoint by which it restores the model.

    Raises:
        KeyboardInterrupt: the user or the system stopped it.
    """
    trainer = config.trainer
    with tempfile.TemporaryDirectory(prefix="cxrlab-tune-") as folder:
        try:
            yield Tuner(
                pl.Trainer(
                    accelerator=hardware.accelerator,
                    devices=1,
                    precision=hardware.precision,  # type: ignore[arg-type]
                    max_epochs=-1,
                    gradient_clip_val=trainer.gradient_clip,
                    accumulate_grad_batches=trainer.accumulate,
                    deterministic=trainer.deterministic,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    use_distributed_sampler=False,
                    default_root_dir=folder,
                )
            )
        except (SystemExit, SIGTERMException) as stopped:
            # Lightning turns Ctrl-C into the exit status 1 and SIGTERM into an error of its own.
            raise KeyboardInterrupt from stopped


def free_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process can have without swapping, in a container those left to that."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        rows = (line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        cached = {name: int(value) for name, value in rows}["inactive_file"]
    except (OSError, ValueError, KeyError):
        return free  # no container, or one without a limit
    return max(0, min(free, limit - used + cached))
