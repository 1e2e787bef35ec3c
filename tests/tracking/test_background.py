from __future__ import annotations

import threading

import pytest

from cxrlab.tracking.background import Background


def test_jobs_are_done_in_order_in_one_other_thread() -> None:
    background, done = Background(), []
    for number in range(20):
        background.submit(lambda n=number: done.append((n, threading.current_thread())))
    background.wait()
    assert [number for number, _ in done] == list(range(20))
    (thread,) = {thread for _, thread in done}
    assert thread is not threading.current_thread()


def test_submitting_does_not_wait() -> None:
    background, go, done = Background(), threading.Event(), []
    background.submit(lambda: done.append(go.wait(30)))
    assert done == []
    go.set()
    background.close()
    assert done == [True]


def test_an_error_comes_back_as_it_is_at_every_later_call() -> None:
    background, error = Background(), ValueError("first")

    def fail(what: Exception) -> None:
        raise what

    background.submit(lambda: fail(error))
    for later in (background.wait, lambda: background.submit(list), background.close):
        with pytest.raises(ValueError, match="first") as caught:
            later()
        assert caught.value is error


def test_after_an_error_waiting_jobs_are_dropped() -> None:
    background, go, done = Background(), threading.Event(), []

    def fail() -> None:
        go.wait(30)
        raise ValueError("gone")

    background.submit(fail)
    background.submit(lambda: done.append("second"))
    go.set()
    with pytest.raises(ValueError, match="gone"):
        background.close()
    assert done == []


def test_closing_without_a_job_is_nothing_and_ends_the_thread_after_one() -> None:
    Background().close()
    background, threads = Background(), []
    background.submit(lambda: threads.append(threading.current_thread()))
    background.close()
    assert not threads[0].is_alive()
