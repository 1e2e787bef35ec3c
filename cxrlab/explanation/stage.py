"""The explanations of a training run: a panel while it learns, galleries at its end."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from cxrlab.config.schema import ExplanationConfig
from cxrlab.data.datamodule import ImageDataModule
from cxrlab.data.masks import read_masks
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.explanation.callback import ExplanationPanel
from cxrlab.explanation.gallery import explain_cases
from cxrlab.explanation.methods.registry import build
from cxrlab.explanation.selection import gallery_cases, panel_explained, panel_indices
from cxrlab.model.classifier import Classifier
from cxrlab.model.inference import inference_network
from cxrlab.tracking.run import Run


def explanation_panel(
    config: ExplanationConfig, batches: ImageDataModule, run: Run
) -> list[pl.Callback]:
    """The callback that draws the fixed validation panel; empty where it is turned off."""
    if config.method == "none" or config.panel_images == 0:
        return []
    manifest = batches.data.manifest
    rows = manifest.split("val")
    strata = manifest.with_table(rows).strata()
    chosen = panel_indices(rows, strata, config.panel_images)
    panel = ExplanationPanel(
        build(config.method, _hasty(config)),
        batches.images("val", np.asarray(chosen)),
        rows.iloc[chosen],
        task=manifest.task,
        explained=panel_explained(strata[chosen], manifest.task),
        every_n_epochs=config.every_n_epochs,
        output=run.output,
        log_image=run.log_image,
        log_metrics=run.log_metrics,
    )
    return [panel]


def explain_gallery(
    config: ExplanationConfig,
    classifier: Classifier,
    evaluation: Evaluation,
    batches: ImageDataModule,
    run: Run,
) -> None:
    """Explain the surest right and wrong cases of test, or of validation where test is unread."""
    if config.method == "none" or config.gallery_images == 0:
        return
    manifest = batches.data.manifest
    split = "test" if "test" in evaluation.tables else "val"
    rows = manifest.split(split)

    def masks(positions: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        how = classifier.hparams["preprocess"]
        return read_masks(manifest, rows.iloc[positions], classifier.image_size, how)

    metrics = explain_cases(
        inference_network(classifier, views=False),
        build(config.method, config),
        gallery_cases(evaluation.tables[split], manifest.task, config.gallery_images),
        batches.images(split),
        task=manifest.task,
        thresholds=evaluation.point.cuts,
        output=run.output,
        masks=masks,
    )
    run.log_metrics(metrics, max(1, classifier.trainer.global_step))


def _hasty(config: ExplanationConfig) -> ExplanationConfig:
    """Training should not wait for the images whose integral converges late."""
    return config.model_copy(update={"max_steps": min(config.steps * 2, config.max_steps)})
