"""From logits to probabilities that mean what they say: a temperature, or a monotone curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax

from cxrlab.errors import UserError, warn
from cxrlab.task import Task

FloatArray = npt.NDArray[np.float64]
Method: TypeAlias = Literal["temperature", "isotonic"]

BOUNDS = (0.05, 20.0)
# Below this many images of a class a monotone curve follows single images.
_FEW = 30


@dataclass(frozen=True)
class Curve:
    """A rising line through points, flat beyond its ends.

    Attributes:
        logits: ascending.
        probabilities: not descending.
    """

    logits: tuple[float, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """How a logit becomes a calibrated probability; kept with the model.

    Attributes:
        temperature: > 0; logits are divided by it (Guo et al. 2017) where there is no curve.
        curves: of isotonic regression, one a logit; where there is none the temperature is used.
    """

    temperature: float = 1.0
    curves: tuple[Curve | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature {self.temperature} is not above 0")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Calibration:
        """What `dataclasses.asdict` made of one, also after JSON."""
        curves = tuple(
            curve and Curve(tuple(curve["logits"]), tuple(curve["probabilities"]))
            for curve in plain["curves"]
        )
        return cls(plain["temperature"], curves)

    def probability(self, logits: FloatArray, task: Task) -> FloatArray:
        """Calibrated probabilities, in the shape of the logits.

        Args:
            logits: (N,) for two classes, else (N, K).
            task: what is predicted.
        """
        if not self.curves:
            return to_probability(logits / self.temperature, task)
        columns = logits.reshape(len(logits), -1)
        found = [
            np.interp(column, curve.logits, curve.probabilities)
            if curve
            else expit(column / self.temperature)
            for column, curve in zip(columns.T, self.curves, strict=True)
        ]
        return np.stack(found, axis=1).reshape(logits.shape)


def to_probability(logits: FloatArray, task: Task) -> FloatArray:
    """Softmax of classes that exclude one another, sigmoid of the others; in their shape."""
    return np.asarray(softmax(logits, axis=1) if task.kind == "multiclass" else expit(logits))


def check_method(method: Method, task: Task) -> None:
    """Refuse a method that the task can't have.

    Raises:
        UserError: isotonic regression for more than two classes.
    """
    if method == "isotonic" and task.kind == "multiclass":
        raise UserError(
            f"evaluation.calibration=isotonic: {len(task.classes)} classes that exclude one "
            "another have no such curve; take evaluation.calibration=temperature"
        )


def fit_calibration(method: Method, logits: FloatArray, target: npt.NDArray[Any]) -> Calibration:
    """Fit on validation.

    Args:
        method: `isotonic` is for two classes and for findings.
        logits: (N,) for two classes or (N, K), finite.
        target: (N,) class indices, or of findings (N, K): 1 present, 0 absent, NaN unknown.
    """
    temperature = fit_temperature(logits, target)
    if method == "temperature":
        return Calibration(temperature)
    columns, truth = logits.reshape(len(logits), -1).T, target.reshape(len(logits), -1).T
    pairs = zip(columns, truth, strict=True)
    return Calibration(temperature, tuple(_isotonic(*pair) for pair in pairs))


def _isotonic(logits: FloatArray, target: npt.NDArray[Any]) -> Curve | None:
    """The monotone curve of least squares (Zadrozny and Elkan, KDD 2002).

    It ends 1 / (n + 2) from 0 and 1: n images show no rarer event (Laplace's rule).
    """
    known = ~np.isnan(target.astype(np.float64))
    logits, event = logits[known], target[known] == 1
    fewest = min(int(event.sum()), int((~event).sum()))
    if fewest < _FEW:
        warn(
            f"validation has {fewest} images of one class, too few for evaluation.calibration="
            f"isotonic (at least {_FEW}), so its temperature is used; validate on more images"
        )
        return None
    from sklearn.isotonic import IsotonicRegression

    edge = 1 / (event.size + 2)
    fitted = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(logits, event)
    return Curve(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


def fit_temperature(logits: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Temperature T that minimises the negative log-likelihood of softmax(logits / T).

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The likelihood has one
    optimum in T; log T is searched within `BOUNDS`, so scores that tell nothing about the
    target give the upper bound. Ranking is unchanged. Findings that do not exclude one another
    have one T: that of their known entries together, each as two classes.

    Three inputs have no optimum worth keeping and give 1.0 (probabilities as they are) with a
    warning: a target of one class; logits that put every image in its class, for which T -> 0 is
    ever more likely; logits that T does not change.

    Args:
        logits: (N,) for two classes or (N, K), finite.
        target: (N,) class indices, or of findings (N, K): 1 present, 0 absent, NaN unknown.

    Returns:
        T in `BOUNDS`; above 1 the model was too sure of itself.

    Raises:
        ValueError: shapes that differ, or logits that are not finite.
    """
    values, truth = _as_classes(np.asarray(logits, dtype=np.float64), np.asarray(target))
    reason = _nothing_to_fit(values, truth)
    if reason is not None:
        warn(
            f"{reason}, so no temperature can be fitted and probabilities stay as they are; "
            "validate on more images"
        )
        return 1.0
    own = values[np.arange(truth.size), truth]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(values * scale, axis=1) - own * scale))

    low, high = np.log(BOUNDS)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


def _as_classes(
    logits: npt.NDArray[np.float64], target: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Logits (M, C) and class indices (M,) of M entries, each of which has one of C classes."""
    if logits.ndim not in (1, 2) or target.shape not in (logits.shape[:1], logits.shape):
        raise ValueError(f"logits {logits.shape} and target {target.shape} do not fit together")
    if not np.isfinite(logits).all():
        raise ValueError("logits are not all finite")
    if target.ndim == 2:
        known = ~np.isnan(target)
        logits, target = logits[known], target[known]
    if logits.ndim == 1:
        logits = np.stack([np.zeros_like(logits), logits], axis=1)
    return logits, target.astype(np.int64)


def _nothing_to_fit(values: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> str | None:
    if np.unique(truth).size < 2:
        return "validation has images of one class at most"
    own = values[np.arange(truth.size), truth]
    if (np.sum(values >= own[:, None], axis=1) == 1).all():
        return "the model puts every validation image in its class"
    if not np.ptp(values, axis=1).any():
        return "the model finds all classes equally likely in every validation image"
    return None
