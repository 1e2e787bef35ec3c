"""What becomes of trials whose launcher loses a process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cxrlab.errors import UserError
from cxrlab.sweeps.launch import _launch
from cxrlab.sweeps.records import TrialRecord

JOBS = {number: (f"seed={number}",) for number in range(3, 7)}


class Launcher:
    """Breaks at its first launch, when these trials have begun."""

    def __init__(self, folder: Path, begun: Sequence[int]) -> None:
        self._folder, self._begun = folder, begun
        self.launched: list[tuple[int, list[list[str]]]] = []

    def launch(self, jobs: list[list[str]], initial_job_idx: int) -> None:
        self.launched.append((initial_job_idx, jobs))
        if len(self.launched) > 1:
            return
        for number in self._begun:
            TrialRecord(number, (), "RUNNING", 0.0, self._folder / str(number)).write()
        raise RuntimeError("a worker was killed")


def test_trials_that_had_not_begun_are_launched_again_under_their_numbers(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, begun=[4])
    _launch(launcher, JOBS, tmp_path)
    assert launcher.launched == [
        (3, [["seed=3"], ["seed=4"], ["seed=5"], ["seed=6"]]),
        (3, [["seed=3"]]),
        (5, [["seed=5"], ["seed=6"]]),
    ]


def test_a_launcher_that_starts_nothing_is_not_tried_again(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path, begun=[])
    with pytest.raises(UserError, match="a worker was killed; no trial could be started"):
        _launch(launcher, JOBS, tmp_path)
    assert len(launcher.launched) == 1
