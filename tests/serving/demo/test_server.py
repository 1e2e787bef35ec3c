from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.browser import free_port, running
from helpers.corpus import Refused, write_corpus

from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.serving.demo import server
from cxrlab.serving.heatmaps import heat_maps

EVIL = '../../<script>alert(1)</script>&".jpeg'


def picture_of(uri: str) -> np.ndarray:
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


def test_probabilities_and_decisions_are_those_of_predict(ask, files, predictor) -> None:
    table = predictor.predict(files[:5])
    for file, row in zip(files[:5], table.to_dict("records"), strict=True):
        found = ask(file.read_bytes(), file.name).json()
        (score,) = found["scores"]
        assert score["probability"] == pytest.approx(row["probability"], abs=1e-6)
        assert score["calibrated"] == pytest.approx(row["calibrated"], abs=1e-6)
        assert score["positive"] == bool(row["decision"])
        assert found["decision"] == ("NORMAL", "PNEUMONIA")[row["decision"]]
        assert "chosen on validation by youden" in score["threshold"]


def test_pictures_are_what_the_model_sees_and_where_its_evidence_lies(
    ask, files, predictor
) -> None:
    content = files[0].read_bytes()
    found = ask(content).json()
    pixels = predictor.square(content)
    np.testing.assert_array_equal(picture_of(found["image"]), pixels)
    layer = picture_of(found["layer"])[..., [2, 1, 0, 3]]
    expected = heat_maps(predictor, np.stack([pixels]))[0]
    assert np.abs(layer.astype(int) - expected.layer).max() <= 2
    assert found["explained"] == expected.explained == "PNEUMONIA"


def test_every_bad_input_is_a_reason_or_an_answer(ask, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    cases = write_corpus(folder)
    files = {path for path in folder.iterdir() if path.is_file()}
    small = [
        case
        for case in cases
        if case.path in files and not case.unprivileged and case.path.stat().st_size < 3e6
    ]
    assert {"nothing.jpeg", "cut at 55.jpeg", "huge.png", "bomb.dcm"} <= {c.name for c in small}
    for case in small:
        name = urllib.request.quote(case.path.name)
        response = ask(case.path.read_bytes(), name)
        if isinstance(case.expected, Refused):
            assert response.status_code == 422, case.name
            assert case.expected.reason_fits(response.json()["error"]), case.name
        else:
            assert response.status_code == 200, (case.name, response.text)


def test_what_spoils_an_answer_is_said(ask) -> None:
    def warned(height: int, width: int, *, blank: bool = False) -> str:
        noise = np.random.default_rng(0).integers(0, 255, (height, width), np.uint8)
        image = np.zeros_like(noise) if blank else noise
        return " ".join(ask(cv2.imencode(".png", image)[1].tobytes()).json()["warnings"])

    assert "Far from square" in warned(64, 130)
    assert "Far from square" not in warned(64, 120)
    assert "Smaller than the 32 pixels" in warned(20, 30)
    assert "Smaller" not in warned(32, 32)
    assert "single grey" in warned(40, 40, blank=True)
    assert "single grey" not in warned(40, 40)


def test_names_lead_nowhere_and_are_not_repeated(ask, files, tmp_path: Path) -> None:
    response = ask(files[0].read_bytes(), urllib.request.quote(EVIL))
    assert response.status_code == 200
    assert "script" not in response.text
    assert not list(tmp_path.rglob("*"))


def test_nothing_is_left_on_disk(ask, files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert ask(files[0].read_bytes()).status_code == 200
    assert (
        ask(files[0].read_bytes() + bytes(2_000_000)).status_code == 200
    )  # a form parser spools it
    assert not list(tmp_path.rglob("*"))


def read_of(app: Any, headers: dict[str, str], chunk: int, chunks: int) -> tuple[int, int]:
    """Status of a request in chunks, and how many of them were read."""
    sent: list[Any] = []
    read = 0
    named = {"host": "localhost", "content-type": "application/octet-stream"} | headers
    scope = {
        "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "headers": [(k.encode(), v.encode()) for k, v in named.items()],
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": bytes(chunk), "more_body": read < chunks}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], read


def test_a_body_of_100_mb_is_refused_before_it_is_read(app) -> None:
    told = {"content-length": "100000000"}
    assert read_of(app, told, chunk=100_000, chunks=1000) == (413, 0)
    untold: dict[str, str] = {"transfer-encoding": "chunked"}
    assert read_of(app, untold, chunk=100_000, chunks=1000) == (413, 31)
    lying = {"content-length": "10"}
    assert read_of(app, lying, chunk=100_000, chunks=1000) == (413, 31)
    assert read_of(app, {}, chunk=100_000, chunks=10) == (422, 10)


def test_a_file_that_never_arrives_is_given_up(trained_run, compose) -> None:
    config = compose("upload_seconds=0.2", command="demo")
    app = server.demo_app(trained_run.checkpoint, config)
    scope_status: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(30)
        raise AssertionError("waited on")

    async def send(message: Any) -> None:
        scope_status.append(message.get("status", 0))

    headers = [(b"host", b"localhost"), (b"content-type", b"application/octet-stream")]
    scope = {
        "type": "http", "method": "POST", "path": "/predict", "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "headers": headers,
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert scope_status[0] == 408


def test_eight_uploads_at_once_get_their_own_answers(ask, files, predictor) -> None:
    expected = predictor.predict(files[:8])["probability"]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda file: ask(file.read_bytes()).json(), files[:8]))
    assert [answer["scores"][0]["probability"] for answer in found] == pytest.approx(
        list(expected), abs=1e-6
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "xray.example"])
def test_the_page_answers_under_its_own_names(host: str, client) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "", "www.xray.example"]
)
def test_other_names_are_refused(host: str, client, ask, files) -> None:
    assert client.get("/", headers={"host": host}, follow_redirects=False).status_code == 400
    assert ask(files[0].read_bytes(), host=host).status_code == 400


