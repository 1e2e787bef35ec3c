from __future__ import annotations

from pathlib import Path

import pytest

from cxrlab.config.schema import TrackingConfig
from cxrlab.errors import UserError
from cxrlab.serving.runs import find_folder
from cxrlab.tracking.find import OUTPUT_TAG
from cxrlab.tracking.registry import Registered, register
from cxrlab.tracking.store import Store, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    return open_store(f"sqlite:///{folder / 'mlflow.db'}", folder)


@pytest.fixture
def config(store: Store, compose) -> TrackingConfig:
    return compose("tracking=local").tracking.model_copy(update={"uri": store.uri})


def run_of(store: Store, folder: Path, *, model: bool = True) -> str:
    from mlflow.entities import LoggedModelOutput

    client = store.client()
    run_id: str = client.create_run("0").info.run_id
    folder = folder / run_id
    folder.mkdir()
    client.set_tag(run_id, OUTPUT_TAG, str(folder))
    if model:
        logged = client.create_logged_model("0", "model", source_run_id=run_id)
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    client.set_terminated(run_id)
    return run_id


def test_the_first_is_champion_later_ones_challenge_and_each_is_found(
    store: Store, config: TrackingConfig, tmp_path: Path
) -> None:
    first, second, third = (run_of(store, tmp_path) for _ in range(3))
    assert register(store, first, "chest") == Registered("chest", "1", "champion")
    assert register(store, second, "chest") == Registered("chest", "2", "challenger")
    assert register(store, third, "chest") == Registered("chest", "3", "challenger")
    for named, run_id in {
        "models:/chest/1": first, "models:/chest/2": second, "models:/chest@champion": first,
        "models:/chest@challenger": third,
    }.items():  # fmt: skip
        assert find_folder(named, config) == tmp_path / run_id


def test_a_run_is_registered_once_and_a_moved_champion_stays(store: Store, tmp_path: Path) -> None:
    first, second = run_of(store, tmp_path), run_of(store, tmp_path)
    register(store, first, "moved")
    register(store, second, "moved")
    store.client().set_registered_model_alias("moved", "champion", "2")
    assert register(store, second, "moved") == Registered("moved", "2", "champion")
    assert register(store, first, "moved") == Registered("moved", "1", "challenger")
    assert len(store.client().search_model_versions("name = 'moved'")) == 2


def test_a_run_without_a_model_is_not_registered(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no model"):
        register(store, run_of(store, tmp_path, model=False), "bare")
    assert not store.client().search_registered_models("name = 'bare'")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("models:/none/1", "not in the registry"),
        ("models:/other/9", "not in the registry"),
        ("models:/other@nobody", "not in the registry"),
        ("models:/other", "no name of a model; write models:/NAME/VERSION or models:/NAME@ALIAS"),
        ("models:/", "no name of a model"),
    ],
)
def test_what_is_not_registered_is_one_line(
    named: str, message: str, store: Store, config: TrackingConfig, tmp_path: Path
) -> None:
    register(store, run_of(store, tmp_path), "other")
    with pytest.raises(UserError, match=message) as caught:
        find_folder(named, config)
    assert str(caught.value).startswith(f"run={named}: ")
    assert "\n" not in str(caught.value)
