"""Explanations on disk: arrays, overlays, tables; and as metrics of a run."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd

from cxrlab.explanation import maps
from cxrlab.explanation.quality.evidence import SMOOTHING
from cxrlab.explanation.quality.results import Result, Results
from cxrlab.explanation.quality.summary import MEASURES
from cxrlab.explanation.quality.verdict import verdicts
from cxrlab.files import write_atomically
from cxrlab.layout import EXPLANATIONS

CASES, TABLE, JSON = "explanations.csv", "quality.csv", "quality.json"


def write_results(results: Results, output: Path) -> None:
    """Write `explanations.csv`, `quality.csv`, `quality.json`, and each method's maps.

    The maps of a method are `explanations/<method>/maps.npz` (`maps` float32 (N, S, S), `path`,
    `row` of the predictions, `explained`) and `explanations/<method>/<row>_<name>.png`, the
    overlays.

    Raises:
        OSError: the folder can't be written.
    """
    _write_table(case_table(results), output / CASES)
    _write_table(quality_table(results), output / TABLE)
    plain = json.dumps(quality_plain(results), indent=2, allow_nan=False)
    write_atomically(output / JSON, plain + "\n")
    for result in results.methods:
        _write_maps(results, result, output / EXPLANATIONS / result.slug)


def case_table(results: Results) -> pd.DataFrame:
    """A row a case and method: what is explained, the decision, and every measure."""
    cases = results.cases.table
    named = cases.assign(explained=[results.cases.task.classes[i] for i in cases["explained"]])
    tables = [
        pd.concat([named.assign(method=result.name), result.study.measures], axis=1).assign(
            note=[result.study.unusable.get(place, "") for place in range(len(cases))]
        )
        for result in results.rows
    ]
    return pd.concat(tables, ignore_index=True).drop(columns="patient_id")


def quality_table(results: Results) -> pd.DataFrame:
    """A row a method and measure: `value`, the ends of its interval, cases, why it is empty."""
    rows = []
    for result in results.rows:
        metrics, measures = result.metrics, result.study.measures
        for name in MEASURES:
            interval = metrics.intervals.get(name)
            rows.append(
                {
                    "method": result.name,
                    "measure": name,
                    "value": metrics.values.get(name),
                    "low": interval and interval.low,
                    "high": interval and interval.high,
                    "cases": int(measures[name].notna().sum()) if name in measures else None,
                    "reason": metrics.absent.get(name) or metrics.no_interval.get(name),
                }
            )
    return pd.DataFrame(rows).astype({"cases": "Int64"})


def quality_plain(results: Results) -> dict[str, Any]:
    """All numbers and the verdict as dicts, lists, strings and numbers; None: there is none."""
    table = quality_table(results).astype(object)
    table = table.where(table.notna(), None)
    return {
        "run": results.run,
        "data": results.data,
        "cases": len(results.cases),
        "predicted": results.predicted.flat(),
        "methods": {
            result.name: {
                row["measure"]: {key: row[key] for key in ("value", "low", "high", "cases")}
                for row in table[table["method"] == result.name].to_dict("records")
            }
            | {"cascade": _cascade(result)}
            for result in results.rows
        },
        "failed": results.failed,
        "verdict": [vars(finding) for finding in verdicts(results)],
    }


def quality_metrics(results: Results) -> dict[str, float]:
    """What MLflow keeps: `explanation/<measure>` of the first method, and `<method>/<measure>`."""
    found: dict[str, float] = {}
    for result in results.rows:
        flat = {name: value for name, value in result.metrics.flat().items() if _known(value)}
        found |= {f"{result.slug}/{name}": value for name, value in flat.items()}
        if result is results.methods[0]:
            found |= {f"explanation/{name}": value for name, value in flat.items()}
    return found


def _write_maps(results: Results, result: Result, folder: Path) -> None:
    cases, study = results.cases, result.study
    packed = io.BytesIO()
    np.savez_compressed(
        packed,
        maps=study.maps,
        path=cases.table["path"].to_numpy(dtype=str),
        row=cases.table["row"].to_numpy(np.int64),
        explained=cases.explained,
    )
    write_atomically(folder / "maps.npz", packed.getvalue())
    absolutes = np.stack([maps.absolute_map(each, SMOOTHING) for each in study.maps])
    scale = maps.ColourScale.of(study.maps, absolutes, SMOOTHING)
    for row, path, image, absolute in zip(
        cases.table["row"], cases.table["path"], cases.images, absolutes, strict=True
    ):
        drawn = maps.overlay_rgb(image, absolute, scale)[..., ::-1]
        png = cv2.imencode(".png", np.ascontiguousarray(drawn))[1].tobytes()
        write_atomically(folder / f"{row:05d}_{PurePosixPath(path).stem}.png", png)


def _write_table(table: pd.DataFrame, path: Path) -> None:
    write_atomically(path, table.to_csv(index=False, lineterminator="\n"))


def _cascade(result: Result) -> list[dict[str, Any]]:
    return [
        {"layers": each.layers, "ssim": _mean(each.ssim), "rank": _mean(each.rank)}
        for each in result.study.similarities
    ]


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _known(value: float) -> bool:
    return math.isfinite(value)
