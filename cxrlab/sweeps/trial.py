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
from cxrlab.sweeps.records import LOCK_FILE, Status, TrialRecord, read_sweep

_log = logging.getLogger("cxrlab")
_ERROR_LENGTH = 300


class TrialTask:
    """What a launcher runs in place of the command: keeps a record, and lets no error through.

    An error that leaves a trial would end the sweep (with joblib), or could not be sent back to
    the sweep's process at all, since many exceptions can't be unpickled.
    """

    def __init__(self, function: Callable[[DictConfig], Any], session: str) -> None:
        """Wrap the command's function of a composed configuration.

        Args:
            function: what a trial runs.
            session: of the sweep that starts it.
        """
        self._function, self._session = function, session

    def __call__(self, raw: DictConfig) -> None:
        """Run the trial and write `trial.json`.

        Raises:
            KeyboardInterrupt: the user or the system stopped it, and so the sweep.
        """
        from filelock import FileLock

        hydra: Any = HydraConfig.get()
        with FileLock(Path(hydra.runtime.output_dir) / LOCK_FILE):
            if self._wanted(hydra):
                self._recorded(raw, hydra)

    def _wanted(self, hydra: Any) -> bool:
        """Whether the sweep still waits for this trial.

        A trial that waited in a launcher's queue while the sweep's process died may start when the
        sweep has long gone on in another one, which has given its number or its values away.
        """
        sweep = read_sweep(Path(hydra.sweep.dir))
        return sweep is not None and sweep.session == self._session

    def _recorded(self, raw: DictConfig, hydra: Any) -> None:
        record = TrialRecord(
            number=int(hydra.job.num),
            overrides=tuple(hydra.overrides.task),
            status="RUNNING",
            started=time.time(),
            folder=Path(hydra.runtime.output_dir),
        )
        record.write()
        if not self._wanted(hydra):  # in between: the record was seen, or its number given away
            record.ended("KILLED", "its sweep went on without it", None).write()
            return
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
