"""The example of docs/serving.md computes what the run does, with three packages alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrlab.config.paths import conf_dir
from cxrlab.exporting.formats import FORMATS
from cxrlab.exporting.graph import ServingGraph, describe
from cxrlab.serving.predictor import Predictor

_ALLOWED = {"json", "sys", "cv2", "numpy", "onnxruntime"}


def test_the_example_gives_the_probabilities_of_the_run(trained_run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    text = (conf_dir().parent / "docs/serving.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (example,) = (block for block in blocks if "import onnxruntime" in block)
    assert set(re.findall(r"^import (\w+)", example, flags=re.MULTILINE)) <= _ALLOWED
    (tmp_path / "infer.py").write_text(example)

    predictor = Predictor.load(trained_run.checkpoint, torch.device("cpu"))
    files = sorted((trained_run.images / "test").rglob("*.jpeg"))[:6]
    expected = predictor.predict(files)["probability"]
    pixels = torch.zeros((2, predictor.image_size, predictor.image_size), dtype=torch.uint8)
    described = describe(predictor, "a run")
    FORMATS["onnx"].write(ServingGraph(predictor), pixels, described, tmp_path / "model.onnx")

    done = subprocess.run(
        [sys.executable, "infer.py", *files],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert expected.nunique() == 6, "a test that could not fail"
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-4)
