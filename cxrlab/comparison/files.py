"""A comparison as a tidy table, as JSON and as metrics of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from cxrlab.comparison.compare import ComparedSystem, Comparison
from cxrlab.comparison.contrasts import Contrast, compared_metrics
from cxrlab.files import write_atomically

CSV, JSON = "comparison.csv", "comparison.json"
_COLUMNS = (
    "system", "metric", "value", "low", "high", "difference", "difference_low", "difference_high",
    "p", "p_adjusted", "test", "mean", "sd", "seeds", "reason",
)  # fmt: skip


def write_comparison(comparison: Comparison, output: Path) -> None:
    """Write `comparison.csv` and `comparison.json` into a folder."""
    text = comparison_table(comparison).to_csv(index=False, lineterminator="\n")
    write_atomically(output / CSV, text)
    plain = json.dumps(comparison_plain(comparison), indent=2, allow_nan=False)
    write_atomically(output / JSON, plain + "\n")


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row a metric of the first system, and one a metric and test of each other system.

    Columns: `system`; `metric`; its `value` with the ends `low` and `high` of the 95 % interval;
    `difference` to the first system with its ends; `p`, and Holm's `p_adjusted`; the `test` that
    these are of; `mean` and `sd` over so many `seeds`; the `reason` why something is empty.
    """
    rows = [row for system in comparison.systems for row in _rows(system, comparison)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def comparison_plain(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison as dicts, lists, strings and numbers; None for what there is not."""
    return {
        "task": asdict(comparison.task),
        "split": comparison.split,
        "images": comparison.images,
        "patients": comparison.patients,
        "independent_images": comparison.independent,
        "draws": comparison.draws,
        "reference": comparison.systems[0].name,
        "systems": [
            {
                "name": system.name,
                "runs": list(system.runs),
                "thresholds": list(system.view.thresholds),
                "metrics": asdict(system.metrics),
                "seeds": {name: asdict(spread) for name, spread in system.spread.items()},
                "contrasts": [asdict(contrast) for contrast in system.contrasts],
            }
            for system in comparison.systems
        ],
    }


def comparison_metrics(comparison: Comparison) -> dict[str, float]:
    """What MLflow keeps: `A/auroc`, `B/auroc`, `B-A/auroc`, `B-A/auroc_p`, ... by letter."""
    found: dict[str, float] = {}
    names = compared_metrics(comparison.task)
    for letter, system in zip(letters(comparison), comparison.systems, strict=True):
        values = system.metrics.values
        found |= {f"{letter}/{name}": values[name] for name in names if name in values}
        found |= {f"{letter}/{name}_sd": spread.sd for name, spread in system.spread.items()}
        for contrast in system.contrasts:
            found |= _contrast_metrics(f"{letter}-A", contrast)
    return found


def letters(comparison: Comparison) -> list[str]:
    """A short name a system: A is the reference."""
    count = len(comparison.systems)
    return [chr(ord("A") + i) if i < 26 else f"S{i + 1}" for i in range(count)]


def _contrast_metrics(pair: str, contrast: Contrast) -> dict[str, float]:
    bootstrap = contrast.test == "bootstrap"
    name = f"{pair}/{contrast.metric}"
    parts = {f"{name}_p" if bootstrap else f"{name}_p_{contrast.test}": contrast.p}
    if bootstrap:
        parts[name] = contrast.difference
        if contrast.interval is not None:
            parts |= {
                f"{name}_low": contrast.interval.low,
                f"{name}_high": contrast.interval.high,
            }
    return {key: value for key, value in parts.items() if value is not None}


def _rows(system: ComparedSystem, comparison: Comparison) -> Iterator[dict[str, Any]]:
    if not system.contrasts:
        for name in compared_metrics(comparison.task):
            yield _value(system, name)
    for contrast in system.contrasts:
        interval = contrast.interval
        yield _value(system, contrast.metric) | {
            "difference": contrast.difference,
            "difference_low": interval and interval.low,
            "difference_high": interval and interval.high,
            "p": contrast.p,
            "p_adjusted": contrast.p_adjusted,
            "test": contrast.test,
            "reason": contrast.reason,
        }


def _value(system: ComparedSystem, name: str) -> dict[str, Any]:
    metrics, spread = system.metrics, system.spread.get(name)
    interval = metrics.intervals.get(name)
    return {
        "system": system.name,
        "metric": name,
        "value": metrics.values.get(name),
        "low": interval and interval.low,
        "high": interval and interval.high,
        "mean": spread and spread.mean,
        "sd": spread and spread.sd,
        "seeds": spread and spread.seeds,
        "reason": metrics.absent.get(name) or metrics.no_interval.get(name),
    }
