"""Contestants that take turns, so that what slows the machine slows all of them alike."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

CONTESTANTS = Path(__file__).with_name("contestants.py")


@dataclass(frozen=True)
class Figure:
    """A measured number: median, lowest and highest of `runs`."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Of one value a run."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def as_dict(self) -> dict[str, float]:
        """As it stands in the JSON file."""
        return asdict(self)


class Contestant:
    """A process that works without end, says so after each piece, and can be stopped in between.

    It prints `mark <seconds> <units>` after every piece of work. Between turns the whole process
    group is stopped by the system, so neither it nor its workers get ahead while others are timed.
    """

    def __init__(self, name: str, *arguments: str, log: Path) -> None:
        """Start the process.

        Args:
            name: of a function in `contestants.py`.
            arguments: of that function.
            log: where its other output goes.
        """
        self.name = name
        self._log = log.open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(CONTESTANTS), name, *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    def turn(self, pieces: int) -> float:
        """Let it work; units a second over that many pieces, the one under way not counted."""
        self._signal(signal.SIGCONT)
        start, _ = self.mark()
        marks = [self.mark() for _ in range(pieces)]
        self._signal(signal.SIGSTOP)
        return sum(units for _, units in marks) / (marks[-1][0] - start)

    def mark(self) -> tuple[float, float]:
        """Wait for the end of a piece: monotonic seconds, and units of work."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("mark "):
                _, seconds, units = line.split()
                return float(seconds), float(units)
            self._log.write(line)
        raise RuntimeError(f"{self.name} ended early; see {self._log.name}")

    def resident_megabytes(self) -> float:
        """Memory of its own: resident pages that are no file's."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem")) / 1000

    def end(self) -> None:
        """Kill it and its workers."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


@contextmanager
def started(
    contestants: dict[str, tuple[str, ...]], log: Path, warm_up: int
) -> Iterator[dict[str, Contestant]]:
    """Start contestants one after the other, each warmed up by some pieces and then stopped.

    Args:
        contestants: by what they are called, the function's name and its arguments.
        log: folder for their output.
        warm_up: pieces before the first turn.
    """
    log.mkdir(parents=True, exist_ok=True)
    running: dict[str, Contestant] = {}
    try:
        for called, (name, *arguments) in contestants.items():
            running[called] = Contestant(name, *arguments, log=log / f"{called}.log")
            running[called].turn(warm_up)
        yield running
    finally:
        for contestant in running.values():
            contestant.end()


def speeds(running: dict[str, Contestant], pieces: int, rounds: int) -> dict[str, list[float]]:
    """Units a second of each contestant, a value a round, in alternating order."""
    found: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds):
        names = list(running)
        for name in names if number % 2 == 0 else reversed(names):
            found[name].append(running[name].turn(pieces))
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """Of two contestants, round by round."""
    return Figure.of([a / b for a, b in zip(above, below, strict=True)])


def seconds_of(command: Sequence[str], runs: int, status: int = 0) -> Figure:
    """Wall-clock of a command that ends by itself; the first run, which fills caches, is left out.

    Args:
        command: to run.
        runs: how often to time it.
        status: with which it has to end.

    Raises:
        RuntimeError: it ended otherwise, so that its time means nothing.
    """
    values = []
    for _ in range(runs + 1):
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        values.append(time.monotonic() - start)
        if done.returncode != status:
            raise RuntimeError(
                f"{' '.join(command)}: status {done.returncode}\n{done.stderr[-2000:]}"
            )
    return Figure.of(values[1:])
