"""Systems compared on the same images, each with the first: values, differences and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cxrlab.comparison.contrasts import (
    Contrast,
    Drawn,
    bootstrap_contrasts,
    delong_contrasts,
    mcnemar_contrasts,
)
from cxrlab.comparison.paired import holm, paired_draws
from cxrlab.comparison.systems import Spread, System, seed_spread
from cxrlab.evaluation.binary import AT_HALF, PROBABILISTIC
from cxrlab.evaluation.intervals import add_intervals, why_no_intervals
from cxrlab.evaluation.metrics import Metrics
from cxrlab.evaluation.predictions import FloatArray
from cxrlab.evaluation.resampling import count_patients
from cxrlab.evaluation.view import View
from cxrlab.evaluation.weighted import Measure, measure_of
from cxrlab.task import Task

# What is of the uncalibrated score, of which an ensemble of calibrated ones has none.
_UNCALIBRATED = (*PROBABILISTIC, *AT_HALF)


@dataclass(frozen=True)
class ComparedSystem:
    """What is known of one system.

    Attributes:
        name: in words.
        runs: their ids; several are the seeds of one configuration.
        metrics: of the compared images, of the ensemble where there are several runs.
        spread: by metric, of the runs one by one; empty for a single run.
        contrasts: with the first system; empty for the first.
        view: what figures are drawn from.
    """

    name: str
    runs: tuple[str, ...]
    metrics: Metrics
    spread: dict[str, Spread]
    contrasts: tuple[Contrast, ...]
    view: View

    def contrast(self, metric: str, test: str = "bootstrap") -> Contrast | None:
        """One test of one metric, where there is such a test."""
        chosen = (c for c in self.contrasts if (c.metric, c.test) == (metric, test))
        return next(chosen, None)


@dataclass(frozen=True)
class Comparison:
    """Systems on the same images; the first is the reference.

    Attributes:
        task: what is predicted.
        split: of the images.
        images: how many.
        patients: whose they are; where they are fewer, DeLong's and McNemar's tests, which take
            images for independent, are too sure, and the bootstrap decides.
        draws: samples of patients.
        systems: two or more.
    """

    task: Task
    split: str
    images: int
    patients: int
    draws: int
    systems: tuple[ComparedSystem, ...]

    @property
    def independent(self) -> bool:
        """Whether every image is of another patient."""
        return self.patients == self.images


def compare_systems(
    systems: Sequence[System], task: Task, split: str, *, draws: int, seed: int = 0
) -> Comparison:
    """Measure each system, and hold each against the first.

    Args:
        systems: two or more, on the same images.
        task: what is predicted.
        split: what the images are, for titles.
        draws: samples of patients, the same for all systems; 0: no intervals.
        seed: of the samples.
    """
    patients = systems[0].table["patient_id"].astype(str).to_numpy(dtype=str)
    count = count_patients(patients)
    first, *others = (_Measured.of(system, task, split, draws, seed) for system in systems)
    drawn: dict[str, dict[str, FloatArray]] = {}
    reason = why_no_intervals(patients, draws)
    if reason is None:
        usable = {each.system.name: each.measure(task) for each in (first, *others) if each.usable}
        found = paired_draws(list(usable.values()), patients, draws, seed)
        drawn = dict(zip(usable, found, strict=True))
    contrasts = []
    for other in others:
        pair: Drawn | str = reason or "the probabilities of one of the two can't be measured"
        if {first.system.name, other.system.name} <= drawn.keys():
            pair = Drawn(drawn[first.system.name], drawn[other.system.name], count)
        contrasts.append(
            [
                *bootstrap_contrasts(first.metrics, other.metrics, pair, task),
                *delong_contrasts(first.view, other.view),
                *mcnemar_contrasts(first.view, other.view),
            ]
        )
    compared = tuple(
        each.compared(task, own)
        for each, own in zip((first, *others), [[], *_adjusted(contrasts)], strict=True)
    )
    return Comparison(task, split, len(patients), count, draws, compared)


@dataclass(frozen=True)
class _Measured:
    """A system and what is known of it alone."""

    system: System
    view: View
    metrics: Metrics

    @classmethod
    def of(cls, system: System, task: Task, split: str, draws: int, seed: int) -> _Measured:
        table, cuts = system.table, system.thresholds
        view = View.of(table, task, cuts, split)
        metrics = view.metrics
        if draws:
            metrics = add_intervals(metrics, table, task, thresholds=cuts, draws=draws, seed=seed)
        if len(system.members) > 1:
            metrics = _without_uncalibrated(metrics, task)
        return cls(system, view, metrics)

    @property
    def usable(self) -> bool:
        """Whether its probabilities are such that anything can be measured of them."""
        return bool({"auroc", "brier", "accuracy"} & self.view.metrics.values.keys())

    def measure(self, task: Task) -> Measure:
        return measure_of(self.system.table, task, self.system.thresholds)

    def compared(self, task: Task, contrasts: Sequence[Contrast]) -> ComparedSystem:
        runs = tuple(member.run.label for member in self.system.members)
        spread = seed_spread(self.system, task)
        return ComparedSystem(
            self.system.name, runs, self.metrics, spread, tuple(contrasts), self.view
        )


def _adjusted(contrasts: Sequence[Sequence[Contrast]]) -> list[list[Contrast]]:
    """With Holm's p: a family is one test of one metric, of every system with the reference."""
    families = [holm([each.p for each in family]) for family in zip(*contrasts, strict=True)]
    return [
        [replace(each, p_adjusted=p[index]) for each, p in zip(own, families, strict=True)]
        for index, own in enumerate(contrasts)
    ]


def _without_uncalibrated(metrics: Metrics, task: Task) -> Metrics:
    names = {*_UNCALIBRATED, *(f"{m}_{name}" for m in _UNCALIBRATED for name in task.classes)}
    reason = "an ensemble is a mean of calibrated probabilities"
    return replace(
        metrics,
        values={name: v for name, v in metrics.values.items() if name not in names},
        absent=metrics.absent | dict.fromkeys(names & metrics.values.keys(), reason),
        intervals={name: v for name, v in metrics.intervals.items() if name not in names},
        no_interval={name: v for name, v in metrics.no_interval.items() if name not in names},
    )
