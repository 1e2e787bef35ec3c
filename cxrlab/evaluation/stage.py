"""From the logits of a finished run to its tables, numbers and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.data.manifest import Manifest
from cxrlab.evaluation.calibration import fit_temperature
from cxrlab.evaluation.figures import draw_figures
from cxrlab.evaluation.metrics import Metrics, evaluate_table
from cxrlab.evaluation.predictions import prediction_table, scores, write_predictions
from cxrlab.evaluation.threshold import Threshold, choose_threshold

PREDICTIONS, FIGURES = "predictions", "figures"
_DPI = 120


@dataclass(frozen=True)
class OperatingPoint:
    """What turns a logit into a calibrated probability and a decision; kept with the model.

    Attributes:
        temperature: logits are divided by it (Guo et al. 2017).
        threshold: None for more than two classes, where the most probable class is decided.
    """

    temperature: float
    threshold: Threshold | None


@dataclass(frozen=True)
class Evaluation:
    """What a run says of its splits.

    Attributes:
        point: chosen on validation alone.
        tables: prediction table by split.
        metrics: by split.
    """

    point: OperatingPoint
    tables: dict[str, pd.DataFrame]
    metrics: dict[str, Metrics]

    def values(self) -> dict[str, float]:
        """Every metric as `split/name`."""
        return {f"{s}/{k}": v for s, m in self.metrics.items() for k, v in m.values.items()}


def choose_operating_point(
    rows: pd.DataFrame, logits: NDArray[np.float64], classes: tuple[str, ...], rule: str | float
) -> OperatingPoint:
    """Temperature and threshold from validation.

    Args:
        rows: the validation rows of a manifest.
        logits: (N,) or (N, K) in their order.
        classes: class names.
        rule: the key `threshold` of the configuration.
    """
    target = rows["target"].to_numpy()
    temperature = fit_temperature(logits, target)
    if len(classes) > 2:
        return OperatingPoint(temperature, None)
    table = prediction_table(rows, logits, classes, temperature=temperature, threshold=None)
    probability = scores(table, classes, "probability")
    return OperatingPoint(temperature, choose_threshold(rule, target, probability))


def evaluate(
    manifest: Manifest, logits: Mapping[str, NDArray[np.float64]], rule: str | float
) -> Evaluation:
    """Choose on validation, measure everywhere.

    Args:
        manifest: with the splits that `logits` names.
        logits: by split, in the manifest's order; `val` is needed.
        rule: the key `threshold` of the configuration.
    """
    classes = manifest.classes
    point = choose_operating_point(manifest.split("val"), logits["val"], classes, rule)
    cut = point.threshold.value if point.threshold else None
    tables, metrics = {}, {}
    for split, values in logits.items():
        table = prediction_table(
            manifest.split(split),
            values,
            classes,
            temperature=point.temperature,
            threshold=cut,
            report_columns=manifest.report_columns,
        )
        tables[split] = table
        metrics[split] = evaluate_table(table, classes, threshold=cut)
    return Evaluation(point, tables, metrics)


def write(evaluation: Evaluation, classes: tuple[str, ...], output: Path) -> None:
    """Write `predictions/<split>.csv` and the figures.

    The figures of test are `figures/<name>.png`, those of validation `figures/val_<name>.png`.
    """
    folder = output / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    cut = evaluation.point.threshold.value if evaluation.point.threshold else None
    for split, table in evaluation.tables.items():
        write_predictions(table, output / PREDICTIONS / f"{split}.csv")
        prefix = "" if split == "test" else f"{split}_"
        for name, figure in draw_figures(table, classes, cut, split=split).items():
            figure.savefig(folder / f"{prefix}{name}.png", dpi=_DPI)
