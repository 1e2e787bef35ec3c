"""A real MLflow server that can be stopped, killed and started again, and a bad line to it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from helpers.browser import free_port, running

from cxrlab.tracking.database import prepare_database

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-encoding", "content-length"}


class MlflowServer:
    """`mlflow server` on loopback, with SQLite and artifacts in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = contextlib.ExitStack()
        self._group = 0
        prepare_database(folder / "mlflow.db", folder / "artifacts")

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server",
            "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}",
            "--artifacts-destination", str(self.folder / "artifacts"),
            "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
        ]  # fmt: skip
        env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        log = self.folder / "server.log"
        process = running(command, env, f"{self.url}/health", log)
        self._group = self._process.enter_context(process).pid

    def kill(self) -> None:
        """End it at once, with requests half done."""
        self.thaw()
        os.killpg(self._group, signal.SIGKILL)
        self._process.close()

    def freeze(self) -> None:
        """It accepts connections, as the kernel does for it, and answers nothing."""
        os.killpg(self._group, signal.SIGSTOP)

    def thaw(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGCONT)

    def close(self) -> None:
        self.thaw()
        self._process.close()


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.close()


class BadLine:
    """A proxy before a server that fails some requests: half of them after they were carried out.

    `requests` counts them, `lost` those whose answer was thrown away though they were carried out.
    """

    def __init__(self, target: str, share: float, seed: int = 0) -> None:
        self.share = share
        self.requests = self.failed = self.lost = 0
        self._target = target
        self._draw = random.Random(seed)
        self._lock = threading.Lock()

    def fate(self) -> str:
        with self._lock:
            self.requests += 1
            if self._draw.random() >= self.share:
                return "passed"
            self.failed += 1
            if self._draw.random() < 0.5:
                return "refused"
            self.lost += 1
            return "lost"

    def forward(self, method: str, path: str, headers: Any, body: bytes | None) -> Any:
        kept = {k: v for k, v in headers.items() if k.lower() not in {*_HOP, "host"}}
        request = urllib.request.Request(
            self._target + path, data=body, headers=kept, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()


@contextlib.contextmanager
def bad_line(target: str, share: float, seed: int = 0) -> Iterator[tuple[str, BadLine]]:
    """Address of the proxy, and the proxy."""
    line = BadLine(target, share, seed)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = self.headers.get("Content-Length")
            body = self.rfile.read(int(length)) if length else None
            fate = "passed" if self.path == "/health" else line.fate()
            status, headers, content = 500, {}, b"out of order"
            if fate != "refused":
                answer = line.forward(self.command, self.path, self.headers, body)
                if fate == "passed":
                    status, headers, content = answer
            self.send_response(status)
            for key, value in headers.items():
                if key.lower() not in _HOP:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Keep the test's output readable."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", line
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
