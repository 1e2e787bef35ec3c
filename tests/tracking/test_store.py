from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.browser import free_port
from helpers.tracking import STEPS, log_one_run

from cxrlab.errors import UserError
from cxrlab.tracking.store import Store, experiment_id, one_line_errors, open_store


def test_the_package_does_not_import_mlflow() -> None:
    code = (
        f"import sys, os; sys.path[:] = {sys.path}\n"
        "import cxrlab.tracking, cxrlab.tracking.run, cxrlab.tracking.ui\n"
        "assert 'mlflow' not in sys.modules\n"
        "assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_opening_a_store_that_is_ready_does_not_import_mlflow(mlruns: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cxrlab.tracking.store import open_store\n"
        "store = open_store(None, Path(sys.argv[1]))\n"
        "print(store.uri, sorted({'mlflow', 'alembic', 'sqlalchemy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(mlruns)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == f"sqlite:///{mlruns / 'mlflow.db'} []"


def test_the_default_store_is_a_database_in_the_folder(store: Store, mlruns: Path) -> None:
    assert store.uri == f"sqlite:///{mlruns}/mlflow.db"
    assert store.artifact_root == str(mlruns / "artifacts")
    assert store.local
    assert store.folder == mlruns


def test_the_variable_names_the_store_and_the_argument_wins(
    mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlruns}/mlflow.db")
    assert open_store(None, tmp_path / "other").folder == mlruns
    with pytest.raises(UserError, match=r"^tracking\.uri="):
        open_store("nonsense", tmp_path)


def test_a_relative_database_becomes_absolute(
    mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("sqlite:///mlruns/mlflow.db", tmp_path).uri == f"sqlite:///{mlruns}/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("file:./mlruns", "plain folders"),
        ("mlruns", "plain folders"),
        ("sqlite://", "names no database file"),
        ("sqlite:///:memory:", "names no database file"),
        ("sqlite:////tmp/a?b.db", "names no database file"),
        ("ftp://host/x", "no store that MLflow knows"),
        ("http://user:secret@127.0.0.1:{port}", "does not answer"),
        ("http://", "does not answer"),
    ],
)
def test_a_wrong_uri_is_one_line_with_a_remedy(uri: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as caught:
        open_store(uri.format(port=free_port()), tmp_path / "mlruns")
    text = str(caught.value)
    assert "\n" not in text
    assert "secret" not in text
    assert "sqlite:////FOLDER" in text or "mlflow server" in text
    assert not (tmp_path / "mlruns").exists()


def test_experiments_are_made_once_and_found_again(store: Store) -> None:
    first = experiment_id(store, "a/b c")
    assert experiment_id(store, "a/b c") == first
    location = store.client().get_experiment(first).artifact_location
    assert location == f"{store.artifact_root}/a_b_c"


def test_losing_the_race_for_an_experiment_finds_the_winners(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.client()
    winner = client.create_experiment("race", str(store.artifact_root))
    lookup, answers = client.get_experiment_by_name, [None]
    monkeypatch.setattr(
        client, "get_experiment_by_name", lambda name: answers.pop() if answers else lookup(name)
    )
    monkeypatch.setattr(Store, "client", lambda self: client)
    assert experiment_id(store, "race") == winner


def test_a_deleted_experiment_is_refused_with_the_way_back(store: Store) -> None:
    number = experiment_id(store, "old")
    store.client().delete_experiment(number)
    with pytest.raises(UserError, match=rf"restore -x {number}"):
        experiment_id(store, "old")


def test_failures_of_mlflow_become_one_line(store: Store) -> None:
    with pytest.raises(UserError, match=r"mlflow\.db") as caught, one_line_errors(store):
        store.client().get_run("0" * 32)
    assert "\n" not in str(caught.value)


def test_processes_that_start_at_once_on_a_fresh_store_lose_nothing(tmp_path: Path) -> None:
    count, folder = 4, tmp_path / "mlruns"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store", "helpers.tracking"])
    together = context.Barrier(count)
    workers = [
        context.Process(target=log_one_run, args=(folder, index, together))
        for index in range(count)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * count

    client = open_store(None, folder).client()
    experiment = client.get_experiment_by_name("race")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.params["i"] for run in runs) == ["0", "1", "2", "3"]
    for run in runs:
        index = int(run.data.params["i"])
        history = client.get_metric_history(run.info.run_id, "train/loss")
        assert run.info.status == "FINISHED"
        assert [(m.step, m.value) for m in history] == [(s, s * index) for s in range(STEPS)]
    assert not list(folder.glob("*.new*"))
