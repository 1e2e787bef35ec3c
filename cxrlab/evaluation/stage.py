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
from cxrlab.evaluation.threshold import Threshold, choose_threshold, choose_thresholds
from cxrlab.task import Task

PREDICTIONS, FIGURES = "predictions", "figures"
_DPI = 120


@dataclass(frozen=True)
class OperatingPoint:
    """What turns a logit into a calibrated probability and a decision; kept with the model.

    Attributes:
        temperature: logits are divided by it (Guo et al. 2017).
        thresholds: one for two classes, one a finding; none for more than two classes, where
            the most probable class is decided.
    """

    temperature: float
    thresholds: tuple[Threshold, ...]

    @property
    def cuts(self) -> tuple[float, ...]:
        """The thresholds' values."""
        return tuple(threshold.value for threshold in self.thresholds)


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
    rows: pd.DataFrame, logits: NDArray[np.float64], task: Task, rule: str | float
) -> OperatingPoint:
    """Temperature and thresholds from validation.

    Args:
        rows: the validation rows of a manifest.
        logits: (N,) or (N, K) in their order.
        task: what is predicted.
        rule: the key `threshold` of the configuration.
    """
    target = task.targets(rows)
    table = prediction_table(rows, logits, task, temperature=1.0, thresholds=())
    probability = scores(table, task, "probability")
    temperature = fit_temperature(logits, target)
    if task.kind == "multiclass":
        return OperatingPoint(temperature, ())
    if task.kind == "binary":
        return OperatingPoint(temperature, (choose_threshold(rule, target, probability),))
    truth = target.astype(np.float32)
    return OperatingPoint(temperature, choose_thresholds(rule, truth, probability, task.classes))


def evaluate(
    manifest: Manifest, logits: Mapping[str, NDArray[np.float64]], rule: str | float
) -> Evaluation:
    """Choose on validation, measure everywhere.

    Args:
        manifest: with the splits that `logits` names.
        logits: by split, in the manifest's order; `val` is needed.
        rule: the key `threshold` of the configuration.
    """
    task = manifest.task
    point = choose_operating_point(manifest.split("val"), logits["val"], task, rule)
    tables, metrics = {}, {}
    for split, values in logits.items():
        table = prediction_table(
            manifest.split(split),
            values,
            task,
            temperature=point.temperature,
            thresholds=point.cuts,
            report_columns=manifest.report_columns,
        )
        tables[split] = table
        metrics[split] = evaluate_table(table, task, thresholds=point.cuts)
    return Evaluation(point, tables, metrics)


def write(evaluation: Evaluation, task: Task, output: Path) -> None:
    """Write `predictions/<split>.csv` and the figures.

    The figures of test are `figures/<name>.png`, those of validation `figures/val_<name>.png`.
    """
    folder = output / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    for split, table in evaluation.tables.items():
        write_predictions(table, output / PREDICTIONS / f"{split}.csv")
        prefix = "" if split == "test" else f"{split}_"
        figures = draw_figures(table, task, evaluation.point.cuts, split=split)
        for name, figure in figures.items():
            figure.savefig(folder / f"{prefix}{name}.png", dpi=_DPI)
