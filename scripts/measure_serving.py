"""A run's MLflow model under load: answers a second and their latency, beside the bare model.

    python scripts/measure_serving.py outputs/RUN FOLDER
    python scripts/measure_serving.py outputs/RUN FOLDER --clients 8 --seconds 60

Starts `mlflow models serve` on the loopback, sends images from several clients at once, one a
request, and prints throughput and latencies; then the same images through the predictor in this
process, one after another. Every answer is compared with the predictor's probability.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

import cxrlab
from cxrlab.console import new_table, print_table
from cxrlab.errors import UserError
from cxrlab.serving.inputs import find_images
from cxrlab.serving.predictor import Predictor

PATIENCE = 180.0


@dataclass
class Load:
    """What clients saw.

    Attributes:
        seconds: of each answer.
        errors: what went wrong instead of an answer.
        gap: greatest difference of a probability from the predictor's.
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    gap: float = 0.0


def main() -> None:
    """Serve, ask, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="a run's folder, id, prefix of one, or latest")
    parser.add_argument("folder", help="images to ask about")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--images", type=int, default=64, help="different images, at most")
    options = parser.parse_args()
    loaded = cxrlab.load_run(options.run)
    folder, predictor = loaded.folder, loaded.predictor
    if not (folder / "model" / "MLmodel").is_file():
        raise UserError(f"{folder}: the run logged no model; train with tracking.log_model=true")
    contents = [file.read_bytes() for file in find_images(options.folder)[: options.images]]
    bare, expected = alone(predictor, contents)
    with served(folder / "model") as url:
        once = ask(url, body(contents[0]))[0]
        found = load(url, [body(c) for c in contents], expected, options.clients, options.seconds)
    table = new_table("")
    for heading in ("images/s", "median, ms", "p95, ms", "worst, ms"):
        table.add_column(heading, justify="right")
    rows = {f"{options.clients} clients": (found.seconds, options.clients), "bare": (bare, 1)}
    for name, (seconds, at_once) in rows.items():
        middle, high, most = np.quantile(seconds, [0.5, 0.95, 1]) * 1000
        rate = at_once / np.mean(seconds)
        table.add_row(name, f"{rate:.1f}", f"{middle:.0f}", f"{high:.0f}", f"{most:.0f}")
    print_table(f"{len(found.seconds)} answers, {len(found.errors)} errors", table, Console())
    print(f"first answer {once:.2f} s; greatest difference of a probability {found.gap:.1e}")
    for error in sorted(set(found.errors))[:5]:
        print(f"error: {error}")


def alone(predictor: Predictor, contents: Sequence[bytes]) -> tuple[list[float], list[float]]:
    """Seconds and probability of each image, one after another, after a first one."""
    predictor.logits(predictor.square(contents[0])[None])
    seconds, probabilities = [], []
    for content in contents:
        start = time.perf_counter()
        logits = predictor.logits(predictor.square(content)[None]).reshape(1, -1)
        table = predictor.table([""], [""], logits)
        seconds.append(time.perf_counter() - start)
        probabilities.append(float(table.filter(regex="^probability").iloc[0, -1]))
    return seconds, probabilities


@contextmanager
def served(model: Path) -> Iterator[str]:
    """The address of a server of a model, once it answers."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "-p", str(port),
        "-h", "127.0.0.1", "--env-manager", "local", "-w", "1",
    ]  # fmt: skip
    with running(command, f"http://127.0.0.1:{port}/ping"):
        yield f"http://127.0.0.1:{port}/invocations"


def free_port() -> int:
    """One of the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], url: str) -> Iterator[None]:
    """A server that answers at an address, and is gone with its processes afterwards."""
    # MLflow starts its server by name.
    found = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        command, env=found, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(url, process)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise UserError(f"no server answers at {url}")


def body(content: bytes) -> bytes:
    """A request for one image."""
    image = base64.b64encode(content).decode()
    split = {"columns": ["image"], "data": [[image]]}
    return json.dumps({"dataframe_split": split, "params": {"gate": False}}).encode()


def ask(url: str, request: bytes) -> tuple[float, float]:
    """Seconds and probability of one request."""
    start = time.perf_counter()
    sent = urllib.request.Request(url, request, {"Content-Type": "application/json"})
    with urllib.request.urlopen(sent, timeout=60) as answer:
        (row,) = json.load(answer)["predictions"]
    seconds = time.perf_counter() - start
    return seconds, float([v for k, v in row.items() if k.startswith("probability")][-1])


def load(
    url: str, requests: Sequence[bytes], expected: Sequence[float], clients: int, seconds: float
) -> Load:
    """Ask from several clients until the time is over."""
    found, end = Load(), time.monotonic() + seconds

    def client(first: int) -> None:
        number = first
        while time.monotonic() < end:
            image = number % len(requests)
            try:
                took, probability = ask(url, requests[image])
            except (OSError, ValueError) as error:
                found.errors.append(str(error))
            else:
                found.seconds.append(took)
                found.gap = max(found.gap, abs(probability - expected[image]))
            number += clients

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return found


if __name__ == "__main__":
    main()
