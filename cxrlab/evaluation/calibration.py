"""Temperature scaling: one number that makes probabilities mean what they say."""

from __future__ import annotations

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
    target give the upper bound. Ranking is unchanged.

    Three inputs have no optimum worth keeping and give 1.0 (probabilities as they are) with a
    warning: a target of one class; logits that put every image in its class, for which T -> 0 is
    ever more likely; logits that T does not change.

    Args:
        logits: (N,) for two classes or (N, K), finite.
        target: (N,) class indices.

    Returns:
        T in `BOUNDS`; above 1 the model was too sure of itself.

    Raises:
        ValueError: shapes that differ, or logits that are not finite.
    """
    values = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(target, dtype=np.int64)
    if values.ndim not in (1, 2) or truth.shape != values.shape[:1]:
        raise ValueError(f"logits {values.shape} and target {truth.shape} do not fit together")
    if not np.isfinite(values).all():
        raise ValueError("logits are not all finite")
    if values.ndim == 1:
        values = np.stack([np.zeros_like(values), values], axis=1)
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


def _nothing_to_fit(values: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> str | None:
    if np.unique(truth).size < 2:
        return "validation has images of one class at most"
    own = values[np.arange(truth.size), truth]
    if (np.sum(values >= own[:, None], axis=1) == 1).all():
        return "the model puts every validation image in its class"
    if not np.ptp(values, axis=1).any():
        return "the model finds all classes equally likely in every validation image"
    return None
