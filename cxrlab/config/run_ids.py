"""Run ids on the command line, some of which look like numbers."""

from __future__ import annotations

import re

_KEYS = ("run", "runs", "resume")
# One prefix of eight characters in fifty has digits alone, or digits around an e.
_NUMBER = re.compile(r"(^|[\[,]\s*)(\d+(?:e\d+)?)(?=\s*(?:$|[,\]]))")


def quote_run_ids(argument: str) -> str:
    """Put an id that Hydra would take for a number in quotes: `run=12345678`, `runs=[12e4,latest]`.

    Args:
        argument: of the command line; any that names no run, or is quoted already, is left alone.
    """
    key, equals, value = argument.partition("=")
    if not equals or key.lstrip("+") not in _KEYS or "'" in value or '"' in value:
        return argument
    quoted = _NUMBER.sub(r"\1'\2'", value)
    return f"{key}={quoted}"
