"""From the logits of a finished run to its tables, numbers and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cxrlab.augmentation.shifts import ShiftedPass
from cxrlab.config.schema import EvaluationConfig
from cxrlab.data.manifest import Manifest
from cxrlab.evaluation.calibration import Calibration, fit_calibration
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.evaluation.figures import draw_figures
from cxrlab.evaluation.grouping import report_columns
from cxrlab.evaluation.intervals import add_intervals
from cxrlab.evaluation.metrics import Metrics, evaluate_table
from cxrlab.evaluation.operating_point import OperatingPoint, margins
from cxrlab.evaluation.predictions import prediction_table, scores, write_predictions
from cxrlab.evaluation.predictive_figures import draw_predictive_values
from cxrlab.evaluation.predictive_values import predictive_value_table
from cxrlab.evaluation.subgroup_figures import draw_subgroups
from cxrlab.evaluation.subgroups import subgroup_table
from cxrlab.evaluation.threshold import Threshold, choose_threshold, choose_thresholds
from cxrlab.layout import EVALUATION, FIGURES
from cxrlab.task import Task

_DPI = 120
SHIFTED = "val_shifted"


def choose_operating_point(
    rows: pd.DataFrame,
    logits: NDArray[np.float64],
    task: Task,
    rule: str | float,
    config: EvaluationConfig,
    origin: str = "val",
) -> OperatingPoint:
    """Calibration, thresholds and the margin of what is to be reviewed, from validation.

    Args:
        rows: the validation rows of a manifest.
        logits: (N,) or (N, K) in their order.
        task: what is predicted.
        rule: the key `threshold` of the configuration.
        config: how to calibrate.
        origin: what the thresholds will say that they were chosen on.
    """
    target = task.targets(rows)
    table = prediction_table(rows, logits, task, calibration=Calibration(), thresholds=())
    probability = scores(table, task, "probability")
    calibration = fit_calibration(config.calibration, logits, target)
    cuts: tuple[Threshold, ...] = ()
    if task.kind == "binary":
        cuts = (choose_threshold(rule, target, probability, origin),)
    elif task.kind == "multilabel":
        truth = target.astype(np.float32)
        cuts = choose_thresholds(rule, truth, probability, task.classes, origin)
    point = OperatingPoint(calibration, cuts)
    found = margins(logits.reshape(len(logits), -1), point.cuts)
    return replace(point, margin=float(np.quantile(found, config.review)))


def evaluate(
    manifest: Manifest,
    logits: Mapping[str, NDArray[np.float64]],
    rule: str | float,
    config: EvaluationConfig,
    shifted: Sequence[ShiftedPass] = (),
) -> Evaluation:
    """Choose on validation, measure everywhere.

    Args:
        manifest: with the splits that `logits` names.
        logits: by split, in the manifest's order; `val` is needed.
        rule: the key `threshold` of the configuration.
        config: how to calibrate and how often to draw patients.
        shifted: passes over the validation images, changed. The operating point is then chosen on
            these and the images as they are, all together, and the shifted ones are told of as a
            split of their own, `val_shifted`.
    """
    task = manifest.task
    rows = {split: manifest.split(split) for split in logits}
    values = dict(logits)
    chosen_on = ["val"]
    columns = {split: list(manifest.report_columns) for split in logits}
    if shifted:
        rows[SHIFTED] = _shifted_rows(rows["val"], shifted)
        values[SHIFTED] = np.concatenate([found.logits for found in shifted])
        columns[SHIFTED] = ["shift"]
        chosen_on.append(SHIFTED)
    point = choose_operating_point(
        pd.concat([rows[split] for split in chosen_on], ignore_index=True),
        np.concatenate([values[split] for split in chosen_on]),
        task,
        rule,
        config,
        " and ".join(chosen_on),
    )
    tables = {
        split: prediction_table(
            rows[split],
            values[split],
            task,
            calibration=point.calibration,
            thresholds=point.cuts,
            report_columns=columns[split],
        )
        for split in rows
    }
    metrics = {s: measure(table, task, point, config.bootstrap) for s, table in tables.items()}
    return Evaluation(task, point, tables, metrics)


def _shifted_rows(rows: pd.DataFrame, shifted: Sequence[ShiftedPass]) -> pd.DataFrame:
    """The validation rows once for each pass, with its `shift`, as a split of their own."""
    parts = [rows.assign(split=SHIFTED, shift=found.names) for found in shifted]
    return pd.concat(parts, ignore_index=True)


def measure(table: pd.DataFrame, task: Task, point: OperatingPoint, draws: int) -> Metrics:
    """Every metric of a prediction table, with intervals from so many draws of patients, if any."""
    metrics = evaluate_table(table, task, thresholds=point.cuts)
    if not draws:
        return metrics
    return add_intervals(metrics, table, task, thresholds=point.cuts, draws=draws)


def write(evaluation: Evaluation, output: Path, draws: int) -> None:
    """Write the tables, `evaluation/results.json` and the figures.

    The tables are `predictions/<split>.csv`, `evaluation/subgroups_<split>.csv` and, but for more
    than two classes, `evaluation/predictive_values_<split>.csv`; the figures of test are
    `figures/<name>.png`, those of other splits `figures/<split>_<name>.png`.

    Args:
        evaluation: of the run.
        output: its folder.
        draws: samples of patients for the intervals of subgroups and predictive values; 0: none.
    """
    evaluation.write(output)
    folder = output / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    for split in evaluation.tables:
        prefix = "" if split == "test" else f"{split}_"
        for name, figure in _figures(evaluation, split, output, draws).items():
            figure.savefig(folder / f"{prefix}{name}.png", dpi=_DPI)


def _figures(evaluation: Evaluation, split: str, output: Path, draws: int) -> dict[str, Figure]:
    """Write the tables that some figures are drawn from, and draw all."""
    table, task, cuts = evaluation.tables[split], evaluation.task, evaluation.point.cuts
    figures = draw_figures(table, task, cuts, split=split)
    if columns := report_columns(table, task):
        groups = subgroup_table(table, task, columns, thresholds=cuts, draws=draws)
        write_predictions(groups, output / EVALUATION / f"subgroups_{split}.csv")
        figures["subgroups"] = draw_subgroups(groups, evaluation.metrics[split], task, split=split)
    if task.kind != "multiclass":
        values = predictive_value_table(table, task, thresholds=cuts, draws=draws)
        write_predictions(values, output / EVALUATION / f"predictive_values_{split}.csv")
    if task.kind == "binary":
        figures["predictive_values"] = draw_predictive_values(
            table, task, thresholds=cuts, split=split, draws=draws
        )
    return figures
