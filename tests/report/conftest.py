"""Folders of finished runs, written without training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml
from PIL import Image

from cxrlab.data.audit.balance import check_balance, summarise
from cxrlab.data.audit.findings import Audit, Finding
from cxrlab.data.manifest import Manifest, join_findings
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.evaluation.predictions import write_predictions
from cxrlab.evaluation.predictive_values import predictive_value_table
from cxrlab.evaluation.stage import evaluate
from cxrlab.evaluation.subgroups import subgroup_table
from cxrlab.report.finished import FinishedRun, read_run
from cxrlab.task import Task

PNEUMONIA = Task.exclusive(("NORMAL", "PNEUMONIA"))
SIZES = {"train": 160, "val": 120, "test": 80}
ENVIRONMENT = """# Python 3.11.7 (CPython)
# Linux-6.1-x86_64
# cxrlab 0.1.0, commit abc1234
torch==2.6.0
timm==1.0.15
"""


@dataclass(frozen=True)
class Written:
    folder: Path
    evaluation: Evaluation
    audit: Audit

    def read(self) -> FinishedRun:
        return read_run(self.folder, "run-1", {"cxrlab.weights": "imagenet"})


MakeRun = Callable[..., Written]


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory, tiny_compose) -> MakeRun:
    """Write a run's folder.

    `shift` is added to the logits of test alone, `gap` parts the classes; with `images_a_patient`
    many images fall on few patients.
    """

    def make(
        task: Task = PNEUMONIA,
        *,
        gap: float = 4.0,
        shift: float = 0.0,
        test: bool = True,
        overrides: Sequence[str] = (),
        findings: Sequence[Finding] = (),
        images_a_patient: int = 2,
        sizes: dict[str, int] = SIZES,
        prefix: str = "images",
        groups: Sequence[str] = ("F", "M"),
    ) -> Written:
        folder = tmp_path_factory.mktemp("run")
        config = tiny_compose("evaluation.bootstrap=200", f"evaluation.test={test}", *overrides)
        rng = np.random.default_rng(0)
        parts, logits = [], {}
        for split, size in sizes.items():
            rows, found = _split(task, split, size, gap, images_a_patient, prefix, groups, rng)
            parts.append(rows)
            logits[split] = found + (shift if split == "test" else 0.0)
        manifest = Manifest("made", folder, task, pd.concat(parts, ignore_index=True), ("sex",))
        used = {split: logits[split] for split in (("val", "test") if test else ("val",))}
        evaluation = evaluate(manifest, used, config.threshold, config.evaluation)
        evaluation.write(folder)
        derived(evaluation, folder)
        audit = Audit(len(manifest), summarise(manifest), (*findings, *check_balance(manifest)))
        plain = config.plain()
        _write(folder / "config/config.yaml", yaml.safe_dump(plain, sort_keys=False))
        _write(folder / "config/overrides.yaml", yaml.safe_dump(list(overrides)))
        _write(folder / "config/environment.txt", ENVIRONMENT)
        _write(folder / "data/audit.json", json.dumps(audit.to_json()))
        _write(folder / "data/manifest.csv", manifest.table.to_csv(index=False))
        history(evaluation).to_csv(folder / "metrics.csv", index=False)
        pictures(folder, task)
        return Written(folder, evaluation, audit)

    return make


@pytest.fixture(scope="session")
def written(make_run: MakeRun) -> Written:
    """A sound run of two classes, whose threshold does not hold on test."""
    return make_run(shift=2.0, overrides=("data=chest_xray",))


@pytest.fixture
def copied(written: Written, tmp_path: Path) -> Written:
    """A copy of `written` to break."""
    folder = shutil.copytree(
        written.folder, tmp_path / "run", ignore=shutil.ignore_patterns("report.html")
    )
    return Written(folder, written.evaluation, written.audit)


def derived(evaluation: Evaluation, folder: Path) -> None:
    """The tables of subgroups and predictive values, as a run writes them."""
    cuts = evaluation.point.cuts
    for split, table in evaluation.tables.items():
        groups = subgroup_table(table, evaluation.task, ["sex"], thresholds=cuts, draws=200)
        write_predictions(groups, folder / f"evaluation/subgroups_{split}.csv")
        if evaluation.task.kind != "multiclass":
            values = predictive_value_table(table, evaluation.task, thresholds=cuts, draws=200)
            write_predictions(values, folder / f"evaluation/predictive_values_{split}.csv")


def history(evaluation: Evaluation, epochs: int = 4, steps: int = 30) -> pd.DataFrame:
    """What a training logs: `train/loss` each step, the rest each epoch, results at the end."""
    rows: list[tuple[str, int, float, int]] = []
    for epoch in range(epochs):
        for step in range(epoch * steps, (epoch + 1) * steps):
            rows.append(("train/loss", step, 0.7 * 0.98**step, 1000 * step))
        last = (epoch + 1) * steps - 1
        rows.append(("lr", last, 1e-3 / (epoch + 1), 1000 * last))
        rows.append(("val/loss", last, 0.6 - 0.1 * epoch, 1000 * last))
        rows.append(("val/auroc", last, (0.8, 0.9, 0.95, 0.93)[epoch % 4], 1000 * last))
        rows.append(("train/images_per_second", last, 40.0 + epoch, 1000 * last))
    end = epochs * steps
    rows += [(name, end, value, 1000 * end) for name, value in evaluation.values().items()]
    rows.append(("explanation/completeness_error", end, 0.02, 1000 * end))
    return pd.DataFrame(rows, columns=["name", "step", "value", "time"])


def pictures(folder: Path, task: Task) -> None:
    """Figures and explanations of a run, as noise."""
    rng = np.random.default_rng(1)
    for stem in ("roc", "scores", "reliability", "val_roc", "augmentation", "confusion_matrix"):
        _picture(folder / f"figures/{stem}.png", 60, 40, rng)
    wrong = (
        ("wrong", "correct") if task.kind == "multiclass" else ("false_negatives", "true_positives")
    )
    for stem in (
        "panel_epoch_001",
        "panel_epoch_003",
        "panel_epoch_010",
        *(f"gallery_{k}" for k in wrong),
    ):
        _picture(folder / f"explanations/{stem}.png", 90, 30, rng)


def _picture(file: Path, width: int, height: int, rng: np.random.Generator) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(file)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def _split(
    task: Task,
    split: str,
    size: int,
    gap: float,
    images_a_patient: int,
    prefix: str,
    groups: Sequence[str],
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Rows of a manifest, each patient of one truth, and the logits of a model."""
    noise = rng.normal(size=(size, task.outputs))
    patient = np.arange(size) // images_a_patient
    if task.kind == "multilabel":
        truth = ((patient[:, None] >> np.arange(task.outputs)) % 2).astype(np.float32)
        truth[-images_a_patient:, 0] = np.nan
        logits = gap * (np.nan_to_num(truth) - 0.5) + noise
        labels = join_findings(task, truth)
    else:
        target = patient % len(task.classes)
        truth = target[:, None]
        one_hot = np.eye(len(task.classes))[target]
        logits = gap * (one_hot[:, -task.outputs :] - 0.5) + noise
        labels = [task.classes[index] for index in target]
    rows = pd.DataFrame(
        {
            "path": [f"{prefix}/{split}_{number}.png" for number in range(size)],
            **dict(zip(task.target_columns, truth.T, strict=True)),
            "label": labels,
            "patient_id": [f"{split}{number}" for number in patient],
            "split": split,
            "sex": [groups[number % len(groups)] for number in patient // 4],
        }
    )
    return rows, logits[:, 0] if task.kind == "binary" else logits
