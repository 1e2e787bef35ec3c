from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from helpers.browser import free_port

from cxrlab.errors import UserError
from cxrlab.tracking.store import Store, experiment_id
from cxrlab.tracking.ui import ui_address, ui_command


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_the_command_serves_this_store_with_one_worker(store: Store) -> None:
    port = free_port()
    command, env = ui_command(store, "127.0.0.1", port)
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert command[1:4] == ["-m", "mlflow", "ui"]
    assert options == {
        "--backend-store-uri": store.uri,
        "--default-artifact-root": store.artifact_root,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
    }
    assert env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert env["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "PATH" in env


def test_a_taken_port_is_refused_with_a_free_one(store: Store, taken: int) -> None:
    with pytest.raises(UserError, match=f"port={taken} on 127.0.0.1") as caught:
        ui_command(store, "127.0.0.1", taken)
    found = re.search(r"port=(\d+) is free", str(caught.value))
    assert found
    ui_command(store, "127.0.0.1", int(found[1]))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_refused(host: str, store: Store) -> None:
    with pytest.raises(UserError, match=rf"^host={host}: .*host=127\.0\.0\.1"):
        ui_command(store, host, free_port())


def test_a_server_has_its_own_page() -> None:
    server = Store("http://me:secret@host:5000", artifact_root=None, local=False)
    with pytest.raises(UserError, match="http://host:5000 is a server"):
        ui_command(server, "127.0.0.1", 5000)


def test_the_address_leads_to_the_experiments_runs(store: Store) -> None:
    assert ui_address(store, "0.0.0.0", 5001, "mine") == (
        "http://127.0.0.1:5001/#/experiments?workflowType=machine_learning"
    )
    number = experiment_id(store, "mine")
    assert ui_address(store, "::1", 5001, "mine") == (
        f"http://[::1]:5001/#/experiments/{number}/runs?workflowType=machine_learning"
        "&viewStateShareKey=cxrlab-runs"
    )
