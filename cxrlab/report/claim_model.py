"""Answers to CLAIM items 22 to 34: model, training and evaluation."""

from __future__ import annotations

from typing import Any

from cxrlab.report.claim_answer import Answer, Answers, Material, left_to_authors
from cxrlab.report.finished import FinishedRun
from cxrlab.report.tables import split_name
from cxrlab.report.words import joined, number, sentence, two, value_and_span

_MAIN_PACKAGES = ("torch", "pytorch-lightning", "timm", "torchmetrics", "scikit-learn")


def _model(material: Material) -> Answer:
    run = material.run
    model = run.setting("model")
    if not model:
        return Answer(authors="Describe the network, its inputs and its outputs.")
    hidden = model.get("hidden")
    head = f"a dense layer of {hidden}, dropout {model.get('dropout')}" if hidden else (
        f"dropout {model.get('dropout')}"
    )  # fmt: skip
    side, outputs = run.setting("data.image_size"), run.task.outputs
    link = "sigmoid" if run.task.kind != "multiclass" else "softmax"
    return Answer(
        f"{model.get('backbone')} (timm) on {side} x {side} gray pixels, pooled; {head}; "
        f"{outputs} logit{'s' if outputs > 1 else ''}, {link}.",
        anchor="configuration",
    )


def _software(material: Material) -> Answer:
    software = material.run.software
    found = [f"{name} {v}" for name in _MAIN_PACKAGES if (v := software.packages.get(name))]
    if not found:
        return Answer(authors="Name the libraries and their versions.")
    own = [f"cxrlab {software.own} (commit {software.commit})"] if software.own else []
    python = [f"Python {software.python}"] if software.python else []
    return Answer(f"{', '.join([*own, *python, *found])}.", anchor="provenance")


def _first_weights(material: Material) -> Answer:
    run = material.run
    tag, asked = run.tags.get("cxrlab.weights"), run.setting("model.weights")
    told = {
        "imagenet": "Backbone pretrained on ImageNet",
        "phantom": "Backbone pretrained on synthetic radiographs",
        "random": "Random weights",
    }.get(tag or "", f"Backbone from weights with digest {tag}" if tag else "")
    if told:
        return Answer(
            f"{told}; the head is random, seed {run.setting('seed')}.", anchor="provenance"
        )
    if asked is not None:
        return Answer(
            f"Asked for: {asked}; the head is random, seed {run.setting('seed')}.",
            "Which weights were found.",
            "configuration",
        )
    return Answer(authors="How weights were initialised.")


def _training(material: Material) -> Answer:
    run = material.run
    if not run.config:
        return Answer(authors="Describe training, augmentation and hyperparameters.")
    fixed = run.setting("model.freeze_backbone")
    parts = [
        f"{run.setting('optimizer.name')}, learning rate {run.setting('optimizer.lr')} "
        f"(backbone x {run.setting('optimizer.backbone_lr_factor')})",
        f"schedule {run.setting('scheduler.name')}",
        f"batches of {run.setting('data.batch_size')}",
        f"at most {run.setting('trainer.max_epochs')} epochs",
        f"augmentation {run.setting('augmentation.name')}",
        _loss(run.setting("loss", {})),
    ]
    told = "Backbone fixed; " if fixed else "All weights trained; "
    return Answer(f"{told}{', '.join(parts)}.", anchor="training")


def _loss(loss: dict[str, Any]) -> str:
    parts = ["cross-entropy"]
    if loss.get("focal_gamma"):
        parts.append(f"focal gamma {loss['focal_gamma']}")
    if loss.get("label_smoothing"):
        parts.append(f"label smoothing {loss['label_smoothing']}")
    if loss.get("mixup"):
        parts.append(f"mixup (alpha {loss['mixup']})")
    if loss.get("class_weights") == "balanced":
        parts.append("classes weighed equally")
    return " with ".join([parts[0], joined(parts[1:])]) if parts[1:] else parts[0]


