"""How many workers are worth starting."""

from __future__ import annotations

import os


def cores() -> int:
    """Processors that this process may use, which on a cluster are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
