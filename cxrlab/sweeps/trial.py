"""One trial, in whatever process the launcher runs it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cxrlab.errors import PrunedError
from cxrlab.sweeps.records import LOCK_FILE, Status, TrialRecord

_log = logging.getLogger("cxrlab")
_ERROR_LENGTH = 300


class TrialTask:
    """What a launcher runs in place of the command: keeps a record, and lets no error through.

    An error that leaves a trial would end the sweep (with joblib), or could not be sent back to
    the sweep's process at all, since many exceptions can't be unpickled.
    """

    def __init__(self, function: Callable[[DictConfig], Any]) -> None:
        """Wrap the command's function of a composed configuration."""
        self._function = function

    def __call__(self, raw: DictConfig) -> None:
        """Run the trial and write `trial.json`.

        Raises:
            KeyboardInterrupt: the user or the system stopped it, and so the sweep.
        """
        from filelock import FileLock

        hydra: Any = HydraConfig.get()
        with FileLock(Path(hydra.runtime.output_dir) / LOCK_FILE):
            self._recorded(raw, hydra)

    def _recorded(self, raw: DictConfig, hydra: Any) -> None:
        record = TrialRecord(
            number=int(hydra.job.num),
            overrides=tuple(hydra.overrides.task),
            status="RUNNING",
            started=time.time(),
            folder=Path(hydra.runtime.output_dir),
        )
        record.write()
        status: Status = "FINISHED"
        error: str | None = None
        try:
            self._function(raw)
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except PrunedError as pruned:
            status, error = "PRUNED", str(pruned)
            _log.info("trial %d: %s", record.number, pruned)
        except (Exception, SystemExit) as failure:
            status, error = "FAILED", one_line(failure)
            _log.error("trial %d failed: %s", record.number, error)
            _log.debug("trial %d", record.number, exc_info=True)
            _write_traceback(record.folder)
        finally:
            record.ended(status, error, time.time() - record.started).write()


def _write_traceback(folder: Path) -> None:
    import traceback

    (folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")


def one_line(error: BaseException) -> str:
    """Kind and text of an error; the kind of a UserError is no news."""
    text = " ".join(str(error).split())[:_ERROR_LENGTH]
    kind = type(error).__name__
    if kind == "UserError":
        return text
    return f"{kind}: {text}" if text else kind
