"""The metrics of every validation epoch; the final ones come from the prediction table."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn import ModuleList
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryAveragePrecision,
    BinaryF1Score,
    BinaryPrecision,
    BinaryRecall,
    BinarySpecificity,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MulticlassF1Score,
)

from cxrlab.task import Task


class OverFindings(Metric):
    """The mean over the findings of a metric of two classes, each over what is known of it.

    Torchmetrics' own calls a finding that is never present 0 and fails on one never known.
    """

    full_state_update = False
    present: Tensor
    absent: Tensor

    def __init__(self, metric: Callable[[], Metric], findings: int) -> None:
        """Keep one metric a finding.

        Args:
            metric: makes a metric of probabilities (B,) and targets (B,) int64.
            findings: how many there are, K.
        """
        super().__init__()
        self.each = ModuleList([metric() for _ in range(findings)])
        self.add_state("present", torch.zeros(findings), dist_reduce_fx="sum")
        self.add_state("absent", torch.zeros(findings), dist_reduce_fx="sum")

    def update(self, probability: Tensor, target: Tensor) -> None:
        """Take (B, K) probabilities and (B, K) float32 findings, NaN where unknown."""
        self.present += (target == 1).sum(dim=0)
        self.absent += (target == 0).sum(dim=0)
        known = ~target.isnan()
        for index, metric in enumerate(self._metrics()):
            rows = known[:, index]
            if rows.any():
                metric.update(probability[rows, index], target[rows, index].long())

    def compute(self) -> Tensor:
        """Mean over the findings that were both seen present and absent; NaN if there is none."""
        judged = (self.present > 0) & (self.absent > 0)
        values = [
            metric.compute().float()
            for metric, ok in zip(self._metrics(), judged, strict=True)
            if ok
        ]
        return torch.stack(values).mean() if values else torch.tensor(torch.nan)

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        for metric in self._metrics():
            metric.reset()

    def _metrics(self) -> list[Metric]:
        return [cast("Metric", module) for module in self.each]


def epoch_metrics(task: Task) -> MetricCollection:
    """Metrics over probabilities: (B,) for two classes, else (B, K); targets as in a batch.

    The operating point is not chosen yet, so decisions of two classes and of findings are taken at
    0.5, which the names say; those of more classes are the most probable class. Averages over
    classes are macro.
    """
    metrics: dict[str, Metric | MetricCollection]
    classes = len(task.classes)
    if task.kind == "multilabel":
        metrics = {
            "auroc": OverFindings(BinaryAUROC, classes),
            "auprc": OverFindings(BinaryAveragePrecision, classes),
            "f1_at_half": OverFindings(BinaryF1Score, classes),
        }
    elif task.kind == "binary":
        metrics = {
            "auroc": BinaryAUROC(),
            "auprc": BinaryAveragePrecision(),
            "accuracy_at_half": BinaryAccuracy(),
            "precision_at_half": BinaryPrecision(),
            "recall_at_half": BinaryRecall(),
            "specificity_at_half": BinarySpecificity(),
            "f1_at_half": BinaryF1Score(),
        }
    else:
        metrics = {
            "auroc": MulticlassAUROC(classes),
            "auprc": MulticlassAveragePrecision(classes),
            "accuracy_argmax": MulticlassAccuracy(classes, average="micro"),
            "balanced_accuracy_argmax": MulticlassAccuracy(classes),
            "f1_argmax": MulticlassF1Score(classes),
        }
    return MetricCollection(metrics, prefix="val/", compute_groups=False)
