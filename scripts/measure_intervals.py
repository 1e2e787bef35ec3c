"""How often the 95 % intervals hold the truth, in simulated studies.

    python scripts/measure_intervals.py
    python scripts/measure_intervals.py --patients 40 --separation 5 --trials 1000

Each patient has one to four images, one label and an effect that all the images share. The truth
of each metric is that of a study so large that it has no error to speak of. A good interval holds
it in 95 of 100 studies and misses it as often on one side as on the other.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.intervals import add_intervals
from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.predictions import prediction_table
from cxrlab.task import Task

TASK = Task.exclusive(("NORMAL", "PNEUMONIA"))
THRESHOLDS = (0.5,)
METRICS = (
    "auroc", "auprc", "accuracy", "balanced_accuracy", "recall", "specificity", "precision", "f1",
    "brier", "nll", "ece",
)  # fmt: skip
_LARGE = 400_000


def study(patients: int, separation: float, seed: int) -> pd.DataFrame:
    """The prediction table of one study.

    Args:
        patients: half of them ill, by chance.
        separation: distance of the classes' mean logits; the SD within a class is 1.41.
        seed: of the study.
    """
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    ill = (rng.random(patients) < 0.5)[patient]
    effect = rng.normal(size=patients)[patient]
    logits = separation * (ill - 0.5) + effect + rng.normal(size=patient.size)
    rows = pd.DataFrame({"path": np.arange(patient.size), "patient_id": patient, "split": "test"})
    rows = rows.assign(target=ill.astype(int), label=np.where(ill, *TASK.classes[::-1]))
    return prediction_table(rows, logits, TASK, calibration=Calibration(), thresholds=THRESHOLDS)


def misses(patients: int, separation: float, trials: int, draws: int) -> dict[str, list[int]]:
    """Of each metric: studies whose interval lies above, below, and around the truth."""
    large = study(_LARGE, separation, seed=10**6)
    truth = evaluate_table(large, TASK, thresholds=THRESHOLDS).values
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for trial in range(trials):
        table = study(patients, separation, seed=trial)
        metrics = evaluate_table(table, TASK, thresholds=THRESHOLDS)
        metrics = add_intervals(
            metrics, table, TASK, thresholds=THRESHOLDS, draws=draws, seed=trial
        )
        for name in METRICS:
            if interval := metrics.intervals.get(name):
                side = 0 if interval.low > truth[name] else 1 if interval.high < truth[name] else 2
                found[name][side] += 1
    return found


def main() -> None:
    """Print a table of coverage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--separation", type=float, default=3.0)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=2000)
    chosen = parser.parse_args()
    found = misses(chosen.patients, chosen.separation, chosen.trials, chosen.draws)
    table = Table("metric", "held", "too high", "too low", "no interval")
    for name, (above, below, held) in found.items():
        total = above + below + held
        shares = (f"{100 * count / total:.1f} %" for count in (held, above, below))
        table.add_row(name, *shares, str(chosen.trials - total))
    Console().print(table)


if __name__ == "__main__":
    main()
