"""Folders of finished runs, as training leaves them, without training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from helpers.evaluation import evaluation_config
from rich.console import Console

from cxrlab.comparison.compare import ComparedSystem, Comparison, compare_systems
from cxrlab.comparison.contrasts import Contrast
from cxrlab.comparison.runs import ComparedRun
from cxrlab.comparison.summary import print_comparison
from cxrlab.comparison.systems import form_systems
from cxrlab.data.manifest import Manifest, join_findings
from cxrlab.evaluation.stage import evaluate
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
FINDINGS = Task.multilabel(("Effusion", "Mass", "Hernia"))
TASKS = {"binary": TWO, "multiclass": THREE, "multilabel": FINDINGS}
# Of `write_run`: two runs, the second the better one.
SETTINGS: tuple[dict[str, Any], ...] = ({}, {"quality": 2.4, "seed": 5, "backbone": "resnet50"})


def patients_and_truth(
    task: Task, size: int, split: str, *, images_each: int = 1, unknown: float = 0.2
) -> pd.DataFrame:
    """Manifest rows of one split; the same for the same arguments."""
    rng = np.random.default_rng(len(split))
    if task.kind == "multilabel":
        truth = rng.integers(0, 2, (size, len(task.classes))).astype(np.float32)
        truth[rng.random(truth.shape) < unknown] = np.nan
        labels = join_findings(task, truth)
    else:
        truth = (np.arange(size) // images_each % len(task.classes))[:, None]
        labels = [task.classes[index] for index in truth[:, 0]]
    return pd.DataFrame(
        {
            "path": [f"{split}/{i}.png" for i in range(size)],
            "patient_id": [f"{split}{i // images_each}" for i in range(size)],
            "split": split,
            **dict(zip(task.target_columns, truth.T, strict=True)),
            "label": labels,
        }
    )


def draw_logits(
    rows: pd.DataFrame, task: Task, *, quality: float, seed: int
) -> npt.NDArray[np.float64]:
    """Scores whose positives lie `quality` above the negatives; half of the noise is the image's.

    So the errors of two runs go together, as those of two models do.
    """
    target = task.targets(rows)
    if task.kind == "multilabel":
        own = np.nan_to_num(np.asarray(target, dtype=float), nan=0.5)
    else:
        own = np.eye(len(task.classes))[target][:, -task.outputs :]
    common = np.random.default_rng(99).normal(size=own.shape)
    alone = np.random.default_rng(seed).normal(size=own.shape)
    logits = quality * (own - 0.5) + (common + alone) / np.sqrt(2)
    return np.asarray(logits[:, 0] if task.kind == "binary" else logits)


def write_run(
    folder: Path,
    *,
    task: Task = TWO,
    size: int = 200,
    quality: float = 2.0,
    seed: int = 0,
    splits: Sequence[str] = ("val", "test"),
    images_each: int = 1,
    backbone: str = "mobilenetv2_100",
    overrides: Sequence[str] = (),
    rule: str | float = "youden",
    run_id: str | None = None,
    configuration: bool = True,
) -> Path:
    """Write the part of a run's folder that comparisons read."""
    rows = [patients_and_truth(task, size, split, images_each=images_each) for split in splits]
    logits = {
        split: draw_logits(part, task, quality=quality, seed=1000 * len(split) + seed)
        for split, part in zip(splits, rows, strict=True)
    }
    manifest = Manifest("study", Path(), task, pd.concat(rows, ignore_index=True))
    config = evaluation_config(bootstrap=0)
    evaluate(manifest, logits, rule, config).write(folder)
    if configuration:
        plain: dict[str, Any] = {
            "seed": seed,
            "threshold": rule,
            "resume": None,
            "model": {"backbone": backbone},
            "changed": list(overrides),
            "tracking": {"name": folder.name},
        }
        _write_yaml(folder / "config/config.yaml", plain)
        _write_yaml(folder / "config/overrides.yaml", [*overrides, f"seed={seed}"])
    if run_id is not None:
        (folder / "config").mkdir(exist_ok=True)
        (folder / "config/run_id.txt").write_text(run_id)
    return folder


def compare_runs(
    folder: Path, *settings: dict[str, Any], task: Task = TWO, draws: int = 300, **shared: Any
) -> Comparison:
    """The comparison of runs that `write_run` writes into a folder with these settings."""
    runs = [
        ComparedRun.read(write_run(folder / f"run{i}", task=task, **shared, **own))
        for i, own in enumerate(settings)
    ]
    return compare_systems(form_systems(runs, "test"), task, "test", draws=draws)


def printed(comparison: Comparison, width: int = 80) -> str:
    """What a terminal of so many columns shows."""
    stream = io.StringIO()
    print_comparison(comparison, Console(file=stream, width=width))
    return stream.getvalue()


def only(system: ComparedSystem, metric: str, test: str = "bootstrap") -> Contrast:
    """A contrast that there has to be."""
    found = system.contrast(metric, test)
    assert found is not None, f"{metric} {test}"
    return found


def _write_yaml(file: Path, plain: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(plain))
