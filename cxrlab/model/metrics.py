"""The metrics of every validation epoch; the final ones come from the prediction table."""

from __future__ import annotations

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


def epoch_metrics(classes: int) -> MetricCollection:
    """Metrics over probabilities: (B,) for two classes, else (B, K); targets (B,) int64.

    The operating point is not chosen yet, so decisions of two classes are taken at 0.5, which the
    names say; those of more classes are the most probable class. Averages over classes are macro.
    """
    metrics: dict[str, Metric | MetricCollection]
    if classes == 2:
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
