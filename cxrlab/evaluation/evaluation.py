"""What a run says of its splits, in memory and on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cxrlab.errors import UserError, warn
from cxrlab.evaluation.metrics import Interval, Metrics
from cxrlab.evaluation.operating_point import OperatingPoint
from cxrlab.evaluation.predictions import read_predictions, write_predictions
from cxrlab.files import write_atomically
from cxrlab.layout import PREDICTIONS, RESULTS_FILE
from cxrlab.task import Task

# Of test against validation: how far the operating point has moved.
_DRIFTING = ("recall", "specificity")


@dataclass(frozen=True)
class Evaluation:
    """What a run says of its splits.

    Attributes:
        task: what is predicted.
        point: chosen on validation alone.
        tables: prediction table by split.
        metrics: by split, with intervals.
    """

    task: Task
    point: OperatingPoint
    tables: dict[str, pd.DataFrame]
    metrics: dict[str, Metrics]

    def values(self) -> dict[str, float]:
        """Every metric and end of an interval as `split/name`, `drift/name`, `temperature`."""
        flat = {f"{s}/{k}": v for s, m in self.metrics.items() for k, v in m.flat().items()}
        flat |= {f"drift/{name}": value for name, value in self.drift().items()}
        return flat | {"temperature": self.point.calibration.temperature}

    def drift(self) -> dict[str, float]:
        """Sensitivity and specificity at the thresholds, on test less on validation."""
        if not {"val", "test"} <= self.metrics.keys():
            return {}
        val, test = self.metrics["val"].values, self.metrics["test"].values
        return {n: test[n] - val[n] for n in _DRIFTING if n in val and n in test}

    def write(self, output: Path) -> None:
        """Write `predictions/<split>.csv` and `evaluation/results.json` into a run's folder.

        Raises:
            UserError: the folder can't be written to, or the disk is full.
        """
        for split, table in self.tables.items():
            write_predictions(table, output / PREDICTIONS / f"{split}.csv")
        plain = {
            "task": asdict(self.task),
            "operating_point": asdict(self.point),
            "splits": {split: asdict(metrics) for split, metrics in self.metrics.items()},
        }
        write_atomically(output / RESULTS_FILE, json.dumps(plain, indent=2) + "\n")

    @classmethod
    def read(cls, output: Path) -> Evaluation:
        """Read what `write` wrote.

        Raises:
            UserError: the folder holds no evaluation, or a damaged one.
        """
        file = output / RESULTS_FILE
        if not file.is_file():
            raise UserError(
                f"{output} holds no {RESULTS_FILE}: its run has not finished, or is of an older "
                "version; choose another run"
            )
        try:
            plain = json.loads(file.read_text())
            task = Task(plain["task"]["kind"], tuple(plain["task"]["classes"]))
            point = OperatingPoint.from_plain(plain["operating_point"])
            metrics = {split: _metrics(found) for split, found in plain["splits"].items()}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file} is damaged ({type(error).__name__}: {error}); choose another run"
            ) from error
        files = {split: output / PREDICTIONS / f"{split}.csv" for split in metrics}
        tables = {s: read_predictions(file) for s, file in files.items() if file.is_file()}
        if not tables:
            raise UserError(f"{output / PREDICTIONS}: no predictions; choose another run")
        if lost := sorted(metrics.keys() - tables.keys()):
            warn(
                f"{files[lost[0]]} is missing, so nothing is told of {', '.join(lost)}; "
                "bring it back, or train again"
            )
        return cls(task, point, tables, {split: metrics[split] for split in tables})


def _metrics(plain: Mapping[str, Any]) -> Metrics:
    intervals = {name: Interval(**ends) for name, ends in plain["intervals"].items()}
    return Metrics(plain["values"], plain["absent"], intervals, plain["no_interval"])
