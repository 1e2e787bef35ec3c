"""What the page tells of the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrlab.errors import UserError
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.evaluation.metrics import Metrics
from cxrlab.layout import MODEL_CARD
from cxrlab.serving.demo.answer import told
from cxrlab.serving.predictor import Predictor
from cxrlab.tracking.derived import run_label

_METRICS = {"auroc": "ROC-AUC", "recall": "Sensitivity", "specificity": "Specificity"}
_SPLITS = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class Measured:
    """How well the model does on a split, to be read.

    Attributes:
        split: `validation` or `test`.
        images: how many.
        metrics: value and 95 % interval by name; the interval is empty where the run has none.
    """

    split: str
    images: str
    metrics: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class About:
    """Which model answers.

    Attributes:
        run: its MLflow id, or the name of its folder.
        facts: by name.
        measured: a split each; none of a run whose results are not in its folder.
        gate: whether it knows which images it can't judge.
        card: whether its folder holds a model card.
    """

    run: str
    facts: dict[str, str]
    measured: tuple[Measured, ...]
    gate: bool
    card: bool


def about(folder: Path, predictor: Predictor, method: str) -> About:
    """Read what a run's folder tells of its model."""
    task = predictor.task
    names = task.classes[1:] if task.kind == "binary" else task.classes
    facts = {
        "Classes" if task.kind != "multilabel" else "Findings": ", ".join(task.classes),
        "Looks at": f"{predictor.image_size} x {predictor.image_size} pixels",
    }
    for name, threshold in zip(names, predictor.point.thresholds, strict=False):
        facts[f"Threshold for {name}"] = told(threshold)
    facts["Heat map"] = method.replace("_", " ")
    try:
        metrics = Evaluation.read(folder).metrics
    except UserError:  # a checkpoint alone still predicts
        metrics = {}
    return About(
        run=run_label(folder),
        facts=facts,
        measured=tuple(
            _measured(name, metrics[split]) for split, name in _SPLITS.items() if split in metrics
        ),
        gate=predictor.gate is not None,
        card=(folder / f"{MODEL_CARD}.html").is_file(),
    )


def _measured(split: str, metrics: Metrics) -> Measured:
    shown = {}
    for name, label in _METRICS.items():
        if name in metrics.values:
            ends = metrics.intervals.get(name)
            interval = f"{ends.low:.3f} to {ends.high:.3f}" if ends else ""
            shown[label] = (f"{metrics.values[name]:.3f}", interval)
    return Measured(split, f"{metrics.values['n']:,.0f}", shown)
