"""A run as an MLflow model: image files in, probabilities, decisions and heat maps out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from torch import nn

from cxrlab.config.datasets import Preprocess
from cxrlab.data.images import Decoded, UnreadableImageError
from cxrlab.errors import UserError
from cxrlab.evaluation.operating_point import OperatingPoint
from cxrlab.model.normalise import Normalise
from cxrlab.model.views import Views
from cxrlab.serving.gate import Gate
from cxrlab.serving.heatmaps import heat_maps
from cxrlab.serving.predictor import Predictor
from cxrlab.task import Task

IMAGE, HEAT_MAP, GATE = "image", "heatmap", "gate"
NETWORK, DESCRIPTION = "network", "description"  # artifacts
_BATCH = 16


class ServedModel(PythonModel):
    """What `mlflow models serve` and `mlflow.pyfunc.load_model` call."""

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Put the predictor together again, on the CPU."""
        described = json.loads(Path(context.artifacts[DESCRIPTION]).read_text())
        graph = torch.export.load(context.artifacts[NETWORK]).module()
        self.predictor = _predictor(described, graph)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Score images; one that can't be read has an `error` and no scores.

        Args:
            context: not needed.
            model_input: column `image`: a file's bytes, the same in base64, or gray values (H, W)
                as an array or nested lists.
            params: `heatmap`: whether to add a column of overlays, PNG in base64; `gate`: whether
                images that are unlike the training images get no decision.

        Returns:
            A row an image: the columns of `predictions.csv` but `path`.
        """
        given = params or {}
        read = [_read(value, self.predictor) for value in model_input[IMAGE]]
        images = {i: found for i, found in enumerate(read) if not isinstance(found, str)}
        errors = [found if isinstance(found, str) else "" for found in read]
        refusals = [""] * len(read)
        if given.get(GATE, True):
            refusals = [
                self.predictor.refusal(images[i]) if i in images else "" for i in range(len(read))
            ]
        logits = np.zeros((len(read), self.predictor.task.outputs))
        pixels = np.stack([image.pixels for image in images.values()]) if images else None
        if pixels is not None:
            # A long request must not take the memory of a long batch.
            starts = range(0, len(pixels), _BATCH)
            parts = [self.predictor.logits(pixels[start : start + _BATCH]) for start in starts]
            logits[list(images)] = np.concatenate(parts).reshape(len(pixels), -1)
        names = [str(i) for i in range(len(read))]
        table = self.predictor.table(names, errors, logits, refusals).drop(columns="path")
        if given.get(HEAT_MAP):
            overlays: list[str | None] = [None] * len(read)
            maps = [] if pixels is None else heat_maps(self.predictor, pixels)
            for position, drawn in zip(images, maps, strict=True):
                overlays[position] = _png(drawn.overlay)
            table[HEAT_MAP] = overlays
        # JSON has no word for a missing number.
        return table.astype(object).where(table.notna(), None)


def _read(value: object, predictor: Predictor) -> Decoded | str:
    """An image, or why there is none."""
    try:
        return predictor.decode(_content(value))
    except (UnreadableImageError, UserError) as error:
        return str(error)


def _content(value: object) -> bytes:
    """A file's bytes; arrays become a PNG file, so that there is one way for all."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise UnreadableImageError(f"no base64: {error}") from error
    try:
        gray = np.asarray(value)
        whole = np.issubdtype(gray.dtype, np.integer) and gray.ndim == 2 and gray.size > 0
    except ValueError:  # rows of different lengths
        whole = False
    if not whole or gray.min() < 0 or gray.max() > np.iinfo(np.uint16).max:
        raise UnreadableImageError("neither a file's bytes nor rows of gray values, 0 to 65535")
    deep = gray.dtype == np.uint16 or gray.max() > np.iinfo(np.uint8).max
    return cv2.imencode(".png", gray.astype(np.uint16 if deep else np.uint8))[1].tobytes()


def _predictor(described: Mapping[str, Any], graph: nn.Module) -> Predictor:
    normalise = Normalise(**described["normalise"])
    network: nn.Module = nn.Sequential(normalise, _Frozen(graph)).eval()
    if described["mirror"] or described["windows"] != [1.0]:
        network = Views(network, described["windows"], mirror=described["mirror"]).eval()
    return Predictor(
        network=network,
        device=torch.device("cpu"),
        task=Task(described["task"]["kind"], tuple(described["task"]["classes"])),
        image_size=described["image_size"],
        preprocess=Preprocess.model_validate(described["preprocess"]),
        point=OperatingPoint.from_plain(described["operating_point"]),
        gate=None if described["gate"] is None else Gate.from_plain(described["gate"]),
    )


class _Frozen(nn.Module):
    """An exported graph, which has no modes to switch, among modules that have."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self._graph = (graph,)  # hidden from `eval` and `train`, which it refuses

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._graph[0](images)
        return logits


def _png(rgb: NDArray[np.uint8]) -> str:
    return encoded(rgb[..., ::-1])


def encoded(image: NDArray[np.uint8]) -> str:
    """A gray or BGR image as a PNG file in base64."""
    return base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
