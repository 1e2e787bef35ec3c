"""What the page tells of one image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.schema import MethodName
from cxrlab.data.images import Decoded, decode
from cxrlab.evaluation.predictions import score_columns
from cxrlab.evaluation.threshold import Threshold, origin_words, show_probability
from cxrlab.page import data_uri
from cxrlab.report.words import sentence
from cxrlab.serving.heatmaps import HeatMap, heat_maps
from cxrlab.serving.predictor import Predictor

# Longer side over shorter; a radiograph of a chest is seldom above 1.8.
_ELONGATED = 2.0


@dataclass(frozen=True)
class Score:
    """What is said of one class or finding.

    Attributes:
        name: of the class or finding.
        probability: in [0, 1], as the network gives it.
        calibrated: in [0, 1].
        shown: both, rounded to be read.
        positive: whether it is decided for.
        cut: the probability from which on it is, or None where the most probable class wins.
        threshold: the cut and where it comes from, to be read.
    """

    name: str
    probability: float
    calibrated: float
    shown: tuple[str, str]
    positive: bool
    cut: float | None
    threshold: str | None


@dataclass(frozen=True)
class Answer:
    """What is said of one image; becomes JSON as it is.

    Attributes:
        decision: in words.
        verdict: `decide`, `review` or `abstain`.
        scores: one for two classes, else one a class or finding; none where it abstains.
        image: what the model sees, as the address of itself.
        layer: the evidence to lay over it, the same; empty where it abstains.
        explained: class or finding whose evidence it is.
        source: format and size of the file.
        warnings: cause and consequence, each a sentence.
    """

    decision: str
    verdict: str
    scores: tuple[Score, ...]
    image: str
    layer: str
    explained: str
    source: str
    warnings: tuple[str, ...]


def answer(predictor: Predictor, content: bytes, name: str, method: MethodName) -> Answer:
    """Predict and explain one file.

    Args:
        predictor: of the run.
        content: the file's bytes.
        name: of the file; only its suffix matters.
        method: how the heat map is made.

    Raises:
        UnreadableImageError: the content is no image that is read.
        UserError: a DICOM file needs a package, or an output of the network is not finite.
    """
    decoded = decode(content, predictor.image_size, predictor.preprocess, name)
    pixels = np.stack([decoded.pixels])  # a copy: torch wants to be able to write
    facts = decoded.facts
    source = f"{facts.format}, {facts.width} x {facts.height} pixels, {facts.bits} bits"
    if refusal := predictor.refusal(decoded):
        seen, why = _png(decoded.pixels), f"{sentence(refusal)}."
        return Answer("none", "abstain", (), seen, "", "", source, (why,))
    table = predictor.table([""], [""], predictor.logits(pixels).reshape(1, -1))
    scores = _scores(predictor, table)
    heat_map = heat_maps(predictor, pixels, method=method)[0]
    verdict, reason = str(table["verdict"].iloc[0]), str(table["reason"].iloc[0])
    doubts = [f"For review: {reason}."] if reason else []
    return Answer(
        decision=_decision(predictor, table, scores),
        verdict=verdict,
        scores=scores,
        image=_png(decoded.pixels),
        layer=_png(np.ascontiguousarray(heat_map.layer[..., [2, 1, 0, 3]])),
        explained=heat_map.explained,
        source=source,
        warnings=(*doubts, *_warnings(predictor, decoded, heat_map)),
    )


def told(threshold: Threshold) -> str:
    """A threshold and where it comes from."""
    value = show_probability(threshold.value)
    if threshold.origin == "given":
        return f"{value}, given and not chosen on data"
    if threshold.origin == "default":
        return f"{value}, for none could be chosen"
    return f"{value}, chosen on {origin_words(threshold.origin)} by {threshold.rule}"


def _scores(predictor: Predictor, table: pd.DataFrame) -> tuple[Score, ...]:
    task = predictor.task
    names = task.classes[1:] if task.kind == "binary" else task.classes
    raw, calibrated = (
        table[score_columns(task, kind)].to_numpy(np.float64)[0]
        for kind in ("probability", "calibrated")
    )
    if task.kind == "multiclass":
        positive = [index == int(table["decision"].iloc[0]) for index in range(len(names))]
    else:
        binary = task.kind == "binary"
        columns = ["decision"] if binary else [f"decision_{name}" for name in names]
        positive = [bool(table[column].iloc[0]) for column in columns]
    thresholds = predictor.point.thresholds or (None,) * len(names)
    return tuple(
        Score(
            name=name,
            probability=float(raw[index]),
            calibrated=float(calibrated[index]),
            shown=(show_probability(float(raw[index])), show_probability(float(calibrated[index]))),
            positive=positive[index],
            cut=None if threshold is None else threshold.value,
            threshold=None if threshold is None else told(threshold),
        )
        for index, (name, threshold) in enumerate(zip(names, thresholds, strict=True))
    )


def _decision(predictor: Predictor, table: pd.DataFrame, scores: tuple[Score, ...]) -> str:
    task = predictor.task
    if task.kind != "multilabel":
        return task.classes[int(table["decision"].iloc[0])]
    return ", ".join(score.name for score in scores if score.positive) or "none of the findings"


def _warnings(predictor: Predictor, decoded: Decoded, heat_map: HeatMap) -> list[str]:
    height, width = decoded.facts.height, decoded.facts.width
    found = []
    if np.ptp(decoded.pixels) == 0:  # where no gate has said so
        found.append("The image is of a single grey: there is nothing to judge.")
    stretched = predictor.preprocess.resize == "stretch"
    if stretched and max(height, width) >= _ELONGATED * min(height, width):
        found.append("Far from square: it was stretched to one, so the proportions are wrong.")
    if min(height, width) < predictor.image_size:
        found.append(
            f"Smaller than the {predictor.image_size} pixels that the model looks at: it was "
            "enlarged, and fine detail is missing."
        )
    if heat_map.doubtful:
        found.append("The heat map does not add up to the model's output: don't rely on it.")
    return found


def _png(image: NDArray[np.uint8]) -> str:
    return data_uri(cv2.imencode(".png", image)[1].tobytes(), "png")
