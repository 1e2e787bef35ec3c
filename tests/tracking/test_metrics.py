from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cxrlab.errors import UserError
from cxrlab.tracking.metrics import MetricBuffer, Point, read_points


class Receiver:
    def __init__(self) -> None:
        self.batches: list[list[Point]] = []
        self.broken = False

    def __call__(self, points: Sequence[Point]) -> None:
        if self.broken:
            raise UserError("the server is gone")
        self.batches.append(list(points))


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def buffer(tmp_path: Path, receiver: Receiver) -> MetricBuffer:
    return MetricBuffer(tmp_path / "deep" / "metrics.csv", send=receiver)


def test_old_values_go_out_with_the_next(
    buffer: MetricBuffer, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    buffer.add({"a": 1}, 0)
    clock[0] += 9
    buffer.add({"a": 2}, 1)
    assert receiver.batches == []
    clock[0] += 2
    buffer.add({"a": 3}, 2)
    assert [[p.value for p in batch] for batch in receiver.batches] == [[1, 2, 3]]


def test_what_could_not_be_sent_is_sent_later_and_written_once(
    buffer: MetricBuffer, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.broken = True
    buffer.add({"a": 1}, 0)
    with pytest.raises(UserError):
        buffer.flush()
    receiver.broken = False
    buffer.add({"a": 2}, 1)
    buffer.flush()
    buffer.flush()
    assert [[p.value for p in batch] for batch in receiver.batches] == [[1, 2]]
    assert len((tmp_path / "deep" / "metrics.csv").read_text().splitlines()) == 3


def test_a_file_that_cannot_be_written_is_named_and_the_values_still_sent(
    tmp_path: Path, receiver: Receiver
) -> None:
    (tmp_path / "taken").write_text("a file")
    buffer = MetricBuffer(tmp_path / "taken" / "metrics.csv", send=receiver)
    buffer.add({"a": 1}, 0)
    with pytest.raises(UserError, match=r"taken/metrics\.csv"):
        buffer.flush()
    assert len(receiver.batches) == 1


def test_a_name_with_a_comma_stays_one_field(buffer: MetricBuffer, tmp_path: Path) -> None:
    buffer.add({"recall, class 1": 0.5}, 0)
    buffer.flush()
    assert '"recall, class 1",0,0.5,' in (tmp_path / "deep" / "metrics.csv").read_text()


def test_metrics_are_taken_while_others_are_being_sent(tmp_path: Path) -> None:
    jobs: list[Callable[[], None]] = []
    sent: list[list[float]] = []

    def send(points: Sequence[Point]) -> None:
        sent.append([p.value for p in points])
        buffer.add({"a": 9}, 9)  # as a step of the training would

    buffer = MetricBuffer(tmp_path / "metrics.csv", send, jobs.append)
    for step in range(1500):
        buffer.add({"a": step}, step)
    assert sent == []
    jobs[0]()
    assert [len(batch) for batch in sent] == [1000, 500]
    buffer.send()
    assert [len(batch) for batch in sent] == [1000, 500, 2]
    buffer.write()
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + 1503


def test_what_a_killed_process_wrote_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    first = MetricBuffer(file, send=lambda _: None)
    first.add({"a": 1.0}, 1)
    first.add({"a": 2.0, "b": 3.0}, 2)
    first.write()
    with file.open("a") as cut:
        cut.write("b,3,0.")  # killed in the middle of a line
    receiver: list[Point] = []
    second = MetricBuffer(file, send=receiver.extend)
    second.add({"a": 2.0, "b": 3.0}, 2)
    second.add({"b": 4.0}, 3)
    second.flush()
    assert [(p.name, p.step, p.value) for p in read_points(file)] == [
        ("a", 1, 1.0), ("a", 2, 2.0), ("b", 2, 3.0), ("b", 3, 4.0),
    ]  # fmt: skip
    assert [(p.name, p.step) for p in receiver] == [("b", 3)]


def test_file_and_store_are_levelled(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    first = MetricBuffer(file, send=lambda _: None)
    first.add({"a": 1.0}, 1)
    first.add({"a": 2.0}, 2)
    first.write()
    receiver: list[Point] = []
    second = MetricBuffer(file, send=receiver.extend)
    second.catch_up([("a", 1), ("a", 3)], [Point("a", 1, 1.0, 0), Point("a", 3, 9.0, 0)])
    assert [(p.name, p.step) for p in receiver] == [("a", 2)]
    assert [(p.name, p.step, p.value) for p in read_points(file)][-1] == ("a", 3, 9.0)
    second.add({"a": 9.0}, 3)
    second.flush()
    assert len(read_points(file)) == 3
