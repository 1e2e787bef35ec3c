"""Garbage collection put off while a command starts, which makes imports a tenth faster."""

from __future__ import annotations

import gc

_USUAL = gc.get_threshold()
# Imports make millions of objects and hardly any garbage, and the collector walks them all again
# and again. Not turned off: a command that never gets to `collect_as_usual` must not run out of
# memory.
_SELDOM = (100_000, 50, 1000)


def collect_seldom() -> None:
    """Look for garbage every 100,000 new objects, and hardly ever among the old ones."""
    gc.set_threshold(*_SELDOM)


def collect_as_usual() -> None:
    """Collect as Python does by itself, but never again among what exists now: it is there to stay.

    For the moment when everything is imported and built, and the work begins.
    """
    gc.freeze()
    gc.set_threshold(*_USUAL)
