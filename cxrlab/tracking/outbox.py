"""What waits for a server that is slow, restarts or is gone: kept in order, and tried again.

MLflow's own retries would block the caller for minutes and would send a metric twice where only
the answer was lost, so they are switched off (in `cxrlab.tracking`), and this is in their place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from cxrlab.errors import warn
from cxrlab.tracking.parcels import Metrics, Parcel
from cxrlab.tracking.store import reason, refused

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_SILENT_SECONDS = 2.0  # an end that takes no longer needs no words
_FACTOR = 20  # of grace: the most that a slow server gets which does answer
_log = logging.getLogger("cxrlab")


class Outbox:
    """Delivers parcels one after another in a thread of its own, until `close`.

    A delivery that fails is tried again, after pauses from 0.5 to 5 s, and what was given later
    waits behind it. What the server understood and refused is set aside until the end, so that
    the rest arrives.
    """

    def __init__(self, deliver: Callable[[Parcel], None], server: str, grace: float) -> None:
        """Begin without a thread; the first parcel starts it.

        Args:
            deliver: sends one parcel; must bear being called again after it failed.
            server: its address, for messages.
            grace: seconds without an answer after which `close` gives up.
        """
        self._deliver = deliver
        self._server = server
        self._grace = grace
        self._parcels: deque[Parcel] = deque()
        self._refused: list[Parcel] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = self._over = False
        self._silent = False  # whether the last delivery found no server
        self._heard = 0.0  # when the server last answered
        self._pause = _FIRST_PAUSE
        self.error: Exception | None = None  # the last of all

    def put(self, parcel: Parcel) -> None:
        """Take a parcel and return at once."""
        with self._changed:
            # One delivery sends all that the buffer holds; but the first may be on its way already.
            if len(self._parcels) > 1 and parcel == self._parcels[-1] == Metrics():
                return
            self._parcels.append(parcel)
            if self._thread is None:
                # A daemon: a request that hangs must not hold the process after `close`.
                self._thread = threading.Thread(
                    target=self._work, name="cxrlab-outbox", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def waiting(self) -> list[Parcel]:
        """What has not been delivered yet, in order."""
        with self._changed:
            return [*self._refused, *self._parcels]

    def close(self) -> list[Parcel]:
        """Wait until everything is delivered, or the server has been silent for `grace` seconds.

        A request that is on its way is waited for, at most until its own time-out; a server that
        answers slowly gets 20 times `grace` in all.

        Returns:
            What could not be delivered, in order. `error` says why.
        """
        begun = self._heard = time.monotonic()
        told = False
        with self._changed:
            self._parcels.extendleft(reversed(self._refused))
            self._refused.clear()
            self._closing = True
            self._changed.notify_all()
            while self._parcels:
                self._changed.wait(0.1)
                now = time.monotonic()
                if self._silent and now - self._heard >= self._grace:
                    break
                if now - begun >= _FACTOR * self._grace:
                    break
                if not told and now - begun >= _SILENT_SECONDS:
                    told = True
                    _log.info(
                        "sending %d more items to %s; without an answer for %g s they stay on disk",
                        len(self._parcels), self._server, self._grace,
                    )  # fmt: skip
            self._over = True
            self._changed.notify_all()
        return self.waiting()

    def _work(self) -> None:
        while (parcel := self._next()) is not None:
            try:
                self._deliver(parcel)
            except Exception as error:
                self._failed(parcel, error)
            else:
                self._delivered(parcel)

    def _next(self) -> Parcel | None:
        """The parcel to deliver, as soon as there is one; None at the end."""
        with self._changed:
            while not self._parcels and not self._closing:
                self._changed.wait()
            return None if self._over or not self._parcels else self._parcels[0]

    def _delivered(self, parcel: Parcel) -> None:
        with self._changed:
            if self._over:  # it is counted among what is left
                return
            self._parcels.remove(parcel)  # `close` may have put others before it
            self._heard = time.monotonic()
            if self._silent:
                self._silent = False
                _log.info("tracking server %s answers again", self._server)
            self._changed.notify_all()

    def _failed(self, parcel: Parcel, error: Exception) -> None:
        with self._changed:
            if self._over:
                return
            self.error = error
            if refused(error):
                self._set_aside(parcel, error)
            else:
                self._wait(error)

    def _set_aside(self, parcel: Parcel, error: Exception) -> None:
        self._parcels.remove(parcel)
        self._refused.append(parcel)
        self._heard = time.monotonic()
        if not self._closing:
            warn(
                f"tracking server {self._server} refuses something ({reason(error)}); the rest "
                "goes on, and it is tried once more at the end"
            )
        self._changed.notify_all()

    def _wait(self, error: Exception) -> None:
        if not self._silent:
            self._silent, self._pause = True, _FIRST_PAUSE
            warn(
                f"tracking server {self._server} does not take what is sent ({reason(error)}); it "
                "waits on this machine and is tried again"
            )
        closing = self._closing
        end = time.monotonic() + (_FIRST_PAUSE if closing else self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        # The end of the run is a reason to try again at once.
        while (left := end - time.monotonic()) > 0 and not self._over and self._closing == closing:
            self._changed.wait(left)
