"""One set of images through every way from a run to its users."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from helpers.browser import free_port, serve
from helpers.trained import TrainedRun, train_tiny

from cxrlab.exporting.mlflow_model import save_model
from cxrlab.serving.predictor import Predictor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FULL = ("model.backbone=mobilenetv2_100", "data.image_size=224", "trainer.max_epochs=1")


@pytest.fixture(scope="module", params=[(), FULL], ids=["tiny", "MobileNetV2 at 224 pixels"])
def run(request, tmp_path_factory: pytest.TempPathFactory, tiny_compose) -> TrainedRun:
    return train_tiny(tmp_path_factory.mktemp("ways"), tiny_compose, *request.param)


@pytest.fixture(scope="module")
def files(run: TrainedRun) -> list[Path]:
    return sorted((run.images / "test").rglob("*.jpeg"))


@pytest.fixture(scope="module")
def model(run: TrainedRun) -> Path:
    save_model(Predictor.load(run.checkpoint, torch.device("cpu")), "a run", run.output / "model")
    return run.output / "model"


@pytest.fixture(scope="module")
def scoring(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "-p", str(port),
        "-h", "127.0.0.1", "--env-manager", "local", "-w", "1",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("serve") / "server.log"
    # MLflow starts uvicorn by its bare name.
    found = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with serve(command, found, f"http://127.0.0.1:{port}/ping", log, 240) as url:
        yield url.removesuffix("ping") + "invocations"


@pytest.fixture(scope="module")
def demo(run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "cxrlab.demo", f"run={run.output}", f"port={port}"]
    log = tmp_path_factory.mktemp("demo") / "demo.log"
    with serve(command, os.environ, f"http://127.0.0.1:{port}/", log, 240) as url:
        yield url + "predict"


def test_five_ways_give_the_same_probabilities(
    run: TrainedRun, model: Path, scoring: str, demo: str, files: list[Path], tmp_path: Path
) -> None:
    contents = [file.read_bytes() for file in files]
    encoded = [base64.b64encode(content).decode() for content in contents]
    images = pd.DataFrame({"image": contents})
    ways = {
        "predict": _predicted(run, files, tmp_path),
        "pyfunc": mlflow.pyfunc.load_model(str(model)).predict(images)["probability"],
        "serve": [row["probability"] for row in _score(scoring, encoded)],
        "ONNX Runtime": _onnx(run, contents, tmp_path),
        "page": [_shown(demo, content) for content in contents],
    }
    assert len(files) > 10
    assert np.ptp(ways["predict"]) > 1e-3, "a test that could not fail"
    for name, probability in ways.items():
        found = np.asarray(probability, float)
        np.testing.assert_allclose(found, ways["predict"], atol=1e-4, err_msg=name)


def test_over_http_a_bad_image_is_a_row_and_a_heat_map_comes_if_asked(scoring: str, files) -> None:
    good = base64.b64encode(files[0].read_bytes()).decode()
    bad, found = _score(scoring, ["%%", good], heatmap=True)
    assert bad["error"].startswith("no base64")
    assert bad["probability"] is None
    assert found["error"] == ""
    assert base64.b64decode(found["heatmap"]).startswith(b"\x89PNG")


def _predicted(run: TrainedRun, files: Sequence[Path], folder: Path) -> list[float]:
    table = folder / "predictions.csv"
    _command("predict", run, f"input={run.images / 'test'}", f"output={table}")
    found = pd.read_csv(table).set_index("path")["probability"]
    return [found[str(file)] for file in files]


def _onnx(run: TrainedRun, contents: Sequence[bytes], folder: Path) -> Any:
    runtime = pytest.importorskip("onnxruntime")
    _command("export", run, "format=onnx", f"output={folder}")
    predictor = Predictor.load(run.checkpoint, torch.device("cpu"))
    pixels = np.stack([predictor.square(content) for content in contents])
    return runtime.InferenceSession(folder / "model.onnx").run(["probability"], {"image": pixels})[
        0
    ]


def _command(name: str, run: TrainedRun, *overrides: str) -> None:
    line = [sys.executable, "-m", f"cxrlab.{name}", f"run={run.output}", *overrides]
    done = subprocess.run(line, cwd=run.output.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _score(address: str, images: list[str], **params: bool) -> list[dict[str, Any]]:
    body = {"dataframe_split": {"columns": ["image"], "data": [[image] for image in images]}}
    content = json.dumps(body | ({"params": params} if params else {})).encode()
    return _posted(address, content, "application/json")["predictions"]


def _shown(address: str, content: bytes) -> float:
    (score,) = _posted(address, content, "application/octet-stream")["scores"]
    return score["probability"]


def _posted(address: str, content: bytes, kind: str) -> Any:
    request = urllib.request.Request(address, content, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)
