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
from cxrlab.config.validate import validate
from cxrlab.cores import cores
from cxrlab.errors import TrialsFailedError, UserError
from cxrlab.sweeps.plan import Plan, check_tuned, make_plan
from cxrlab.sweeps.proposals import Grid, Proposals
from cxrlab.sweeps.records import (
    LOCK_FILE,
    Sweep,
    command_line,
    read_sweep,
    read_trials,
    without_repeated,
)

_FREE = ("sweep.trials=", "sweep.seeds=")  # may differ when a sweep goes on
_log = logging.getLogger("cxrlab")


class _SweepAlone(Section):
    """The section `sweep`, under the name that the user knows it by."""

    sweep: SweepConfig


def run_sweep(
    arguments: Sequence[str],
    master: DictConfig,
    loader: ConfigLoader,
    launcher: Launcher,
    session: str,
) -> None:
    """Run all trials and summarise them.

    Args:
        arguments: what the user typed, without Hydra's own keys.
        master: the configuration without what is swept.
        loader: composes a trial's configuration.
        launcher: runs trials.
        session: what its trials know this start of the sweep by.

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
    check_tuned(plan, configs)
    with _alone(folder, config.name):
        earlier = read_sweep(folder)
        sweep = _sweep_of(plan, config, earlier, session)
        if earlier is not None:
            _check_same(earlier, sweep)
        _run(sweep, folder, configs[0], plan, launcher, jobs, width=_width(master))


def _samples(plan: Plan, loader: ConfigLoader) -> list[tuple[str, ...]]:
    """All trials; of a search, one for each value or bound of each key."""
    if not plan.space:
        return plan.jobs()
    from cxrlab.sweeps.space import check_installed, extremes, parse_space

    check_installed()
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


def _sweep_of(plan: Plan, config: SweepConfig, earlier: Sweep | None, session: str) -> Sweep:
    return Sweep(
        name=config.name,
        session=session,
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
        return replace(one, fixed=tuple(sorted(kept)), varies=tuple(sorted(one.varies)))

    one, other = own(earlier), own(sweep)
    for field in ("kind", "fixed", "varies", "objective", "direction", "space", "prune"):
        before, now = getattr(one, field), getattr(other, field)
        if before != now:
            if field in ("fixed", "varies"):  # without what both have
                before, now = _only_in(before, now), _only_in(now, before)
            raise UserError(
                f"sweep.name={sweep.name}: that sweep began with {field} {_told(before)}, not "
                f"{_told(now)}; take another sweep.name, or the same command line to go on with it"
            )


def _only_in(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return tuple(item for item in one if item not in other)


def _told(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "nothing"
    return str(value)


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
    from cxrlab.sweeps import lost, parent, summary
    from cxrlab.sweeps.launch import launch_all, stopped_by_sigterm

    _log.info("sweep %s in %s", sweep.name, folder)
    with parent.open_sweep(sweep, config, folder, plan.swept) as (run, sweep):
        stopped: BaseException | None = None
        try:
            with stopped_by_sigterm():
                sweep.write(folder)
                lost.send_left(read_trials(folder), config.tracking)
                lost.settle(sweep, folder, run.uri, "KILLED", "its process ended")
                proposals = _proposals(sweep, folder, config, plan, jobs, width)
                launch_all(proposals, launcher, sweep, folder, run.uri, width)
        except (KeyboardInterrupt, UserError) as error:
            stopped = error
            if isinstance(error, KeyboardInterrupt):
                _log.warning("the sweep stops; go on with: %s", command_line(sweep.name))
        records = lost.settle(sweep, folder, run.uri, "KILLED", "the sweep was stopped")
        lost.track_failures(sweep, records, config.tracking, run.uri)
        records = without_repeated(sweep, records)
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
