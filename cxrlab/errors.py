"""The two ways in which cxrlab speaks to its user when something is off."""

from __future__ import annotations

import logging

_log = logging.getLogger("cxrlab")


class UserError(Exception):
    """The user's input is wrong: one line on stderr, exit status 2.

    The message says what was found, where, and what to do.
    """


def warn(message: str) -> None:
    """Tell the user of a cause, its consequence and the remedy, without stopping."""
    _log.warning(message)
