"""The script on what pruning saves: its counts are those of the trials that it started."""

from __future__ import annotations

from pathlib import Path

import pytest

import measure_pruning
from measure_pruning import Measured, measure

SMALL = (
    "data.images=60", "data.image_size=32", "model.backbone=resnet10t", "model.weights=none",
    "trainer.max_epochs=3",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_is_measured_with_and_without_pruning(tmp_path: Path) -> None:
    on, off = measure(7, 1, SMALL, tmp_path)
    assert (on.prune, off.prune) == (True, False)
    assert on.trials == off.trials == 7
    assert off.pruned == 0
    assert off.epochs == 21
    assert 21 - on.pruned <= on.epochs <= 21, "none ends before its second of three epochs"
    assert 0.5 < min(on.best, off.best) <= 1
    assert min(on.seconds, off.seconds, on.computing, off.computing) > 1


def test_the_table_has_a_row_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    measure_pruning.show(
        [
            Measured(0, True, 24, 9, 150, 61.4, 120.0, 0.98765),
            Measured(0, False, 24, 0, 240, 99.6, 180.2, 0.9),
        ]
    )
    rows = [line.split() for line in capsys.readouterr().out.strip().splitlines()]
    assert rows[-2:] == [
        ["0", "off", "24", "0", "240", "100", "180", "0.9000"],
        ["0", "on", "24", "9", "150", "61", "120", "0.9877"],
    ]
