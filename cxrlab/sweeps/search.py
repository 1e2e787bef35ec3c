"""A search by Optuna: trials are asked for, launched, and told about.

A trial's number is its number in the study, its folder's name, and the end of its run's name.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from cxrlab.sweeps.plan import Plan
from cxrlab.sweeps.proposals import Batch
from cxrlab.sweeps.records import Sweep, TrialRecord, read_trials
from cxrlab.sweeps.results import objectives
from cxrlab.sweeps.space import distributions, parse_space
from cxrlab.sweeps.study import open_study

_REPEATS = "repeats"
_QUEUED_VALUES = "fixed_params"  # where Optuna keeps what `enqueue_trial` was given
_POPULATION = 20
_log = logging.getLogger("cxrlab")


class Search:
    """Proposals of a sampler: TPE (Bergstra et al. 2011), for two objectives NSGA-II (Deb 2002)."""

    def __init__(
        self, sweep: Sweep, folder: Path, plan: Plan, *, seed: int, trials: int, width: int
    ) -> None:
        """Open the study and settle what an interrupted session left in it.

        Args:
            sweep: of which kind and name.
            folder: of the sweep; no trial runs in it.
            plan: what is fixed, and the space.
            seed: of the sampler.
            trials: how many in all, those of earlier sessions included.
            width: how many run at once.
        """
        self._sweep, self._fixed, self._trials, self._width = sweep, plan.fixed, trials, width
        self._space = distributions(parse_space(plan.space, None))
        self._study = open_study(sweep, folder)
        # A seed that begins anew with each session would draw the first trials again.
        seed = (seed + len(self._study.get_trials(deepcopy=False))) % 2**32
        if len(sweep.objective) > 1:
            population = min(_POPULATION, max(2, trials // 2))
            self._study.sampler = optuna.samplers.NSGAIISampler(
                seed=seed, population_size=population
            )
        else:
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=width > 1)
        self._asked: dict[int, tuple[str, ...]] = {}
        self._recover(read_trials(folder))

    def _recover(self, records: Sequence[TrialRecord]) -> None:
        """Tell the study what it did not hear, and repeat what was cut off."""
        by_number = {record.number: record for record in records}
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            record = by_number.get(trial.number)
            if record is not None and record.status != "KILLED":
                self._tell(trial.number, record)
            else:
                self._repeat(trial)

    def _repeat(self, trial: FrozenTrial) -> None:
        # Queued before it is ended: were this process killed between the two, the next would
        # find both, and queue no second copy.
        if trial.number not in self._repeated():
            # Of a queued trial that was cut off while it got its values, some are not there yet.
            params = {**trial.system_attrs.get(_QUEUED_VALUES, {}), **trial.params}
            self._study.enqueue_trial(params, user_attrs={_REPEATS: trial.number})
        self._study.tell(trial.number, state=TrialState.FAIL)
        _log.info("trial %d was cut off and is repeated", trial.number)

    def _repeated(self) -> set[int]:
        known = self._study.get_trials(deepcopy=False)
        return {t.user_attrs[_REPEATS] for t in known if _REPEATS in t.user_attrs}

    def next(self, at_most: int | None) -> Batch:
        """Ask for trials, as many as run at once."""
        cut_off = self._repeated()
        known = self._study.get_trials(deepcopy=False)
        open_states = (TrialState.RUNNING, TrialState.WAITING)
        done = sum(t.state not in open_states and t.number not in cut_off for t in known)
        count = min(at_most or self._width, self._width, self._trials - done)
        while len(self._asked) < count:
            trial = self._study.ask(self._space)
            drawn = tuple(f"{key}={value}" for key, value in trial.params.items())
            self._asked[trial.number] = (*self._fixed, *drawn)
        first = min(self._asked, default=0)
        jobs: list[tuple[str, ...]] = []
        # Launchers number consecutively; what is left comes next.
        while (job := self._asked.pop(first + len(jobs), None)) is not None:
            jobs.append(job)
        return Batch(first, tuple(jobs))

    def learn(self, records: Sequence[TrialRecord]) -> None:
        """Tell the study how trials ended."""
        for record in records:
            self._tell(record.number, record)

    def _tell(self, number: int, record: TrialRecord) -> None:
        values = objectives(self._sweep, record)
        if values is not None:
            self._study.tell(number, list(values))
        else:
            state = TrialState.PRUNED if record.status == "PRUNED" else TrialState.FAIL
            self._study.tell(number, state=state)


def forest_importances(sweep: Sweep, folder: Path) -> dict[str, float]:
    """Optuna's importance of each key for the first objective, largest first."""
    study = open_study(sweep, folder)
    several = len(sweep.objective) > 1
    try:
        found = get_param_importances(
            study,
            evaluator=FanovaImportanceEvaluator(seed=0),
            target=(lambda trial: trial.values[0]) if several else None,
        )
    except (RuntimeError, ValueError) as error:
        optuna.logging.get_logger(__name__).debug("no importance: %s", error)
        return {}
    return dict(found)
