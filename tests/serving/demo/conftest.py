"""The demo of the tiny run of `tests/serving`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cxrlab.serving.demo.server import demo_app

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def app(trained_run, compose):
    config = compose("port=8000", "max_megabytes=3", "host=xray.example", command="demo")
    return demo_app(trained_run.checkpoint, config)


@pytest.fixture
def client(app):
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def ask(client) -> Ask:
    """Send a file's bytes as the page does."""

    def send(content: bytes, name: str = "", **headers: str) -> Any:
        told = {"content-type": "application/octet-stream", "x-file-name": name}
        return client.post("/predict", content=content, headers=told | headers)

    return send


@pytest.fixture(scope="session")
def files(trained_run) -> list[Path]:
    return sorted((trained_run.images / "test").rglob("*.jpeg"))
