from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from cxrlab.errors import UserError
from cxrlab.evaluation.style import PALETTE
from cxrlab.tracking.run import NullRun, Run, start_run
from cxrlab.tracking.store import Store

Start = Callable[..., AbstractContextManager[Run]]


@pytest.fixture
def start(store: Store, tmp_path: Path) -> Start:
    def begin(**changes: Any) -> AbstractContextManager[Run]:
        known = {"experiment": "test", "name": "a run", "output": tmp_path / "output", "grace": 0}
        return start_run(**{"store": store, "tags": {}, "params": {}, **known, **changes})

    return begin


def _broken_off(start: Start, error: BaseException, **changes: Any) -> Run:
    """A run that logs one value and ends with the error."""

    def fail() -> None:
        with start(**changes) as run:
            opened.append(run)
            run.log_metrics({"train/loss": 0.5}, 3)
            raise error

    opened: list[Run] = []
    with pytest.raises(type(error)):
        fail()
    return opened[0]


def test_a_run_keeps_what_it_is_given(start: Start, store: Store) -> None:
    tags = {"cxrlab.command": "python -m cxrlab.train data.root=/a/b", "cxrlab.git_commit": "abc"}
    params = {"model.backbone": "mobilenetv2", **{f"key.{i}": i for i in range(250)}}
    with start(tags=tags, params=params, description="**why**") as run:
        assert store.client().get_run(run.run_id).info.status == "RUNNING"
        run.log_metrics({"test/auroc": 0.9})
        run.set_tags({f"tag.{i}": "x" for i in range(150)})
    kept = store.client().get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.info.run_name == "a run"
    assert kept.data.params == {key: str(value) for key, value in params.items()}
    assert kept.data.metrics == {"test/auroc": 0.9}
    assert kept.data.tags.items() >= tags.items()
    assert kept.data.tags["mlflow.source.name"] == "python -m cxrlab.train"
    assert kept.data.tags["mlflow.note.content"] == "**why**"
    assert kept.data.tags["tag.149"] == "x"
    assert run.uri == store.uri


def test_runs_that_follow_each_other_differ_in_colour(start: Start, store: Store) -> None:
    colours = []
    for _ in range(len(PALETTE) + 1):
        with start() as run:
            colours.append(store.client().get_run(run.run_id).data.tags["mlflow.runColor"])
    assert colours == [*PALETTE, PALETTE[0]]


def test_metrics_go_out_in_batches_and_to_the_disk(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start() as run:
        client, sent = run._sender._client, []  # type: ignore[attr-defined]
        log_batch = client.log_batch

        def count(run_id: str, **kinds: Any) -> None:
            sent.append(len(kinds["metrics"]))
            log_batch(run_id, **kinds)

        monkeypatch.setattr(client, "log_batch", count)
        all_given = threading.Event()
        run.defer(lambda: all_given.wait(60))  # what is sent does not depend on who is faster
        for step in range(1250):
            run.log_metrics({"train/loss": 1 / (step + 1), "lr": 0.1}, step)
        all_given.set()
    assert sent == [1000, 1000, 500]
    history = store.client().get_metric_history(run.run_id, "train/loss")
    assert [m.step for m in history] == list(range(1250))
    table = pd.read_csv(run.output / "metrics.csv")
    assert list(table.columns) == ["name", "step", "value", "time"]
    losses = table[table["name"] == "train/loss"]
    assert losses["value"].tolist() == [m.value for m in history]


def test_not_a_number_and_infinity_are_kept(start: Start, store: Store) -> None:
    with start() as run:
        run.log_metrics({"a": math.nan, "b": math.inf, "c": 1.0})
    kept = store.client().get_run(run.run_id).data.metrics
    assert math.isnan(kept["a"])
    assert kept["b"] > 1e308
    assert kept["c"] == 1.0
    assert pd.read_csv(run.output / "metrics.csv")["value"].isna().tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("first\nsecond line"), "FAILED", "ValueError: first second line"),
        (UserError("x" * 900), "FAILED", "UserError: xxx"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
        (SystemExit(1), "KILLED", "SystemExit: 1"),
    ],
)
def test_an_exception_ends_the_run_and_loses_nothing(
    error: BaseException, status: str, said: str, start: Start, store: Store
) -> None:
    run = _broken_off(start, error)
    kept = store.client().get_run(run.run_id)
    assert kept.info.status == status
    assert kept.data.metrics == {"train/loss": 0.5}
    assert kept.data.tags["cxrlab.error"].startswith(said)
    assert len(kept.data.tags["cxrlab.error"]) <= 500


