from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from cxrlab.tracking import outbox as module
from cxrlab.tracking.outbox import Outbox
from cxrlab.tracking.parcels import Metrics, Parcel, Tags

GONE = ConnectionError("gone")
WRONG = MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST)  # 404


def tags(*names: str) -> list[Parcel]:
    return [Tags({name: ""}) for name in names]


class Server:
    """Fails each delivery with the next error of a list, then takes everything."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.taken: list[Parcel] = []
        self.asked: list[Parcel] = []

    def __call__(self, parcel: Parcel) -> None:
        self.asked.append(parcel)
        if self.errors and (error := self.errors.pop(0)):
            raise error
        self.taken.append(parcel)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.02)


def fill(deliver: Callable[[Parcel], None], parcels: list[Parcel], grace: float = 5.0) -> Outbox:
    box = Outbox(deliver, "http://server", grace)
    for parcel in parcels:
        box.put(parcel)
    return box


def test_what_fails_is_tried_again_and_order_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(None, GONE, GONE, GONE)
    box = fill(server, tags("a", "b", "c"))
    assert box.close() == []
    assert server.taken == tags("a", "b", "c")
    assert server.asked == tags("a", "b", "b", "b", "b", "c")
    assert caplog.text.count("does not take what is sent (gone)") == 1


@given(st.lists(st.sampled_from([None, GONE]), max_size=12), st.integers(0, 6))
def test_whatever_fails_everything_arrives_once_and_in_order(
    errors: list[Exception | None], count: int
) -> None:
    server, parcels = Server(*errors), tags(*map(str, range(count)))
    assert fill(server, parcels).close() == []
    assert server.taken == parcels


def test_putting_waits_for_nobody_and_closing_only_for_the_grace() -> None:
    hangs = threading.Event()
    begun = time.monotonic()
    box = fill(lambda _: (_ for _ in ()).throw(GONE), tags("a", "b"), grace=0.3)
    assert time.monotonic() - begun < 0.2
    assert box.close() == tags("a", "b")
    assert 0.3 <= time.monotonic() - begun < 2
    assert box.error is GONE
    # A request that neither fails nor ends is waited for, but not for ever.
    box = fill(lambda _: (hangs.wait(30), None)[1], tags("a"), grace=0.02)
    begun = time.monotonic()
    assert box.close() == tags("a")
    assert time.monotonic() - begun < 2
    hangs.set()


def test_a_server_that_comes_back_at_the_end_gets_everything() -> None:
    back = time.monotonic() + 0.3
    taken: list[Parcel] = []

    def deliver(parcel: Parcel) -> None:
        if time.monotonic() < back:
            raise GONE
        taken.append(parcel)

    assert fill(deliver, tags("a", "b", "c")).close() == []
    assert taken == tags("a", "b", "c")


def test_what_is_refused_does_not_hold_up_the_rest_and_gets_a_second_chance() -> None:
    def deliver(parcel: Parcel) -> None:
        if parcel in refused:
            raise WRONG
        taken.append(parcel)

    taken: list[Parcel] = []
    refused = tags("b", "c")
    box = fill(deliver, tags("a", "b", "c", "d"))
    end = time.monotonic() + 10
    while len(taken) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    refused.remove(*tags("b"))
    assert box.close() == tags("c")
    assert taken == tags("a", "d", "b")
    assert box.error is WRONG


def test_the_second_chance_does_not_lose_what_is_on_its_way() -> None:
    on_its_way, go = threading.Event(), threading.Event()
    asked: list[Parcel] = []

    def deliver(parcel: Parcel) -> None:
        asked.append(parcel)
        if len(asked) == 1:
            raise WRONG
        if len(asked) == 2:
            on_its_way.set()
            assert go.wait(30)

    box = fill(deliver, tags("a", "b", "c"))
    assert on_its_way.wait(30)
    threading.Timer(0.3, go.set).start()
    assert box.close() == []
    assert asked == tags("a", "b", "a", "c")


def test_metrics_that_wait_wait_once() -> None:
    go = threading.Event()
    asked: list[Parcel] = []

    def deliver(parcel: Parcel) -> None:
        asked.append(parcel)
        assert go.wait(30)

    box = fill(deliver, [*tags("a"), Metrics(), Metrics(), Metrics(), *tags("b"), Metrics()])
    go.set()
    assert box.close() == []
    assert asked == [*tags("a"), Metrics(), *tags("b"), Metrics()]


def test_closing_an_empty_one_is_nothing() -> None:
    assert Outbox(Server(), "http://server", 5).close() == []


def test_metrics_given_while_others_are_on_their_way_are_sent_as_well() -> None:
    asked: list[Parcel] = []

    def deliver(parcel: Parcel) -> None:
        asked.append(parcel)
        if len(asked) == 1:
            box.put(Metrics())  # when all that this delivery sends has been counted

    box = Outbox(deliver, "http://server", 5.0)
    box.put(Metrics())
    time.sleep(0.2)
    assert box.close() == []
    assert asked == [Metrics(), Metrics()]
