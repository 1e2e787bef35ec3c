"""The two ways in which cxrlab speaks to its user when something is off."""

from __future__ import annotations

import logging

_log = logging.getLogger("cxrlab")


class UserError(Exception):
    """The user's input is wrong: one line on stderr, exit status 2.

    The message says what was found, where, and what to do.
    """


class PrunedError(Exception):
    """A trial of a sweep was ended early, since others did better at the same epoch."""


class TrialsFailedError(Exception):
    """Some trials of a sweep failed; the others are done and summarised: exit status 1."""


def warn(message: str) -> None:
    """Tell the user of a cause, its consequence and the remedy, without stopping."""
    _log.warning(message)
