"""A web server and a headless Chromium for tests, both gone when the test is over."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_LOCAL = ("127.0.0.1", "localhost", "::1")


def chromium_or_skip() -> str:
    """Path of an installed Chromium; skips the test where it or playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"needs a Chromium on PATH ({', '.join(_NAMES)}): apt-get install chromium")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serve(
    command: Sequence[str], env: Mapping[str, str], url: str, log: Path, seconds: float = 120.0
) -> Iterator[str]:
    """Run a server until `url` answers, and its whole process group no longer than the test."""
    with running(command, env, url, log, seconds):
        yield url


@contextlib.contextmanager
def running(
    command: Sequence[str], env: Mapping[str, str], url: str, log: Path, seconds: float = 120.0
) -> Iterator[subprocess.Popen[bytes]]:
    """The leader of a server's process group, once `url` answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(env),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, url, log, seconds)
            yield process
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.2)
    raise AssertionError(f"no answer from {url}:\n{log.read_text(errors='replace')[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)


@contextlib.contextmanager
def browse(
    storage: Mapping[str, str] | None = None, width: int = 1500, height: int = 1000
) -> Iterator[Page]:
    """A page of a fresh headless Chromium, with entries in each site's local storage.

    Fails at the end if the page asked another machine for anything, or threw an error.
    """
    executable = chromium_or_skip()
    from playwright.sync_api import sync_playwright

    outside: list[str] = []
    errors: list[str] = []

    def note(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in _LOCAL:
            outside.append(request.url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=_FLAGS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            for key, value in (storage or {}).items():
                # A sandboxed frame, such as that of an HTML artifact, has an opaque origin and no
                # storage.
                page.add_init_script(
                    "if (window.origin !== 'null') "
                    f"window.localStorage.setItem({json.dumps(key)}, {json.dumps(value)})"
                )
            page.on("request", note)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.set_default_timeout(60_000)
            yield page
        finally:
            browser.close()
    assert not outside, f"the page asked for {outside}"
    assert not errors, f"the page threw {errors}"
