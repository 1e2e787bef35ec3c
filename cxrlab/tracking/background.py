"""Work that nobody waits for until the end: one thread, in order, and no error is lost.

The work must not compute with torch. A second thread that does gets a second team of OpenMP
threads; with more of them than cores, libgomp lets all of them sleep at every barrier, and from
then on each training step is slower: 15 to 21 images/s in place of 23 (measured).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Job = Callable[[], None]


class Background:
    """Does jobs one after another in a thread of its own.

    After the first error the jobs that still wait are dropped, since what they need (a server, a
    disk) is most likely gone and each would wait for it anew.
    """

    def __init__(self) -> None:
        """Begin without a thread; the first job starts it."""
        self._thread = ThreadPoolExecutor(1, "cxrlab-background")
        self._last: Future[None] | None = None
        self._error: Exception | None = None

    def submit(self, job: Job) -> None:
        """Queue a job and return at once.

        Raises:
            Exception: an earlier job failed, with its own error; this one is dropped.
        """
        self._raise()
        self._last = self._thread.submit(self._do, job)

    def wait(self) -> None:
        """Return when every job is done.

        Raises:
            Exception: a job failed, with its own error.
        """
        if self._last is not None:
            self._last.result()
        self._raise()

    def close(self) -> None:
        """Wait for every job and end the thread; `submit` takes no more.

        Raises:
            Exception: a job failed, with its own error.
        """
        self._thread.shutdown()
        self._raise()

    def _do(self, job: Job) -> None:
        if self._error is not None:
            return
        try:
            job()
        except Exception as error:
            self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
