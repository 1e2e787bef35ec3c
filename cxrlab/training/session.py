"""What a command line asks for: a new run in a new folder, or an old one to go on with."""

from __future__ import annotations

import logging
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cxrlab.config.schema import Config
from cxrlab.config.validate import validate
from cxrlab.errors import UserError
from cxrlab.layout import CONFIG_FILE, ID_FILE, OVERRIDES_FILE
from cxrlab.sweeps.records import Sweep, read_sweep, repeatable
from cxrlab.training.ranks import ranks_of


@dataclass(frozen=True)
class Session:
    """One run's configuration and folder.

    Attributes:
        config: the typed configuration; of a resumed run, the one it began with.
        output: the run's folder.
        overrides: what the user typed after the command, as `key=value`.
        command: the whole command line.
        job: number in a sweep; None outside one.
        run_id: the MLflow run to go on with; None for a new one.
        sweep: what it is a trial of; None outside a sweep.
    """

    config: Config
    output: Path
    overrides: tuple[str, ...]
    command: str
    job: int | None = None
    run_id: str | None = None
    sweep: Sweep | None = None


def open_session(config: Config) -> Session:
    """Read what Hydra knows of this command line.

    Raises:
        UserError: `resume` names no run that can go on, or a sweep runs inside a SLURM job.
    """
    hydra: Any = HydraConfig.get()
    overrides = tuple(hydra.overrides.task)
    several = hydra.mode == RunMode.MULTIRUN
    if several and config.trainer.cluster:
        raise UserError(
            "trainer=slurm: each process would run the whole sweep; take "
            "hydra/launcher=submitit_slurm, which queues a job a trial, and trainer=auto"
        )
    sweep = read_sweep(Path(hydra.sweep.dir)) if several else None
    # A trial may run in a process whose own arguments are the launcher's.
    arguments = sys.argv[1:] if sweep is None else repeatable(overrides)
    session = Session(
        config=config,
        output=Path(hydra.runtime.output_dir),
        overrides=overrides,
        command=shlex.join(["python", "-m", f"cxrlab.{hydra.job.name}", *arguments]),
        job=hydra.job.get("num") if several else None,
        sweep=sweep,
    )
    if config.resume is not None:
        return _resumed(session, config.resume)
    if _restarted(session):
        return _continued(session, str(session.output))
    return session


def _restarted(session: Session) -> bool:
    """Whether SLURM started this job once before, and it came as far as to have a run."""
    trainer = session.config.trainer
    if trainer.cluster is None or ranks_of(trainer).rank:
        return False
    return (session.output / ID_FILE).is_file()


def _resumed(session: Session, name: str) -> Session:
    kept = ("resume=", "resume_changed=", "tracking")
    extra = [o for o in session.overrides if not o.startswith(kept)]
    if extra:
        raise UserError(
            f"resume={name}: a run goes on with the configuration it began with; drop {extra[0]}"
        )
    return _continued(session, name)


def _continued(session: Session, name: str) -> Session:
    from cxrlab.tracking.find import find_run
    from cxrlab.training.resume import check_version
    from cxrlab.training.spare import leave

    found = find_run(name, session.config.tracking)
    file = found.output / CONFIG_FILE
    if not file.is_file():
        raise UserError(
            f"resume={name}: {file} is missing, so the run can't go on; start a new one"
        )
    check_version(name, found.output)
    stored = yaml.safe_load(file.read_text())
    overrides = yaml.safe_load((found.output / OVERRIDES_FILE).read_text())
    if session.config.trainer.cluster is None:  # else Hydra's folder is that of all processes
        leave(session.output, found.output)
    stored |= {"resume": name, "resume_changed": session.config.resume_changed}
    logging.getLogger("cxrlab").info("resuming %s in %s", found.run_id or name, found.output)
    return Session(
        config=validate(stored, Config),
        output=found.output,
        overrides=tuple(overrides),
        command=session.command,
        run_id=found.run_id,
    )
