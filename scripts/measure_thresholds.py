"""Which rule finds a threshold that also holds on changes of the images it never saw.

    python scripts/measure_thresholds.py outputs/RUN

Of a run with two classes and `evaluation=shifted`: the threshold is chosen on a random half of the
validation patients, on their images as they are or on these and all shifts but one, and balanced
accuracy is measured on the other half's images through the shift that was left out. Validation
alone is read. The SD of the cut is in logits.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from scipy.special import logit

from cxrlab.console import new_table, print_table
from cxrlab.evaluation.predictions import read_predictions
from cxrlab.evaluation.threshold import choose_threshold

RULES = ("0.5", "youden", "balanced")


def main() -> None:
    """Draw halves of the patients, choose, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a run with evaluation=shifted")
    parser.add_argument("--draws", type=int, default=20, help="halves of the patients")
    options = parser.parse_args()
    folder = options.run / "predictions"
    plain = read_predictions(folder / "val.csv")
    shifted = read_predictions(folder / "val_shifted.csv")
    cuts, found = defaultdict(list), defaultdict(list)
    for name, cut, accuracy in measure(plain, shifted, options.draws):
        cuts[name].append(cut)
        found[name].append(accuracy)
    table = new_table("rule")
    for heading in ("chosen on", "balanced acc.", "lowest 5 %", "SD of cut"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (rule, where), values in found.items():
        spread = np.std(logit(np.clip(cuts[rule, where], 1e-6, 1 - 1e-6)))
        low = np.quantile(values, 0.05)
        table.add_row(rule, where, f"{np.mean(values):.3f}", f"{low:.3f}", f"{spread:.2f}")
    print_table("A change that was not chosen on", table, Console())


def measure(
    plain: pd.DataFrame, shifted: pd.DataFrame, draws: int
) -> Iterator[tuple[tuple[str, str], float, float]]:
    """Rule and what it was chosen on, the cut, and its balanced accuracy where it was not."""
    generator = np.random.default_rng(0)
    patients = plain["patient_id"].unique()
    for _ in range(draws):
        chosen = generator.choice(patients, len(patients) // 2, replace=False)
        here, there = plain["patient_id"].isin(chosen), ~shifted["patient_id"].isin(chosen)
        for shift in shifted["shift"].unique():
            other = shifted[~there & (shifted["shift"] != shift)]
            left_out = shifted[there & (shifted["shift"] == shift)]
            seen = {"val": plain[here], "val and shifts": pd.concat([plain[here], other])}
            for where, table in seen.items():
                for rule in RULES:
                    value = choose_threshold(rule, table["target"], table["probability"]).value
                    yield (rule, where), value, balanced_accuracy(left_out, value)


def balanced_accuracy(table: pd.DataFrame, threshold: float) -> float:
    """Mean of sensitivity and specificity."""
    right = (table["probability"] >= threshold) == (table["target"] == 1)
    return float(right.groupby(table["target"]).mean().mean())


if __name__ == "__main__":
    main()
