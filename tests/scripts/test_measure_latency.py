from __future__ import annotations

from pathlib import Path

import pytest

import measure_latency
from measure_latency import Timed, in_process


def test_a_process_tells_when_it_answered_first_and_how_long_the_next_took(tmp_path: Path) -> None:
    code = measure_latency._IN_PROCESS.format(
        prepare="time.sleep(0.4); number = iter([0.25] + 9 * [0.5])",
        answer="(time.sleep(0.02), next(number))[1]",
        answers=5,
    )
    found = in_process(code, tmp_path, tmp_path)
    assert found.probability == 0.25
    assert 0.42 < found.cold < 20
    assert len(found.warm) == 5
    assert 0.02 <= min(found.warm) < 1


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    code = measure_latency._IN_PROCESS.format(prepare="1 / 0", answer="1", answers=1)
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        in_process(code, tmp_path, tmp_path)


def test_the_table_has_medians_and_the_greatest_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    measure_latency.show(
        {
            "command": [Timed(3.0, [], 0.5), Timed(9.0, [], 0.5), Timed(4.0, [], 0.5)],
            "server": [Timed(1.0, [0.1, 0.2], 0.5), Timed(2.0, [0.3], 0.75)],
        }
    )
    rows = [line.split() for line in capsys.readouterr().out.strip().splitlines()]
    assert rows[-2:] == [
        ["command", "4.0", "0.0e+00"],
        ["server", "1.5", "200", "2.5e-01"],
    ]
