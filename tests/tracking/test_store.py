from __future__ import annotations

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.browser import free_port

from cxrlab.errors import UserError
from cxrlab.tracking.run import start_run
from cxrlab.tracking.store import (
    Store,
    StoreError,
    experiment_id,
    one_line_errors,
    open_store,
    reason,
    refused,
)


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


def test_a_server_that_returns_in_time_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output readable."""

    def serve_one() -> None:
        time.sleep(0.7)
        with HTTPServer(("127.0.0.1", port), Answer) as server:
            server.handle_request()

    with pytest.raises(UserError, match="does not answer"):
        open_store(uri, tmp_path, wait=0.1)
    thread = threading.Thread(target=serve_one)
    thread.start()
    assert open_store(uri, tmp_path, wait=20).remote
    thread.join()


def test_a_server_that_goes_before_the_run_is_there_is_one_line_after_the_grace(
    tmp_path: Path,
) -> None:
    store = Store(f"http://127.0.0.1:{free_port()}", artifact_root=None, local=False)
    store.client()  # imports mlflow, which is no part of the wait
    begun = time.monotonic()
    run = start_run(store, experiment="a", name="b", output=tmp_path, tags={}, params={}, grace=0.6)
    with pytest.raises(UserError, match="Connection refused") as caught:
        run.__enter__()
    assert "\n" not in str(caught.value)
    assert 0.6 <= time.monotonic() - begun < 10


def test_the_reason_is_the_innermost_cause() -> None:
    inner = ConnectionResetError(104, "Connection reset by peer")
    outer = OSError(RuntimeError("Connection aborted.", inner))
    outer.__context__ = OSError("another")
    assert reason(OSError("aborted", inner)) == "Connection reset by peer"
    assert reason(outer) == "another"
    assert reason(ValueError("a\nb")) == "a b"


@pytest.mark.parametrize(
    ("code", "final"), [(400, True), (404, True), (413, True), (429, False), (500, False)]
)
def test_what_a_server_refuses_is_told_from_what_it_fails_at(code: int, final: bool) -> None:
    error = OSError("an answer")
    error.response = SimpleNamespace(status_code=code)  # type: ignore[attr-defined]
    assert refused(error) is final
    wrapped = StoreError("one line")
    wrapped.__cause__ = error
    assert refused(wrapped) is final
    assert not refused(OSError("no answer"))


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
