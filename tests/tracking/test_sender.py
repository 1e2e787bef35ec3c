from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.stored import stored
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from cxrlab.tracking.metrics import Point
from cxrlab.tracking.parcels import (
    DatasetUse,
    End,
    Kept,
    Network,
    Params,
    Tags,
    Upload,
)
from cxrlab.tracking.sender import Sender
from cxrlab.tracking.store import Store, StoreError

PARCELS: dict[str, tuple[Kept, list[str]]] = {
    "params": (Params({"a": "1"}), ["log_batch"]),
    "tags": (Tags({"a": "1"}), ["log_batch"]),
    "file": (Upload("deep/a.txt"), ["log_artifact"]),
    "dataset": (DatasetUse("a", "b", "{}", "{}", "{}", "train"), ["log_inputs"]),
    "model": (
        Network("model"),
        ["create_logged_model", "log_outputs", "log_model_artifact", "finalize_logged_model"],
    ),
    "end": (End("FINISHED", 5), ["set_terminated"]),
}


@pytest.fixture
def run_id(store: Store) -> str:
    return str(store.client().create_run("0").info.run_id)


@pytest.fixture
def sender(store: Store, run_id: str, tmp_path: Path) -> Sender:
    output = tmp_path / "output"
    (output / "deep").mkdir(parents=True)
    (output / "deep" / "a.txt").write_text("a")
    (output / "model" / "code").mkdir(parents=True)
    (output / "model" / "code" / "a.py").write_text("pass")
    Model(flavors={"python_function": {"loader_module": "x"}}).save(str(output / "model/MLmodel"))
    return Sender(store, run_id, output)


def losing_its_first_answer(done: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but the first call is carried out and then fails."""
    calls: list[None] = []

    def call(*arguments: Any, **named: Any) -> Any:
        answer = done(*arguments, **named)
        calls.append(None)
        if len(calls) == 1:
            raise MlflowException("the answer was lost")
        return answer

    return call


@pytest.mark.parametrize(
    ("kind", "lost"), [(kind, name) for kind, (_, names) in PARCELS.items() for name in names]
)
def test_what_is_sent_again_after_a_lost_answer_is_there_once(
    kind: str,
    lost: str,
    sender: Sender,
    store: Store,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parcel, _ = PARCELS[kind]
    monkeypatch.setattr(MlflowClient, lost, losing_its_first_answer(getattr(MlflowClient, lost)))
    with pytest.raises(StoreError, match="the answer was lost"):
        sender.send(parcel)
    sender.send(parcel)
    sender.send(parcel)
    found = stored(store.client(), run_id)
    assert found.params == ({"a": "1"} if kind == "params" else {})
    assert found.tags == ({"a": "1"} if kind == "tags" else {})
    assert found.artifacts == (["deep/a.txt"] if kind == "file" else [])
    assert found.datasets == ([("a", "train")] if kind == "dataset" else [])
    assert found.models == ([("model", "READY")] if kind == "model" else [])
    assert found.status == ("FINISHED" if kind == "end" else "RUNNING")


def test_a_model_knows_its_own_id_and_run(
    sender: Sender, store: Store, run_id: str, tmp_path: Path
) -> None:
    sender.send(Network("model"))
    described = Model.load(str(tmp_path / "output" / "model"))
    experiment = store.client().get_run(run_id).info.experiment_id
    (model,) = store.client().search_logged_models([experiment])
    assert (described.model_id, described.run_id) == (model.model_id, run_id)


def test_a_model_of_many_files_gets_over_a_bad_line_file_by_file(
    sender: Sender, store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    log_model_artifact = MlflowClient.log_model_artifact

    def fail_at_the_second(client: MlflowClient, model: str, path: str, place: str | None) -> None:
        put.append(Path(path).name)
        if len(put) == 2:
            raise MlflowException("gone again")
        log_model_artifact(client, model, path, place)

    monkeypatch.setattr(MlflowClient, "log_model_artifact", fail_at_the_second)
    with pytest.raises(StoreError, match="gone again"):
        sender.send(Network("model"))
    sender.send(Network("model"))
    assert put == ["MLmodel", "a.py", "a.py"]
    (model,) = store.client().search_logged_models(
        [store.client().get_run(run_id).info.experiment_id]
    )
    files = store.client().list_logged_model_artifacts(model.model_id, "code")
    assert [file.path for file in files] == ["code/a.py"]


def test_points_whose_answer_was_lost_are_asked_for_before_the_rest_is_sent(
    sender: Sender, store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[tuple[str, int]]] = []
    log_batch = losing_its_first_answer(MlflowClient.log_batch)

    def count(client: MlflowClient, run_id: str, **kinds: Any) -> None:
        sent.append([(m.key, m.step) for m in kinds["metrics"]])
        log_batch(client, run_id, **kinds)

    monkeypatch.setattr(MlflowClient, "log_batch", count)
    points = [Point("recall (%)", 0, 0.5, 1), Point("a", 1, float("nan"), 2)]
    with pytest.raises(StoreError):
        sender.send_points(points)
    points.append(Point("a", 2, 1.0, 3))
    sender.send_points(points)
    sender.send_points([Point("a", 3, 1.0, 4)])
    # Not the two that the store has, though nobody said so.
    assert sent == [[("recall ___", 0), ("a", 1)], [("a", 2)], [("a", 3)]]
    assert sorted((p.name, p.step) for p in sender.points()) == [
        ("a", 1), ("a", 2), ("a", 3), ("recall ___", 0),
    ]  # fmt: skip


def test_a_file_that_is_gone_is_told_and_does_not_hold_up_the_rest(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    sender.send(Upload("deep/b.txt"))
    assert "deep/b.txt was deleted before it could be sent" in caplog.text
