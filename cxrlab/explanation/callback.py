"""The same validation images explained again and again while a model learns."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.seed import isolate_rng

from cxrlab.explanation import captions, figures, maps
from cxrlab.explanation.attribution import Attribution, AttributionMethod, to_model_input
from cxrlab.explanation.gallery import FOLDER
from cxrlab.explanation.quality.evidence import SMOOTHING
from cxrlab.model.classifier import Classifier
from cxrlab.model.inference import inference_network
from cxrlab.task import Task


class ExplanationPanel(pl.Callback):
    """Draw attributions of a fixed panel every few epochs and after the last one.

    Training goes on as if the panel were not there: weights, modes and random states are left
    as they were. Runs on the first process only. Put it before a weight averaging callback, so
    that it sees the averaged weights that were validated.
    """

    def __init__(
        self,
        method: AttributionMethod,
        images: NDArray[np.uint8],
        rows: pd.DataFrame,
        *,
        task: Task,
        explained: NDArray[np.int64],
        every_n_epochs: int,
        output: Path,
        log_image: Callable[[NDArray[np.uint8], str, int], None],
        log_metrics: Callable[[dict[str, float], int], None],
        sigma: float = SMOOTHING,
    ) -> None:
        """Set up the panel.

        Args:
            method: how to attribute.
            images: uint8 (N, H, W), N > 0.
            rows: the manifest's N rows of these images.
            task: what is predicted.
            explained: (N,) class or finding whose logit is explained; two classes have one logit.
            every_n_epochs: 1 for every epoch.
            output: the run's output folder; the panels go to `explanations/` in it.
            log_image: takes a strip uint8 (H, 3 W, 3), the image's key and the panel's number,
                from 0.
            log_metrics: takes figures by name and the global step.
            sigma: smoothing of the overlays in pixels.
        """
        self._method = method
        self._inputs = to_model_input(images)
        self._images = np.asarray(images)
        self._paths = [str(path) for path in rows["path"]]
        self._truths = task.targets(rows)
        self._task = task
        self._explained = np.asarray(explained)
        self._every_n_epochs = every_n_epochs
        self._folder = output / FOLDER
        self._log_image = log_image
        self._log_metrics = log_metrics
        self._sigma = sigma
        self._validated_epoch: int | None = None
        self._drawn_epoch: int | None = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the panel if it is this epoch's turn."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        epoch = trainer.current_epoch
        self._validated_epoch = epoch
        is_last = trainer.should_stop or epoch + 1 == trainer.max_epochs
        if (epoch + 1) % self._every_n_epochs == 0 or is_last:
            self._draw(trainer, pl_module, epoch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the panel of the last epoch if only early stopping made it the last."""
        if self._validated_epoch is not None:
            self._draw(trainer, pl_module, self._validated_epoch)

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int) -> None:
        if not trainer.is_global_zero or epoch == self._drawn_epoch:
            return
        self._drawn_epoch = epoch
        start = time.perf_counter()
        with isolate_rng():
            network = inference_network(cast("Classifier", pl_module), views=False)
            attribution = self._method(network, self._inputs, torch.from_numpy(self._explained))
        strips, scale = maps.paint(self._images, attribution.maps, self._sigma)
        cases = self._cases(attribution, strips)
        figure = figures.draw_panel(cases, epoch + 1, scale, attribution.method)
        self._folder.mkdir(parents=True, exist_ok=True)
        # MLflow's slider begins at step 0 and shows nothing where no image has that step.
        drawn = len(list(self._folder.glob("panel_epoch_*.png")))
        figure.savefig(self._folder / f"panel_epoch_{epoch + 1:03d}.png")
        for number, (case, path) in enumerate(zip(cases, self._paths, strict=True)):
            self._log_image(case.strip, _image_key(number, path), drawn)
        seconds = {"explanation/panel_seconds": time.perf_counter() - start}
        self._log_metrics(seconds, trainer.global_step)

    def _cases(
        self, attribution: Attribution, strips: Sequence[NDArray[np.uint8]]
    ) -> list[figures.Case]:
        return [
            figures.Case(
                strip=strips[number],
                name=PurePosixPath(path).name,
                facts=self._facts(number, float(attribution.output[number])),
                completeness_error=float(attribution.completeness_error[number]),
                doubtful=bool(attribution.completeness_error[number] > self._method.tolerance),
            )
            for number, path in enumerate(self._paths)
        ]

    def _facts(self, number: int, logit: float) -> str:
        explained = int(self._explained[number])
        # Of findings the truth of the explained one, else the class of the image.
        truth = self._truths[number, explained] if self._truths.ndim == 2 else self._truths[number]
        return captions.panel_facts(float(truth), explained, logit, self._task)


def _image_key(number: int, path: str) -> str:
    """A key with the characters that trackers accept; the number keeps equal names apart.

    Its first part is the section of MLflow's page, apart from the metrics of `explanation/`.
    """
    name = re.sub(r"[^0-9A-Za-z_.-]", "_", PurePosixPath(path).stem)
    return f"panel/{number:02d}_{name}"
