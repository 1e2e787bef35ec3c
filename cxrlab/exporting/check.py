"""How far an exported file is from its run, how large it is and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrlab.evaluation.calibration import to_probability
from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.predictions import prediction_table
from cxrlab.exporting.formats import Scorer
from cxrlab.exporting.images import Images
from cxrlab.serving.predictor import Predictor

SINGLE, BATCH = 1, 16
_CHUNK = 16
# TorchScript compiles anew in the first calls of a shape.
_WARM_UP, _LEAST_TURNS, _SECONDS = 3, 5, 1.0

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Logits, probabilities and calibrated probabilities of N images, (N,) or (N, K) float64."""

    logit: FloatArray
    probability: FloatArray
    calibrated: FloatArray


@dataclass(frozen=True)
class Checked:
    """A file beside its run.

    Attributes:
        name: what it is called in tables.
        file: where it lies; of the run itself its checkpoint.
        megabytes: its size, in 10^6 bytes.
        difference: greatest difference of a probability from the run's.
        curve_difference: greatest difference of a calibrated probability from what the run's
            calibration makes of the file's own logit.
        changed: share of the images whose decision differs.
        auroc: on the run's validation images; None where they are not at hand, or of one class.
        single_ms: median milliseconds of one image alone.
        batch_ms: median milliseconds an image, sixteen at a time.
    """

    name: str
    file: Path
    megabytes: float
    difference: float
    curve_difference: float
    changed: float
    auroc: float | None
    single_ms: float
    batch_ms: float


def run_scores(predictor: Predictor, pixels: NDArray[np.uint8]) -> Scores:
    """What the run itself says of decoded images (N, S, S)."""
    logit = np.concatenate([predictor.logits(part) for part in _chunks(pixels)])
    return Scores(
        logit,
        to_probability(logit, predictor.task),
        predictor.point.calibration.probability(logit, predictor.task),
    )


def file_scores(scorer: Scorer, pixels: NDArray[np.uint8]) -> Scores:
    """What a file says of decoded images (N, S, S), in batches of several sizes."""
    parts = [scorer(part) for part in (pixels[:1], *_chunks(pixels[1:]))]
    columns = [np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True)]
    return Scores(*columns)


def checked(
    name: str,
    file: Path,
    found: Scores,
    scorer: Callable[[NDArray[np.uint8]], object],
    predictor: Predictor,
    images: Images,
    expected: Scores,
) -> Checked:
    """Compare scores with the run's, and time what made them.

    Args:
        name: of the file.
        file: where it lies.
        found: its scores of `images`.
        scorer: what made them.
        predictor: of the run.
        images: N, one at least.
        expected: the run's scores.
    """
    own = predictor.point.calibration.probability(found.logit, predictor.task)
    decided = [_decisions(scores, predictor) for scores in (found, expected)]
    return Checked(
        name=name,
        file=file,
        megabytes=file.stat().st_size / 1e6,
        difference=_greatest(found.probability - expected.probability),
        curve_difference=_greatest(found.calibrated - own),
        changed=float(np.mean(np.any(decided[0] != decided[1], axis=1))),
        auroc=_auroc(found, predictor, images),
        single_ms=_milliseconds(scorer, images.pixels[:SINGLE]),
        batch_ms=_milliseconds(scorer, images.pixels[:BATCH]),
    )


def _greatest(difference: FloatArray) -> float:
    """The greatest absolute value; infinite where any is no number."""
    return float(np.nan_to_num(np.abs(difference), nan=np.inf).max())


def _decisions(scores: Scores, predictor: Predictor) -> NDArray[np.int64]:
    """(N, K) of 0 and 1 at the thresholds, or (N, 1) of the most probable class."""
    probability = scores.probability.reshape(len(scores.probability), -1)
    if predictor.task.kind == "multiclass":
        return probability.argmax(axis=1)[:, None]
    return (probability >= np.array(predictor.point.cuts)).astype(np.int64)


def _auroc(scores: Scores, predictor: Predictor, images: Images) -> float | None:
    known = len(images.rows)
    if not known:
        return None
    table = prediction_table(
        images.rows,
        scores.logit[:known],
        predictor.task,
        calibration=predictor.point.calibration,
        thresholds=predictor.point.cuts,
    )
    metrics = evaluate_table(table, predictor.task, thresholds=predictor.point.cuts)
    return metrics.values.get("auroc")


def _milliseconds(
    scorer: Callable[[NDArray[np.uint8]], object], images: NDArray[np.uint8]
) -> float:
    """Median time an image of whole calls, after some to warm up."""
    for _ in range(_WARM_UP):
        scorer(images)
    times: list[float] = []
    while len(times) < _LEAST_TURNS or sum(times) < _SECONDS:
        start = time.perf_counter()
        scorer(images)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times)) / len(images)


def _chunks(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [pixels[start : start + _CHUNK] for start in range(0, len(pixels), _CHUNK)]
