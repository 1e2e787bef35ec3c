"""A sweep from its command line to its summary.

Everything that can be wrong with a trial's configuration is found before the first trial starts;
what fails later is the trial's alone. An interrupted sweep goes on by its name: a trial that had
finished is not run again, and one that had not is run anew, under the next number.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from cxrlab.config.schema import Config, SweepConfig
from cxrlab.config.section import Section
from cxrlab.config.validate import nearest, validate
from cxrlab.cores import cores
from cxrlab.errors import TrialsFailedError, UserError, warn
from cxrlab.sweeps.plan import Plan, make_plan
from cxrlab.sweeps.proposals import Grid, Proposals
from cxrlab.sweeps.records import LOCK_FILE, Sweep, TrialRecord, read_sweep, read_trials
from cxrlab.sweeps.trial import one_line

_FREE = ("sweep.trials=", "sweep.seeds=")  # may differ when a sweep goes on
_log = logging.getLogger("cxrlab")


class _SweepAlone(Section):
    """The section `sweep`, under the name that the user knows it by."""

    sweep: SweepConfig


def run_sweep(
    arguments: Sequence[str], master: DictConfig, loader: ConfigLoader, launcher: Launcher
) -> None:
    """Run all trials and summarise them.

    Args:
        arguments: what the user typed, without Hydra's own keys.
        master: the configuration without what is swept.
        loader: composes a trial's configuration.
        launcher: runs trials.

    Raises:
        UserError: a trial's configuration is wrong, or the objective is no metric of any trial.
        TrialsFailedError: some trials failed.
        KeyboardInterrupt: the user stopped it; what is done has been summarised.
    """
    section = OmegaConf.to_container(master.sweep, resolve=True)
    config = validate({"sweep": section}, _SweepAlone).sweep
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    plan = make_plan(
        overrides, config, seed=int(master.seed), folds=OmegaConf.select(master, "data.folds")
    )
    folder = Path(master.hydra.sweep.dir).absolute()
    jobs = _samples(plan, loader)
    configs = [_checked(job, master, loader) for job in jobs]
    with _alone(folder, config.name):
        earlier = read_sweep(folder)
        sweep = _sweep_of(plan, config, earlier)
        if earlier is not None:
            _check_same(earlier, sweep)
        _run(sweep, folder, configs[0], plan, launcher, jobs, width=_width(master))


def _samples(plan: Plan, loader: ConfigLoader) -> list[tuple[str, ...]]:
    """All trials; of a search, one for each value or bound of each key."""
    if not plan.space:
        return plan.jobs()
    from cxrlab.sweeps.space import extremes, parse_space

    return [(*plan.fixed, override) for override in extremes(parse_space(plan.space, loader))]


def _checked(job: Sequence[str], master: DictConfig, loader: ConfigLoader) -> Config:
    """The typed configuration of a trial.

    Raises:
        UserError: it is wrong.
        HydraException: it can't be composed.
    """
    raw = loader.load_sweep_config(master, list(job))
    with open_dict(raw):
        del raw["hydra"]
    return validate(raw, Config)


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Hold the sweep's folder, so that no two processes number trials in it."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK_FILE, timeout=0):
            yield
    except Timeout as error:
        raise UserError(
            f"sweep.name={name}: another process is at this sweep ({folder}); wait for its end, "
            "or take another sweep.name"
        ) from error


def _sweep_of(plan: Plan, config: SweepConfig, earlier: Sweep | None) -> Sweep:
    return Sweep(
        name=config.name,
        kind=config.kind,
        parent=earlier.parent if earlier else None,
        fixed=plan.fixed,
        varies=plan.varies,
        objective=config.objective,
        direction=config.direction,
        space=dict(plan.space),
        prune=config.prune and len(config.objective) == 1,
    )


def _check_same(earlier: Sweep, sweep: Sweep) -> None:
    """A sweep goes on with what it began with; how many trials or values is free.

    Raises:
        UserError: it differs in something else.
    """

    def own(one: Sweep) -> Sweep:
        kept = (o for o in one.fixed if not o.startswith(_FREE))
        return replace(
            one, fixed=tuple(sorted(kept)), parent=None, varies=tuple(sorted(one.varies))
        )

    one, other = own(earlier), own(sweep)
    for field in ("kind", "fixed", "varies", "objective", "direction", "space", "prune"):
        before, now = getattr(one, field), getattr(other, field)
        if before != now:
            raise UserError(
                f"sweep.name={sweep.name}: that sweep began with {field} {_told(before)}, not "
                f"{_told(now)}; take another sweep.name, or the same command line to go on with it"
            )


def _told(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _width(master: DictConfig) -> int:
    """How many trials the launcher runs at once, as far as it says."""
    for key in ("n_jobs", "array_parallelism"):
        jobs = OmegaConf.select(master, f"hydra.launcher.{key}")
        if jobs is not None:
            return int(jobs) if int(jobs) > 0 else cores()
    return 1


def _run(
    sweep: Sweep,
    folder: Path,
    config: Config,
    plan: Plan,
    launcher: Launcher,
    jobs: Sequence[tuple[str, ...]],
    *,
    width: int,
) -> None:
    from cxrlab.sweeps import parent, summary

    _log.info("sweep %s in %s", sweep.name, folder)
    with parent.open_sweep(sweep, config, folder, plan.swept) as (run, sweep):
        sweep.write(folder)
        stopped: BaseException | None = None
        parent.settle(sweep, folder, run.uri, "KILLED", "its process ended")
        proposals = _proposals(sweep, folder, config, plan, jobs, width)
        try:
            _launch_all(proposals, launcher, sweep, folder, run.uri, width)
        except (KeyboardInterrupt, UserError) as error:
            stopped = error
            _log.warning("the sweep stops; go on with the same command and sweep.name=%s",
                         sweep.name)  # fmt: skip
        records = parent.settle(sweep, folder, run.uri, "KILLED", "the sweep was stopped")
        parent.track_failures(sweep, records, config.tracking, run.uri)
        if records:
            summary.summarise(sweep, records, run)
        if stopped is not None:
            raise stopped
        failed = [r for r in records if r.status == "FAILED"]
        told = f"{len(failed)} of {len(records)} trials failed"
        if failed and not any(r.status == "FINISHED" for r in records):
            raise TrialsFailedError(f"{told}: {failed[0].error}")
    print(f"sweep: {run.run_id}")
    if failed:
        raise TrialsFailedError(f"{told}; the first, trial {failed[0].number}: {failed[0].error}")


def _proposals(
    sweep: Sweep,
    folder: Path,
    config: Config,
    plan: Plan,
    jobs: Sequence[tuple[str, ...]],
    width: int,
) -> Proposals:
    if sweep.kind != "optuna":
        return Grid(jobs, read_trials(folder))
    from cxrlab.sweeps.search import Search

    return Search(sweep, folder, plan, seed=config.seed, trials=config.sweep.trials, width=width)


def _launch_all(
    proposals: Proposals, launcher: Launcher, sweep: Sweep, folder: Path, uri: str, width: int
) -> None:
    """Launch what is proposed, at first as many as run at once, then look for the objective."""
    from cxrlab.sweeps import parent

    first = True
    while batch := proposals.next(width if first else None):
        _launch(launcher, batch.jobs, batch.first, folder)
        records = parent.settle(sweep, folder, uri, "FAILED", "its process was killed")
        numbers = range(batch.first, batch.first + len(batch.jobs))
        proposals.learn([record for record in records if record.number in numbers])
        if first:
            check_logged(sweep.objective, records)
        first = not any(record.status == "FINISHED" for record in records)


def _launch(launcher: Launcher, jobs: Sequence[tuple[str, ...]], first: int, folder: Path) -> None:
    """Run trials; where a killed process takes the launcher along, run those that had not begun."""
    while jobs:
        try:
            launcher.launch([list(job) for job in jobs], initial_job_idx=first)
            return
        except Exception as error:
            begun = max((r.number for r in read_trials(folder)), default=-1)
            warn(
                f"the launcher stopped ({one_line(error)}): the trials that ran are lost; "
                f"{max(0, first + len(jobs) - 1 - begun)} others follow"
            )
            if begun < first:  # none came to its start, so the next would not either
                raise UserError(
                    f"hydra.launcher: {one_line(error)}; no trial could be started, so check the "
                    "launcher's own settings, or leave hydra/launcher out"
                ) from error
            jobs, first = jobs[begun + 1 - first :], begun + 1


def check_logged(objective: Sequence[str], records: Sequence[TrialRecord]) -> None:
    """Whether finished trials have the metrics that decide.

    Raises:
        UserError: none has.
    """
    finished = [record for record in records if record.status == "FINISHED"]
    for metric in objective:
        logged = {name for record in finished for name in record.values()}
        if finished and metric not in logged:
            names = sorted(name for name in logged if name.startswith("val/"))
            raise UserError(
                f"sweep.objective={metric}: no trial logs it; {nearest(metric, names)}; "
                f"logged on validation: {', '.join(names)}"
            )
