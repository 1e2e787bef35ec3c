"""The study of a search: a journal in the sweep's folder, which outlives any process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection

from cxrlab.sweeps.records import Sweep

STUDY_FILE = "study.log"
_BLOCK = 4096  # bytes read at once from the end of the journal


def open_study(sweep: Sweep, folder: Path, **options: Any) -> optuna.Study:
    """The study of a sweep, new or as it is on disk.

    Args:
        sweep: whose name and directions it has.
        folder: of the sweep.
        options: `sampler` and `pruner`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = folder / STUDY_FILE
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(file), lock_obj=JournalLock(file))),
        study_name=sweep.name,
        directions=[StudyDirection[name.upper()] for name in sweep.direction],
        load_if_exists=True,
        **options,
    )


class JournalLock(JournalFileOpenLock):
    """Held by who adds to the journal, until it lets go or its process ends.

    Optuna's own lock, of which only the type is left, is a file that outlives a killed process, and
    the next one waits half a minute for it. What a killed process left of a line would spoil the
    line after it, and with that the study; who gets the lock cuts it off.
    """

    def __init__(self, journal: Path) -> None:
        """Lock the file `journal` by another one beside it."""
        super().__init__(str(journal))
        self._journal = journal
        self._lock = FileLock(journal.with_name(f"{journal.name}.lock"))

    def acquire(self) -> bool:
        """Wait for the lock, and leave the journal with whole lines."""
        self._lock.acquire()
        _cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        """Let go."""
        self._lock.release()


def _cut_torn_line(journal: Path) -> None:
    with journal.open("r+b") as stream:
        size = end = stream.seek(0, 2)
        while end:
            start = max(0, end - _BLOCK)
            stream.seek(start)
            if (found := stream.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            stream.truncate(end)
