from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cxrlab.garbage import collect_as_usual, collect_seldom


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    usual = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*usual)


def _collections_while(objects: int) -> int:
    before = gc.get_stats()[0]["collections"]
    kept = [[] for _ in range(objects)]
    assert len(kept) == objects
    return gc.get_stats()[0]["collections"] - before


def test_it_is_seldom_but_never_off_and_then_as_it_was() -> None:
    usual = _collections_while(50_000)
    collect_seldom()
    assert usual > 5
    assert _collections_while(50_000) <= 1
    assert _collections_while(1_000_000) > 5
    collect_as_usual()
    assert _collections_while(50_000) == pytest.approx(usual, abs=3)


def test_what_was_there_when_the_work_began_is_not_walked_again() -> None:
    collect_as_usual()
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects(generation=2)) < 100


def test_a_command_starts_with_it() -> None:
    code = (
        "import gc, runpy, sys; sys.argv = ['cxrlab.train', '--help']\n"
        "try: runpy.run_module('cxrlab.train', run_name='__main__')\n"
        "except SystemExit: print(gc.get_threshold()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout.strip().splitlines()[-1]) >= 10_000