def test_a_failing_store_does_not_hide_the_first_error(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(MlflowClient, "set_terminated", fail)
    run = _broken_off(start, ValueError("the cause"))
    assert "No space left" in caplog.text
    assert len(pd.read_csv(run.output / "metrics.csv")) == 1


def test_a_store_that_fails_at_the_end_is_an_error(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(MlflowClient, "set_terminated", fail)
    with pytest.raises(UserError, match=r"No space left on device.*room"), start():
        pass


def test_metrics_that_cannot_be_sent_fail_the_run(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_batch = MlflowClient.log_batch

    def fail(client: MlflowClient, run_id: str, **kinds: Any) -> None:
        if kinds.get("metrics"):
            raise OSError("No space left on device")
        log_batch(client, run_id, **kinds)

    def log(run: Run) -> None:
        run.log_metrics({"train/loss": 0.5})
        opened.append(run)

    opened: list[Run] = []
    monkeypatch.setattr(MlflowClient, "log_batch", fail)
    with pytest.raises(UserError, match="No space left on device"), start() as run:
        log(run)
    _assert_failed_without_space(store, opened[0])
    assert len(pd.read_csv(opened[0].output / "metrics.csv")) == 1


def test_a_run_reopens_where_it_stopped(
    start: Start, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first = _broken_off(start, KeyboardInterrupt(), params={"a": "1", "b": "2"})
    changed = {"a": "1", "b": "3", "c": "4"}
    with start(params=changed, run_id=first.run_id, tags={"again": "yes"}) as second:
        assert store.client().get_run(first.run_id).info.status == "RUNNING"
        second.log_metrics({"train/loss": 0.4}, 4)
    kept = store.client().get_run(first.run_id)
    assert second.run_id == first.run_id
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"a": "1", "b": "2", "c": "4"}
    assert kept.data.tags["again"] == "yes"
    assert "(b)" in caplog.text
    history = store.client().get_metric_history(first.run_id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(3, 0.5), (4, 0.4)]
    assert len(pd.read_csv(second.output / "metrics.csv")) == 2


@pytest.mark.parametrize("run_id", ["0" * 32, "no/run"])
def test_reopening_an_unknown_run_says_so(run_id: str, start: Start) -> None:
    with pytest.raises(UserError, match=f"run {run_id} is not in the tracking store"):
        start(run_id=run_id).__enter__()


def test_long_params_are_cut_and_odd_names_replaced(start: Start, store: Store) -> None:
    with start(params={"data.classes": "x" * 7000, "a=b": "1"}, tags={"long": "y" * 9000}) as run:
        run.log_metrics({"test/recall (%)": 1.0})
    kept = store.client().get_run(run.run_id).data
    assert kept.params["data.classes"] == "x" * 5999 + "…"
    assert kept.params["a_b"] == "1"
    assert kept.tags["long"] == "y" * 7999 + "…"
    assert kept.metrics == {"test/recall ___": 1.0}


def test_uploads_keep_their_place(start: Start, store: Store) -> None:
    with start() as run:
        (run.output / "figures" / "inner").mkdir(parents=True)
        (run.output / "figures" / "inner" / "roc.png").write_bytes(b"png")
        (run.output / "report.html").write_text("<p>")
        run.upload("figures")
        run.upload("report.html")
        run.upload(Path("figures") / "inner" / "roc.png")
        with pytest.raises(ValueError, match="not in the subpath"):
            run.upload("../elsewhere")
    client = store.client()
    assert [f.path for f in client.list_artifacts(run.run_id)] == ["figures", "report.html"]
    deep = client.list_artifacts(run.run_id, "figures/inner")
    assert [f.path for f in deep] == ["figures/inner/roc.png"]


def test_uploading_what_is_not_there_fails_the_run(start: Start, store: Store) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"), start() as run:
        run.upload("absent.csv")
    assert store.client().get_run(run.run_id).info.status == "FAILED"


def test_what_is_drawn_meanwhile_is_uploaded_once_it_is_there(start: Start, store: Store) -> None:
    asked, drawn = threading.Event(), threading.Event()

    def draw() -> None:
        drawn.set()
        assert asked.wait(30)
        (run.output / "late.png").write_bytes(b"png")

    with start() as run:
        run.output.mkdir(exist_ok=True)
        run.defer(draw)
        run.upload("late.png")
        run.log_metrics({"train/loss": 0.5}, 1)
        assert drawn.wait(30)  # in another thread, while this one got here
        assert not (run.output / "late.png").exists()
        asked.set()
        run.wait()  # type: ignore[attr-defined]
        assert [f.path for f in store.client().list_artifacts(run.run_id)] == ["late.png"]


@pytest.mark.parametrize("end", [None, KeyboardInterrupt(), ValueError("crash")])
def test_however_a_run_ends_nothing_that_it_was_given_is_lost(
    end: BaseException | None, start: Start, store: Store
) -> None:
    def give(run: Run) -> None:
        opened.append(run)
        run.defer(lambda: time.sleep(0.2))
        (run.output / "a.txt").parent.mkdir(exist_ok=True)
        (run.output / "a.txt").write_text("a")
        run.upload("a.txt")
        run.log_metrics({"train/loss": 0.5}, 3)
        run.flush()
        if end is not None:
            raise end

    opened: list[Run] = []
    expected = nullcontext() if end is None else pytest.raises(type(end))
    with expected, start() as run:
        give(run)
    run_id = opened[0].run_id
    assert [f.path for f in store.client().list_artifacts(run_id)] == ["a.txt"]
    assert store.client().get_run(run_id).data.metrics == {"train/loss": 0.5}


def test_a_store_that_fails_stops_the_run_at_its_next_word(
    start: Start, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    def log(run: Run) -> None:
        opened.append(run)
        run.log_image(np.zeros((8, 8), np.uint8), key="a", step=0)
        with suppress(UserError):
            run.wait()  # type: ignore[attr-defined]
        run.log_image(np.zeros((8, 8), np.uint8), key="a", step=1)
        raise AssertionError("went on")

    opened: list[Run] = []
    monkeypatch.setattr(MlflowClient, "log_artifact", fail)
    with pytest.raises(UserError, match="No space left on device"), start() as run:
        log(run)
    _assert_failed_without_space(store, opened[0])


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_images_reach_the_grid(shape: tuple[int, ...], start: Start, store: Store) -> None:
    with start() as run:
        run.log_image(np.zeros(shape, np.uint8), key="explanations/NORMAL (1)", step=4)
    names = [f.path for f in store.client().list_artifacts(run.run_id, "images")]
    assert len(names) == 2
    assert all(name.startswith("images/explanations~NORMAL _1_+step+4+") for name in names)


def test_each_split_is_a_dataset_of_its_own(start: Start, store: Store) -> None:
    table = pd.DataFrame({"path": ["a", "b"], "target": [0, 1], "age": [1.5, 2.0]})
    with start() as run:
        for split in ("train", "val", "test"):
            run.log_dataset(table, name="phantom", split=split, digest="d" * 64, source="/data")
    kept = store.client().get_run(run.run_id).inputs
    assert kept
    inputs = kept.dataset_inputs
    contexts = {i.dataset.name: i.tags[0].value for i in inputs}
    assert contexts == {
        "phantom_train": "train", "phantom_val": "validation", "phantom_test": "test"
    }  # fmt: skip
    assert inputs[0].dataset.digest == "d" * 36
    assert json.loads(str(inputs[0].dataset.profile)) == {"num_rows": 2, "num_elements": 6}
    columns = json.loads(str(inputs[0].dataset.schema))["mlflow_colspec"]
    assert [c["type"] for c in columns] == ["string", "long", "double"]


def test_without_mlflow_the_metrics_are_on_disk(start: Start, tmp_path: Path) -> None:
    with start(store=None) as run:
        assert isinstance(run, NullRun)
        run.log_metrics({"val/auroc": 0.5}, 7)
        run.set_tags({"a": "b"})
        run.upload("absent.csv")
        run.log_image(np.zeros((4, 4), np.uint8), key="a", step=0)
        run.log_dataset(pd.DataFrame(), name="a", split="val", digest="b", source="c")
    interrupted = _broken_off(start, ValueError("stop"), store=None)
    assert run.run_id == interrupted.run_id == str(tmp_path / "output")
    lines = (tmp_path / "output" / "metrics.csv").read_text().splitlines()
    assert lines[1].startswith("val/auroc,7,0.5,")
    assert lines[2].startswith("train/loss,3,0.5,")


def _assert_failed_without_space(store: Store, run: Run) -> None:
    kept = store.client().get_run(run.run_id)
    assert kept.info.status == "FAILED"
    assert "No space left" in kept.data.tags["cxrlab.error"]
