"""Temperature scaling: one number that makes probabilities mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from cxrlab.errors import warn

BOUNDS = (0.05, 20.0)


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
