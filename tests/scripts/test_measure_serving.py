from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from measure_serving import ask, body, load


class Answers(BaseHTTPRequestHandler):
    """Gives every image of one byte a probability of its own, and refuses the others."""

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        image = sent["dataframe_split"]["data"][0][0]
        known = {"AQ==": 0.25, "Ag==": 0.75}
        self.send_response(200 if image in known else 500)
        self.end_headers()
        row = {"probability": known.get(image)}
        self.wfile.write(json.dumps({"predictions": [row]}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer_is_timed_and_read(url: str) -> None:
    seconds, probability = ask(url, body(b"\1"))
    assert 0 < seconds < 10
    assert probability == 0.25


def test_the_greatest_difference_and_every_error_are_kept(url: str) -> None:
    requests = [body(b"\1"), body(b"\2")]
    assert load(url, requests, [0.25, 0.75], clients=3, seconds=0.3).gap == 0
    found = load(url, [*requests, body(b"\3")], [0.25, 0.7, 0.0], clients=3, seconds=0.5)
    assert found.gap == pytest.approx(0.05)
    assert found.errors
    assert all("500" in error for error in found.errors)
    assert found.seconds