def _selection(material: Material) -> Answer:
    course = material.course
    if course.best_epoch is None or course.best_auroc is None:
        return Answer(authors="How the final model was chosen.")
    return Answer(
        f"The epoch with the highest validation AUROC: {course.best_epoch} of {course.epochs}, "
        f"{two(course.best_auroc)}.",
        anchor="training",
    )


def _ensemble(material: Material) -> Answer:
    if not material.run.config:
        return Answer(authors="Whether models were combined.")
    decay = material.run.setting("trainer.ema_decay")
    average = f" Its weights are a moving average over steps (decay {decay})." if decay else ""
    return Answer(f"None: one network.{average}", anchor="configuration")


def _metrics(material: Material) -> Answer:
    return Answer(
        "AUROC, average precision, sensitivity, specificity, precision, F1, accuracy, Brier score, "
        "log loss, calibration error.",
        "Comparison with published models.",
        "metrics",
    )


def _uncertainty(material: Material) -> Answer:
    run = material.run
    if not any(metrics.intervals for metrics in run.evaluation.metrics.values()):
        return Answer(authors="Intervals: this run has none.")
    draws = run.setting("evaluation.bootstrap")
    samples = f"{number(draws)} samples" if draws else "samples"
    return Answer(
        f"95 % intervals, bias-corrected and accelerated, from {samples} of patients drawn with "
        "replacement.",
        anchor="metrics",
    )


def _robustness(material: Material) -> Answer:
    run = material.run
    parts = ["the operating point on validation and on test"] if run.evaluation.drift() else []
    if run.task.kind == "binary":
        parts.append("the figures at 0.5")
    if run.subgroups:
        parts.append("subgroups")
    shortcuts = run.audit and any(f.check.startswith("shortcut") for f in run.audit.findings)
    if shortcuts:
        parts.append("probes for shortcuts in the data")
    text = joined(parts)
    return Answer(
        text and f"{sentence(text)}.",
        "Other seeds, folds, devices and degraded images.",
        "operating" if text else "",
    )


def _explanations(material: Material) -> Answer:
    run, album = material.run, material.album
    if not (album.panels or album.failures or album.successes):
        return Answer(authors="This run explained no decision.")
    method = str(run.setting("explanation.method", "attribution")).replace("_", " ")
    return Answer(
        f"{sentence(method)} maps of {_explained(material)}{_validated(run)}.",
        anchor="explanations",
    )


def _explained(material: Material) -> str:
    album = material.album
    parts = ["fixed validation images while it learnt"] if album.panels else []
    if album.failures or album.successes:
        parts.append("the surest decisions, right and wrong")
    return joined(parts)


def _validated(run: FinishedRun) -> str:
    error, hits = (
        run.logged("explanation/completeness_error"),
        run.logged("explanation/pointing_game"),
    )
    parts = [] if error is None else [f"completeness error {number(100 * error)} %"]
    parts += [] if hits is None else [f"pointing game {two(hits)} against known lesions"]
    return f"; {', '.join(parts)}" if parts else ""


def _internal(material: Material) -> Answer:
    run = material.run
    if not run.tested:
        return Answer(
            f"On {split_name(run.split)} only; test was not read.", "An internal test.", "metrics"
        )
    return Answer(
        f"AUROC on test {value_and_span(run.metrics, 'auroc')}"
        + (
            f", on validation {value_and_span(run.evaluation.metrics['val'], 'auroc')}."
            if "val" in run.evaluation.metrics
            else "."
        ),
        anchor="metrics",
    )


def _external(material: Material) -> Answer:
    site = material.run.setting("data.site")
    if material.run.setting("data.split") == "site" and site is not None:
        return Answer(
            f"Test is the site {site}, which took no part in training.",
            "Images of another institution's own collection.",
            "metrics",
        )
    return Answer(
        authors="None in this run; python -m cxrlab.evaluate run=RUN data=... scores others."
    )


ANSWERS: Answers = {
    22: _model,
    23: _software,
    24: _first_weights,
    25: _training,
    26: _selection,
    27: _ensemble,
    28: _metrics,
    29: _uncertainty,
    30: _robustness,
    31: _explanations,
    32: _internal,
    33: _external,
    34: left_to_authors("Registry and number, where the study is a trial."),
}
