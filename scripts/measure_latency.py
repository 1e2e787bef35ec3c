"""How long one image takes on each way from a run to its users, cold and warm.

    python scripts/measure_latency.py outputs/RUN IMAGE

Cold is from the start of a process to its first answer, warm the median of the answers after it.
Each way is started three times, in turn with the others; the system has read its files before. The
page's answers have a heat map, the others have none. ONNX Runtime is measured where it is
installed. Every answer is compared with that of the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from rich.console import Console

import commands
import cxrlab
from cxrlab.console import new_table, print_table
from measure_serving import ask, body, free_port, running, served

STARTS, ANSWERS = 3, 10

_IN_PROCESS = """
import json, sys, time
begun, model, file = float(sys.argv[1]), sys.argv[2], sys.argv[3]
{prepare}
def answer():
    start = time.perf_counter()
    probability = {answer}
    return time.perf_counter() - start, float(probability)
first = answer()
cold = time.time() - begun
print(json.dumps([cold, [answer()[0] for _ in range({answers})], first[1]]))
"""
_PYTHON = _IN_PROCESS.format(
    prepare="import cxrlab; run = cxrlab.load_run(model)",
    answer="run.predict(file, gate=False)['probability'].iloc[0]",
    answers=ANSWERS,
)
_PYFUNC = _IN_PROCESS.format(
    prepare="import mlflow, pandas as pd; loaded = mlflow.pyfunc.load_model(model)\n"
    "image = pd.DataFrame({'image': [open(file, 'rb').read()]})",
    answer="loaded.predict(image, params={'gate': False})['probability'].iloc[0]",
    answers=ANSWERS,
)
_ONNX = _IN_PROCESS.format(
    prepare="import cv2, onnxruntime; session = onnxruntime.InferenceSession(model)\n"
    "size = json.loads(session.get_modelmeta().custom_metadata_map['cxrlab'])['image_size']",
    answer="session.run(['probability'], {'image': cv2.resize(cv2.imread(file, 0), "
    "(size, size), interpolation=cv2.INTER_AREA)[None]})[0].ravel()[-1]",
    answers=ANSWERS,
)


@dataclass(frozen=True)
class Timed:
    """One start of one way.

    Attributes:
        cold: seconds from the start of the process to its first answer.
        warm: seconds of the answers after it; none for a command that answers once.
        probability: that was answered.
    """

    cold: float
    warm: list[float]
    probability: float


def main() -> None:
    """Time each way in turn and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="a run's folder, id, prefix of one, or latest")
    parser.add_argument("image", type=Path)
    options = parser.parse_args()
    folder = cxrlab.load_run(options.run).folder
    with TemporaryDirectory() as written:
        ways = dict(_ways(folder, options.image, Path(written)))
        found: dict[str, list[Timed]] = {name: [] for name in ways}
        for _ in range(STARTS):
            for name, way in ways.items():
                found[name].append(way())
    show(found)


def _ways(folder: Path, image: Path, written: Path) -> Iterator[tuple[str, Callable[[], Timed]]]:
    yield "python -m cxrlab.predict", lambda: command(folder, image, written)
    yield "cxrlab.load_run", lambda: in_process(_PYTHON, folder, image)
    if (folder / "model" / "MLmodel").is_file():
        yield "MLflow pyfunc", lambda: in_process(_PYFUNC, folder / "model", image)
        yield "mlflow models serve", lambda: scoring(folder / "model", image)
    if find_spec("onnxruntime") is not None and find_spec("onnx") is not None:
        commands.run("export", f"run={folder}", "format=onnx", f"output={written}")
        yield "ONNX Runtime", lambda: in_process(_ONNX, written / "model.onnx", image)
    yield "the page, with a heat map", lambda: page(folder, image)


def command(folder: Path, image: Path, written: Path) -> Timed:
    """The command that writes a table."""
    table = written / "table.csv"
    table.unlink(missing_ok=True)
    begun = time.time()
    commands.run("predict", f"run={folder}", f"input={image}", f"output={table}", "gate=false")
    return Timed(time.time() - begun, [], float(pd.read_csv(table)["probability"].iloc[0]))


def in_process(code: str, model: Path, image: Path) -> Timed:
    """A few lines of Python that load the model and ask it."""
    line = [sys.executable, "-c", code, str(time.time()), str(model), str(image)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return Timed(*json.loads(done.stdout.splitlines()[-1]))


def scoring(model: Path, image: Path) -> Timed:
    """MLflow's server."""
    begun, request = time.time(), body(image.read_bytes())
    with served(model) as url:
        probability = ask(url, request)[1]
        cold = time.time() - begun
        return Timed(cold, [ask(url, request)[0] for _ in range(ANSWERS)], probability)


def page(folder: Path, image: Path) -> Timed:
    """The demo's server, as its page asks it."""
    begun, port, content = time.time(), free_port(), image.read_bytes()
    line = [sys.executable, "-m", "cxrlab.demo", f"run={folder}", f"port={port}"]

    def shown() -> tuple[float, float]:
        start = time.perf_counter()
        kind = {"Content-Type": "application/octet-stream"}
        sent = urllib.request.Request(f"http://127.0.0.1:{port}/predict", content, kind)
        with urllib.request.urlopen(sent, timeout=60) as answer:
            scores = json.load(answer)["scores"]
        if not scores:
            sys.exit(f"{image}: the run's gate refuses it, so the page draws no heat map")
        return time.perf_counter() - start, float(scores[-1]["probability"])

    with running(line, f"http://127.0.0.1:{port}/"):
        probability = shown()[1]
        cold = time.time() - begun
        return Timed(cold, [shown()[0] for _ in range(ANSWERS)], probability)


def show(found: dict[str, list[Timed]]) -> None:
    """Print a row a way, with the medians over its starts."""
    table = new_table("")
    for heading in ("cold, s", "warm, ms", "difference"):
        table.add_column(heading, justify="right")
    expected = next(iter(found.values()))[0].probability
    for name, starts in found.items():
        warm = [seconds for one in starts for seconds in one.warm]
        gap = max(abs(one.probability - expected) for one in starts)
        table.add_row(
            name, f"{np.median([one.cold for one in starts]):.1f}",
            f"{1000 * np.median(warm):.0f}" if warm else "", f"{gap:.1e}",
        )  # fmt: skip
    print_table("One image, from a run to its users", table, Console())


if __name__ == "__main__":
    main()
