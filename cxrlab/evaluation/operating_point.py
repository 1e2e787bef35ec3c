"""What stands between a logit and a decision, and travels with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.threshold import Threshold

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class OperatingPoint:
    """What turns a logit into a calibrated probability and a decision; kept with the model.

    Attributes:
        calibration: from logits to probabilities.
        thresholds: one for two classes, one a finding; none for more than two classes, where
            the most probable class is decided.
        margin: a decision whose margin (see `margins`) is smaller is one to review; 0: none is.
    """

    calibration: Calibration
    thresholds: tuple[Threshold, ...]
    margin: float = 0.0

    @property
    def cuts(self) -> tuple[float, ...]:
        """The thresholds' values."""
        return tuple(threshold.value for threshold in self.thresholds)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> OperatingPoint:
        """What `dataclasses.asdict` made of one, also after JSON."""
        thresholds = tuple(Threshold(**threshold) for threshold in plain["thresholds"])
        calibration = Calibration.from_plain(plain["calibration"])
        return cls(calibration, thresholds, float(plain.get("margin", 0.0)))


def margins(logits: FloatArray, thresholds: Sequence[float]) -> FloatArray:
    """How far images are from being decided otherwise, in logits.

    Args:
        logits: (N, K), K being 1 for two classes.
        thresholds: K probabilities; none for more than two classes.

    Returns:
        (N,) >= 0: the distance from the nearest threshold; without any, the lead of the most
        probable class over the next.
    """
    if not thresholds:
        last = np.sort(logits, axis=1)[:, -2:]
        return last[:, 1] - last[:, 0]
    cuts = logit(np.clip(thresholds, 1e-9, 1 - 1e-9))
    found: FloatArray = np.abs(logits - cuts).min(axis=1)
    return found
