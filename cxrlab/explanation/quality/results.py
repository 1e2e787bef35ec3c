"""All that `python -m cxrlab.explain` found: cases, methods, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrlab.evaluation.metrics import Metrics
from cxrlab.explanation.cases import Cases
from cxrlab.explanation.quality.study import Study


@dataclass(frozen=True)
class Result:
    """A method with its numbers.

    Attributes:
        study: its maps and what was measured of each.
        metrics: means over the cases, with intervals.
    """

    study: Study
    metrics: Metrics

    @property
    def name(self) -> str:
        """Of the method."""
        return self.study.method

    @property
    def slug(self) -> str:
        """The name as trackers and file systems take it."""
        return self.name.replace("++", "_plus_plus")


@dataclass(frozen=True)
class Results:
    """A run's explanations on one dataset.

    Attributes:
        run: id of the run, or its folder's name.
        data: name of the dataset.
        cases: what was explained.
        predicted: metrics of all predicted images, for what a model without skill shows is none.
        methods: one or more, in the order asked for.
        chance: maps without knowledge.
        failed: why a method that was asked for is not there, by its name.
    """

    run: str
    data: str
    cases: Cases
    predicted: Metrics
    methods: tuple[Result, ...]
    chance: Result
    failed: dict[str, str]

    @property
    def rows(self) -> Sequence[Result]:
        """The methods, and chance below them."""
        return (*self.methods, self.chance)
