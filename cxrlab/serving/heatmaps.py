"""Where in single images the evidence lies, with what they need to be shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cxrlab.config.paths import conf_dir
from cxrlab.config.schema import AttributionConfig, MethodName
from cxrlab.errors import UserError
from cxrlab.explanation import maps
from cxrlab.explanation.attribution import to_model_input
from cxrlab.explanation.methods.registry import METHODS, build
from cxrlab.explanation.quality.evidence import SMOOTHING
from cxrlab.files import read_yaml
from cxrlab.serving.predictor import Predictor
from cxrlab.task import Task

METHOD: MethodName = "integrated_gradients"


@dataclass(frozen=True)
class HeatMap:
    """The evidence of one image.

    Attributes:
        map: float32 (S, S), signed: contribution of each pixel to the explained logit.
        overlay: uint8 (S, S, 3): the map's smoothed magnitude over the image, on a scale of its
            own.
        layer: uint8 (S, S, 4): what the overlay lays over the image, RGBA.
        explained: class or finding whose logit it is.
        completeness_error: NaN for methods whose maps need not sum to the output.
        doubtful: the error is above what the method tolerates, or the map not finite.
    """

    map: NDArray[np.float32]
    overlay: NDArray[np.uint8]
    layer: NDArray[np.uint8]
    explained: str
    completeness_error: float
    doubtful: bool


def heat_maps(
    predictor: Predictor,
    pixels: NDArray[np.uint8],
    *,
    method: str = METHOD,
    explained: str | None = None,
) -> list[HeatMap]:
    """Explain decoded images.

    Args:
        predictor: whose network is explained, as it looks at the whole image once.
        pixels: uint8 (N, S, S), N > 0.
        method: a name of `cxrlab.explanation.methods`, with the settings of
            `conf/explanation/base.yaml`.
        explained: class or finding whose logit is explained; None: of two classes the second, of
            more the one of the highest logit.

    Raises:
        UserError: there is no such method, class or finding.
    """
    if method not in METHODS:
        raise UserError(f"method={method}: there is none; choose one of {', '.join(METHODS)}")
    logits = torch.from_numpy(predictor.logits(pixels).reshape(len(pixels), -1))
    targets = _targets(predictor.task, logits, explained)
    settings = AttributionConfig.model_validate(read_yaml(conf_dir() / "explanation/base.yaml"))
    attribute = build(method, settings)
    found = attribute(predictor.single_look, to_model_input(pixels), targets)
    names = _names(predictor.task, targets)
    return [
        _drawn(pixels[index], found.maps[index], names[index], float(error), attribute.tolerance)
        for index, error in enumerate(found.completeness_error)
    ]


def _drawn(
    image: NDArray[np.uint8],
    attribution: NDArray[np.float32],
    explained: str,
    error: float,
    tolerance: float,
) -> HeatMap:
    absolute = maps.absolute_map(attribution, SMOOTHING)
    scale = maps.ColourScale.of(attribution[None], absolute[None], SMOOTHING)
    return HeatMap(
        map=attribution,
        overlay=maps.overlay_rgb(image, absolute, scale),
        layer=maps.layer_rgba(absolute, scale),
        explained=explained,
        completeness_error=error,
        doubtful=error > tolerance,
    )


def _targets(task: Task, logits: torch.Tensor, explained: str | None) -> torch.Tensor:
    """(N,) index of the explained logit; there is a single one for two classes."""
    if explained is None:
        return logits.argmax(dim=1)
    known = task.classes[1:] if task.kind == "binary" else task.classes
    if explained not in known:
        raise UserError(f"explained={explained}: no such logit; choose one of {', '.join(known)}")
    return torch.full((len(logits),), known.index(explained))


def _names(task: Task, targets: torch.Tensor) -> list[str]:
    offset = 1 if task.kind == "binary" else 0
    return [task.classes[int(target) + offset] for target in targets]
