"""What is compared: finished runs on the images that all of them have, seeds taken together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrlab.comparison.align import common_images
from cxrlab.comparison.contrasts import compared_metrics
from cxrlab.comparison.runs import ComparedRun, system_names
from cxrlab.errors import UserError, warn
from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.predictions import score_columns, scores
from cxrlab.evaluation.threshold import choose_threshold, choose_thresholds
from cxrlab.task import Task

# Keys that make no other model: the draw itself, and how a run was begun and kept.
_APART = ("seed", "resume", "tracking")


@dataclass(frozen=True)
class Spread:
    """Of the seeds of one configuration.

    Attributes:
        mean: over the seeds.
        sd: with n - 1 in the denominator.
        seeds: n.
    """

    mean: float
    sd: float
    seeds: int


@dataclass(frozen=True)
class Member:
    """One run of a system, and its predictions of the compared images."""

    run: ComparedRun
    table: pd.DataFrame


@dataclass(frozen=True)
class System:
    """One or more runs that predict as one.

    Attributes:
        name: what tells it apart, in words.
        members: its runs. Several are the seeds of one configuration, and predict by the mean of
            their calibrated probabilities.
        table: columns of `prediction_table`; in the same order of images for all systems.
        thresholds: as for `evaluate_table`.
    """

    name: str
    members: tuple[Member, ...]
    table: pd.DataFrame
    thresholds: tuple[float, ...]


def form_systems(runs: Sequence[ComparedRun], split: str) -> list[System]:
    """Put runs on the same images, and runs that differ in their seed alone together.

    A run joins the first system of its configuration that does not have its seed yet: the same
    seed again is another system, such as the same training by changed code. Where all runs would
    make one system, each is one, and last their ensemble.

    Args:
        runs: at least two.
        split: which predictions to compare.

    Raises:
        UserError: the runs can't be compared: see `common_images`.
    """
    members = [Member(*pair) for pair in zip(runs, common_images(runs, split), strict=True)]
    groups = _groups(members)
    if len(groups) == 1:
        warn(
            "the runs differ in their seed alone, so each is compared by itself, and their "
            "ensemble too; name runs of another configuration to compare with their mean"
        )
        groups = [*([member] for member in members), members]
    named = zip(system_names([[m.run for m in group] for group in groups]), groups, strict=True)
    return [_system(name, group) for name, group in named]


def ensemble(tables: Sequence[pd.DataFrame], task: Task) -> pd.DataFrame:
    """The prediction table of the mean of calibrated probabilities (a linear opinion pool).

    Args:
        tables: of the same images in the same order.
        task: what is predicted.

    Returns:
        The first table with the mean as `probability` and as `calibrated`; a mean of probabilities
        has no logits, and the decisions of one run are not those of the mean.
    """
    mean = np.mean([scores(table, task, "calibrated") for table in tables], axis=0)
    columns = mean.reshape(len(mean), -1).T
    old = [name for name in map(str, tables[0]) if name.startswith("decision")]
    table = tables[0].drop(columns=[*old, *score_columns(task, "logit")])
    for kind in ("probability", "calibrated"):
        table = table.assign(**dict(zip(score_columns(task, kind), columns, strict=True)))
    return table


def seed_spread(system: System, task: Task) -> dict[str, Spread]:
    """Mean and SD over the runs of the metrics that all of them have."""
    if len(system.members) < 2:
        return {}
    each = [
        evaluate_table(m.table, task, thresholds=m.run.evaluation.point.cuts).values
        for m in system.members
    ]
    found = {}
    for name in compared_metrics(task):
        values = [own[name] for own in each if name in own]
        if len(values) == len(each):
            found[name] = Spread(float(np.mean(values)), float(np.std(values, ddof=1)), len(each))
    return found


def _groups(members: Sequence[Member]) -> list[list[Member]]:
    groups: list[list[Member]] = []
    for member in members:
        model, seed = _model(member.run), member.run.seed
        fitting = [
            group
            for group in groups
            if model is not None
            and model == _model(group[0].run)
            and seed not in [other.run.seed for other in group]
        ]
        if fitting:
            fitting[0].append(member)
        else:
            groups.append([member])
    return groups


def _model(run: ComparedRun) -> str | None:
    if run.config is None:
        return None
    kept = {key: value for key, value in run.config.items() if key not in _APART}
    return json.dumps(kept, sort_keys=True, default=str)


def _system(name: str, members: Sequence[Member]) -> System:
    if len(members) == 1:
        only = members[0]
        return System(name, (only,), only.table, only.run.evaluation.point.cuts)
    runs = [member.run for member in members]
    table = ensemble([member.table for member in members], runs[0].evaluation.task)
    return System(name, tuple(members), table, _thresholds(name, runs))


def _thresholds(name: str, group: Sequence[ComparedRun]) -> tuple[float, ...]:
    """By the runs' own rule, on the validation images of the ensemble."""
    task = group[0].evaluation.task
    if task.kind == "multiclass" or group[0].config is None:
        return ()
    rule = group[0].config["threshold"]
    try:
        table = ensemble(common_images(group, "val"), task)
        target, probability = task.targets(table), scores(table, task, "probability")
        if task.kind == "binary":
            return (choose_threshold(rule, target, probability).value,)
        truth = target.astype(np.float32)
        found = choose_thresholds(rule, truth, probability, task.classes)
        return tuple(threshold.value for threshold in found)
    except (UserError, ValueError) as error:
        warn(
            f"the ensemble of {name} has no threshold, for {error}; its decisions are not "
            "compared: mend the validation predictions or compare single runs"
        )
        return ()
