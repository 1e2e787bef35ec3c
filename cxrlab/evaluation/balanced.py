"""A cut that single images don't move: where a logistic curve calls both classes equally likely."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit

FloatArray = npt.NDArray[np.float64]

_CLIP = 1e-7  # a logit of 16; scores beyond it move no cut


def balanced_cut(positive: FloatArray, negative: FloatArray) -> float | None:
    """The probability at which both classes are equally likely where both are equally frequent.

    Of the curve sigmoid(a x logit + b), fitted with half of the weight on each class and Platt's
    targets, (N + 1) / (N + 2) in place of 1 and 1 / (M + 2) in place of 0, which keep it finite
    where the classes don't overlap (Platt, Advances in Large Margin Classifiers 1999; Lin et al.,
    Machine Learning 2007). Two numbers are fitted to all images, where Youden's cut hangs on the
    few that lie near it.

    Args:
        positive: (N,) probabilities in [0, 1] of the images with the disease, one at least.
        negative: (M,) of those without.

    Returns:
        The cut in [0, 1]; None where higher scores don't mean disease.
    """
    n, m = len(positive), len(negative)
    x = logit(np.clip(np.concatenate([positive, negative]), _CLIP, 1 - _CLIP))
    target = np.repeat([(n + 1) / (n + 2), 1 / (m + 2)], [n, m])
    weight = np.repeat([0.5 / n, 0.5 / m], [n, m])

    def loss(curve: FloatArray) -> tuple[float, FloatArray]:
        z = curve[0] * x + curve[1]
        pull = weight * (expit(z) - target)
        value = float(weight @ (np.logaddexp(0, z) - target * z))
        return value, np.array([pull @ x, pull.sum()])

    slope, offset = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    if slope <= 0 or np.mean(positive) <= np.mean(negative):
        return None
    return float(expit(-offset / slope))
