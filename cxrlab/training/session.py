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

CONFIG_FILE, OVERRIDES_FILE = "config/config.yaml", "config/overrides.yaml"


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
    """

    config: Config
    output: Path
    overrides: tuple[str, ...]
    command: str
    job: int | None = None
    run_id: str | None = None


def open_session(config: Config) -> Session:
    """Read what Hydra knows of this command line.

    Raises:
        UserError: `resume` names no run that can go on.
    """
    hydra: Any = HydraConfig.get()
    overrides = tuple(hydra.overrides.task)
    session = Session(
        config=config,
        output=Path(hydra.runtime.output_dir),
        overrides=overrides,
        command=shlex.join(["python", "-m", f"cxrlab.{hydra.job.name}", *sys.argv[1:]]),
        job=hydra.job.get("num") if hydra.mode == RunMode.MULTIRUN else None,
    )
    return session if config.resume is None else _resumed(session, config.resume)


def _resumed(session: Session, name: str) -> Session:
    from cxrlab.tracking.find import find_run

    extra = [o for o in session.overrides if not o.startswith(("resume=", "tracking"))]
    if extra:
        raise UserError(
            f"resume={name}: a run goes on with the configuration it began with; drop {extra[0]}"
        )
    found = find_run(name, session.config.tracking)
    file = found.output / CONFIG_FILE
    if not file.is_file():
        raise UserError(
            f"resume={name}: {file} is missing, so the run can't go on; start a new one"
        )
    stored = yaml.safe_load(file.read_text())
    overrides = yaml.safe_load((found.output / OVERRIDES_FILE).read_text())
    stored["resume"] = name
    logging.getLogger("cxrlab").info("resuming %s in %s", found.run_id or name, found.output)
    return Session(
        config=validate(stored, Config),
        output=found.output,
        overrides=tuple(overrides),
        command=session.command,
        run_id=found.run_id,
    )
