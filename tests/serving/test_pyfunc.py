from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from cxrlab.exporting.mlflow_model import save_model
from cxrlab.model.views import Views
from cxrlab.serving.heatmaps import heat_maps
from cxrlab.serving.predictor import Predictor

SCORES = ["logit", "probability", "calibrated"]
# Training needs these; a served model must not.
TRAINING = (
    "timm", "pytorch_lightning", "torchvision", "torchmetrics", "hydra", "omegaconf", "sklearn",
    "optuna", "kagglehub", "onnx", "onnxruntime",
)  # fmt: skip
_ALONE = f"""
import base64, json, sys
for name in {TRAINING}: sys.modules[name] = None
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
images = [base64.b64encode(open(file, "rb").read()).decode() for file in sys.argv[2:]]
found = model.predict(pd.DataFrame({{"image": images}}), params={{"heatmap": True}})
import cxrlab
print(json.dumps([cxrlab.__file__, found["probability"].tolist(), found["heatmap"].tolist()]))
"""


@pytest.fixture(scope="module")
def folder(trained_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    predictor = Predictor.load(trained_run.checkpoint, torch.device("cpu"))
    folder = tmp_path_factory.mktemp("pyfunc") / "model"
    save_model(predictor, "a run", folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path):
    return mlflow.pyfunc.load_model(str(folder))


@pytest.fixture(scope="module")
def files(trained_run) -> list[Path]:
    return sorted((trained_run.images / "test").rglob("*.jpeg"))


def test_bytes_base64_and_gray_values_mean_the_same_image(model, predictor, files) -> None:
    expected = predictor.predict(files[:3])
    contents = [file.read_bytes() for file in files[:3]]
    grays = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files[:3]]
    deep = [gray.astype(np.uint16) * 257 for gray in grays]
    for images in (
        contents,
        [base64.b64encode(content).decode() for content in contents],
        grays,
        [gray.tolist() for gray in grays],
        deep,
    ):
        found = model.predict(pd.DataFrame({"image": images}))
        # Percentiles of 16 bits lie between those of 8: some pixels are one gray value brighter.
        tolerance = 2e-3 if images is deep else 1e-4
        np.testing.assert_allclose(found[SCORES].astype(float), expected[SCORES], atol=tolerance)
        assert found["decision"].tolist() == expected["decision"].tolist()
        assert found["error"].tolist() == [""] * 3


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "empty file"),
        ("%%", "no base64"),
        (b"hello", "JPEG, PNG, TIFF"),
        ([[0.5, 0.1]], "rows of gray values"),
        ([[1, 2], [3]], "rows of gray values"),
        ([[-1] * 9] * 9, "rows of gray values"),
        ([[70_000] * 9] * 9, "rows of gray values"),
        (None, "rows of gray values"),
    ],
    ids=repr,
)
def test_an_image_that_is_none_has_a_reason_and_stops_no_other(
    model, files, image: object, reason: str
) -> None:
    images = pd.DataFrame({"image": pd.Series([image, files[0].read_bytes()], dtype=object)})
    found = model.unwrap_python_model().predict(None, images, {"heatmap": True})
    assert reason in found["error"][0]
    assert found.drop(columns=["error", "verdict", "reason"]).iloc[0].tolist() == [None] * 6
    assert found["error"][1] == ""
    assert found["heatmap"][1]


def test_a_heat_map_is_that_of_the_run(model, predictor, files) -> None:
    content = files[0].read_bytes()
    images = pd.DataFrame({"image": [content]})
    assert "heatmap" not in model.predict(images)
    found = model.predict(images, params={"heatmap": True})["heatmap"][0]
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(found), np.uint8), cv2.IMREAD_COLOR)
    (own,) = heat_maps(predictor, predictor.square(content)[None])
    np.testing.assert_allclose(drawn[..., ::-1].astype(int), own.overlay, atol=2)


def test_the_model_is_described_and_has_an_example(folder: Path) -> None:
    info = mlflow.models.get_model_info(str(folder))
    assert info.signature.inputs.input_names() == ["image"]
    told = [*SCORES, "decision", "threshold", "verdict", "reason", "error", "heatmap"]
    assert info.signature.outputs.input_names() == told
    assert [each["name"] for each in info.signature.params.to_dict()] == ["heatmap", "gate"]
    assert info.saved_input_example_info is not None
    assert info.metadata == {"task": "binary", "classes": ["NORMAL", "PNEUMONIA"]}
    required = (folder / "requirements.txt").read_text()
    assert not any(f"{name}==" in required.replace("-", "_") for name in TRAINING)


def test_it_needs_neither_the_training_packages_nor_this_checkout(
    folder: Path, predictor, files, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, folder, *files[:2]],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    where, probability, overlays = json.loads(done.stdout.splitlines()[-1])
    assert where.startswith(str(folder / "code"))
    np.testing.assert_allclose(probability, predictor.predict(files[:2])["probability"], atol=1e-4)
    assert all(overlays)


def test_a_run_that_looks_several_times_serves_so(predictor, files, tmp_path: Path) -> None:
    several = replace(predictor, network=Views(predictor.network, (1.5, 0.8), mirror=True).eval())
    save_model(several, "a run", tmp_path / "model")
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    found = served.predict(pd.DataFrame({"image": [files[0].read_bytes()]}))
    expected = several.predict(files[:1])["logit"][0]
    assert found["logit"][0] == pytest.approx(expected, abs=1e-4)
    assert expected != pytest.approx(predictor.predict(files[:1])["logit"][0], abs=1e-3)
