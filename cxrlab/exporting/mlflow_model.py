"""A run as an MLflow model, written with all that it needs to be served elsewhere."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType
from torch import nn

from cxrlab.config.paths import conf_dir
from cxrlab.evaluation.predictions import SCORES, score_columns
from cxrlab.exporting.graph import describe
from cxrlab.model.normalise import Normalise
from cxrlab.model.views import Views
from cxrlab.serving.predictor import Predictor
from cxrlab.serving.pyfunc import DESCRIPTION, GATE, HEAT_MAP, IMAGE, NETWORK, encoded
from cxrlab.task import Task

# What `cxrlab.serving.pyfunc` imports of other packages; no Lightning, timm or Hydra.
PACKAGES = (
    "captum", "matplotlib", "numpy", "opencv-python-headless", "pandas", "pillow", "pydantic",
    "pyyaml", "rich", "scipy", "torch",
)  # fmt: skip
# The files of this package that it imports: each is one more to upload.
_CODE = (
    "__init__.py", "cores.py", "errors.py", "files.py", "progress.py", "task.py",
    "config/*.py", "data/__init__.py", "data/images.py", "data/preprocess.py", "data/decode/*.py",
    "evaluation/__init__.py", "evaluation/calibration.py", "evaluation/operating_point.py",
    "evaluation/predictions.py", "evaluation/threshold.py", "explanation/__init__.py",
    "explanation/attribution.py", "explanation/maps.py", "explanation/methods/*.py",
    "explanation/quality/__init__.py", "explanation/quality/evidence.py", "model/__init__.py",
    "model/normalise.py", "model/views.py", "serving/__init__.py", "serving/gate.py",
    "serving/heatmaps.py", "serving/predictor.py", "serving/pyfunc*.py", "serving/stream.py",
)  # fmt: skip
_SETTINGS = "explanation/base.yaml"
_PACKAGE = Path(__file__).resolve().parents[1]


def save_model(predictor: Predictor, run: str, folder: Path) -> None:
    """Write a run as an MLflow model that needs neither the run nor this package.

    Args:
        predictor: of the run, on the CPU.
        run: what it is called.
        folder: to be made.
    """
    with TemporaryDirectory() as temporary:
        network, description = Path(temporary, "network.pt2"), Path(temporary, "description.json")
        normalise, behind = _parts(predictor.single_look)
        size, channels = predictor.image_size, normalise.mean.shape[1]
        _write_graph(behind, (2, channels, size, size), network)
        gate = {"gate": predictor.gate.plain() if predictor.gate else None}
        described = {**describe(predictor, run), **_looks(predictor), **_plain(normalise), **gate}
        description.write_text(json.dumps(described, indent=2))
        code = Path(temporary, "cxrlab")
        _copy_code(code)
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(_PACKAGE / "serving/pyfunc_model.py"),
            artifacts={NETWORK: str(network), DESCRIPTION: str(description)},
            code_paths=[str(code)],
            signature=signature(predictor.task),
            input_example=pd.DataFrame({IMAGE: [_example(size)]}),
            pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
            metadata={"task": predictor.task.kind, "classes": list(predictor.task.classes)},
        )


def signature(task: Task) -> ModelSignature:
    """What goes in, what comes out, and what can be asked for."""
    scores = [name for kind in SCORES for name in score_columns(task, kind)]
    decisions = [name.replace("target", "decision", 1) for name in task.target_columns]
    cut = [] if task.kind == "multiclass" else decisions
    thresholds = [name.replace("decision", "threshold", 1) for name in cut]
    outputs: list[ColSpec | TensorSpec] = [
        *(ColSpec("double", name, required=False) for name in scores),
        *(ColSpec("long", name, required=False) for name in decisions),
        *(ColSpec("double", name, required=False) for name in thresholds),
        *(ColSpec("string", name) for name in ("verdict", "reason", "error")),
        ColSpec("string", HEAT_MAP, required=False),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), IMAGE)]),
        outputs=Schema(outputs),
        params=ParamSchema(
            [ParamSpec(HEAT_MAP, "boolean", False), ParamSpec(GATE, "boolean", True)]
        ),
    )


def _copy_code(target: Path) -> None:
    """The package as a wheel lays it out, as far as a served model needs it."""
    files = [file for pattern in _CODE for file in _PACKAGE.glob(pattern)]
    copies = {target / file.relative_to(_PACKAGE): file for file in files}
    copies[target / "conf" / _SETTINGS] = conf_dir() / _SETTINGS
    for copied, file in copies.items():
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copied)


def _parts(network: nn.Module) -> tuple[Normalise, nn.Module]:
    """The normalisation, and all behind it, of what `inference_network` makes."""
    backbone, head = cast("nn.Sequential", network)
    normalise, net = cast("nn.Sequential", backbone)
    return cast("Normalise", normalise), nn.Sequential(net, head)


def _looks(predictor: Predictor) -> dict[str, Any]:
    views = predictor.network
    if isinstance(views, Views):
        return {"windows": list(views.windows), "mirror": views.mirror}
    return {"windows": [1.0], "mirror": False}


def _write_graph(network: nn.Module, shape: tuple[int, ...], file: Path) -> None:
    with torch.inference_mode(False), torch.no_grad():
        batch = {0: torch.export.Dim("batch")}
        exported = torch.export.export(network, (torch.zeros(shape),), dynamic_shapes=(batch,))
    torch.export.save(exported, file)


def _plain(normalise: Normalise) -> dict[str, Any]:
    constants = {
        "mean": normalise.mean.flatten().tolist(),
        "std": normalise.std.flatten().tolist(),
        "standardise": normalise.standardise,
    }
    return {"normalise": constants}


def _example(size: int) -> str:
    """A gray ramp as a PNG file in base64: no patient's image is copied into a model."""
    ramp = np.tile(np.linspace(0, 255, size).astype(np.uint8), (size, 1))
    return encoded(ramp)