def test_another_sites_form_is_refused(client, files) -> None:
    """A page elsewhere may send these kinds without being asked, and no other."""
    content = files[0].read_bytes()
    for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
        response = client.post("/predict", content=content, headers={"content-type": kind})
        assert response.status_code == 415
    asked = client.options("/predict", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in asked.headers


def test_a_failure_shows_no_traceback_and_the_next_file_is_answered(
    ask, files, monkeypatch
) -> None:
    with monkeypatch.context() as patched:

        def broken(*_: object, **__: object) -> None:
            raise ValueError("secret of /home/me")

        patched.setattr("cxrlab.serving.demo.answer.heat_maps", broken)
        response = ask(files[0].read_bytes())
    assert response.status_code == 500
    assert response.json() == {"error": "the server failed on this file; its terminal tells why"}
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert ask(files[0].read_bytes()).status_code == 200


def test_the_page_holds_no_inline_code_and_names_the_model(client, trained_run) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert "Research use only" in page.text
    assert trained_run.output.name in page.text
    assert "NORMAL, PNEUMONIA" in page.text
    metrics = Evaluation.read(trained_run.output).metrics["val"]
    assert f"validation, {metrics.values['n']:.0f} images" in page.text
    assert f"<td>{metrics.values['auroc']:.3f}<small>" in page.text
    assert "style=" not in page.text
    assert "onclick" not in page.text
    assert page.text.count("<script") == 1
    assert "http" not in page.text.replace("http-equiv", "")
    for path, kind in (("/style.css", "text/css"), ("/page.js", "text/javascript")):
        assert client.get(path).headers["content-type"].startswith(kind)
    assert client.get("/../pyproject.toml").json() == {"error": "Not Found"}


@pytest.fixture
def served(trained_run, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    port, log = free_port(), tmp_path / "demo.log"
    command = [sys.executable, "-m", "cxrlab.demo", f"run={trained_run.output}", f"port={port}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, {**os.environ, "OMP_NUM_THREADS": "1"}, url, log) as process:
        yield process, url, log


def test_ctrl_c_ends_the_command_with_130_and_leaves_no_file(served, files, tmp_path: Path) -> None:
    process, url, log = served
    request = urllib.request.Request(
        f"{url}/predict", files[0].read_bytes(), {"Content-Type": "application/octet-stream"}
    )
    assert urllib.request.urlopen(request, timeout=60).status == 200
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - started < 20
    assert f"demo: {url} (Ctrl-C ends it)" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert [file.name for file in tmp_path.iterdir()] == [log.name]


def test_the_model_card_is_shown_with_a_style_and_no_script(client, trained_run) -> None:
    found = client.get("/model-card")
    assert found.status_code == 200
    assert found.text == (trained_run.output / "model_card.html").read_text()
    assert found.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'"
    )
    assert found.headers["x-content-type-options"] == "nosniff"
    assert 'href="/model-card"' in client.get("/").text
