"""A Hydra application whose errors are one line and whose exit status means something."""

from __future__ import annotations

import copyreg
import errno
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cxrlab.config.paths import conf_dir, run_folder
from cxrlab.config.run_ids import quote_run_ids
from cxrlab.errors import TrialsFailedError, UserError
from cxrlab.garbage import collect_seldom

if TYPE_CHECKING:
    from cxrlab.config.section import Section

# Hydra copies its store of configurations, a singleton, for every group that `--help` lists: half
# the time of that command.
copyreg.pickle(ConfigStore, lambda _: (ConfigStore.instance, ()))

# The run's folder can't be written: the user's to mend, and no bug.
_FOLDER_ERRORS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST,
)  # fmt: skip

# Launchers of trials that are packages of their own, and the extra that brings each.
_LAUNCHER_EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm"}

OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def command(name: str, schema: str) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Turn a function of a typed configuration into a command.

    Args:
        name: the primary configuration file in `conf/`, without `.yaml`.
        schema: the name of its root model in `cxrlab.config.schema` or `commands`, loaded only
            when the command really runs, so that `--help` does not wait for it.

    Returns:
        A decorator. The command exits with 0 (done), 2 (the user's input is wrong: one line on
        stderr, the traceback with `HYDRA_FULL_ERROR=1`), 130 (interrupted) or 1 (anything else).
    """

    def decorate(function: Callable[..., None]) -> Callable[[], None]:
        refused: list[Exception] = []

        def task(raw: DictConfig) -> None:
            from cxrlab.config.validate import validate

            try:
                function(validate(raw, _root(schema)))
            except (UserError, OmegaConfBaseException) as error:
                # Hydra writes a line of its own before it lets an error through. A sweep must
                # see the error all the same, since its jobs may run in other processes.
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise
                refused.append(error)

        def run() -> None:
            sys.exit(_run(task, name, schema, refused))

        return run

    return decorate


def _run(
    task: Callable[[DictConfig], None], name: str, schema: str, refused: list[Exception]
) -> int:
    collect_seldom()
    OmegaConf.register_new_resolver("run_folder", run_folder, use_cache=True, replace=True)
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Without it Hydra prints a traceback of its own and exits with 1 whatever happened.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv[1:] = map(quote_run_ids, sys.argv[1:])
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(task)()
        if refused:
            raise refused[0]
    except KeyboardInterrupt:
        return INTERRUPTED
    except TrialsFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        print(f"error: {_explain(error, schema)}", file=sys.stderr)
        return WRONG_INPUT
    except OSError as error:
        if wants_traceback or error.errno not in _FOLDER_ERRORS:
            raise
        print(
            f"error: {error.filename}: can't be written ({error.strerror}); "
            "free some space, or name another folder with hydra.run.dir=PATH",
            file=sys.stderr,
        )
        return WRONG_INPUT
    return OK


def _root(name: str) -> type[Section]:
    from cxrlab.config import commands, schema

    root: type[Section] = getattr(commands if hasattr(commands, name) else schema, name)
    return root


def _explain(error: Exception, schema: str) -> str:
    """One line for an error of ours, of Hydra's or of OmegaConf's."""
    if isinstance(error, UserError):
        return str(error)
    from cxrlab.config.validate import explain_unknown, nearest

    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if group == "hydra/launcher" and choice in _LAUNCHER_EXTRAS:
            extra = _LAUNCHER_EXTRAS[choice]
            return f"{group}={choice}: not installed; pip install 'cxrlab[{extra}]'"
        options = [o for o in error.options or [] if o != "base"]
        return f"{group}={choice}: no such choice; {nearest(choice, options)}"
    if isinstance(error, OverrideParseException):
        return (
            f"can't read the override {error.override!r}: write key=value or group=choice, and "
            "quote a value with brackets, commas and the like: 'key=\"value\"'"
        )
    if found := re.search(
        r"Could not (?:override|append to|delete from config\.?) '?([\w.@/]+)'?", text
    ):
        return explain_unknown(found.group(1).rstrip("."), _root(schema))
    return " ".join(text.split())
