"""What stands between a logit and a decision, and travels with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.threshold import Threshold


@dataclass(frozen=True)
class OperatingPoint:
    """What turns a logit into a calibrated probability and a decision; kept with the model.

    Attributes:
        calibration: from logits to probabilities.
        thresholds: one for two classes, one a finding; none for more than two classes, where
            the most probable class is decided.
    """

    calibration: Calibration
    thresholds: tuple[Threshold, ...]

    @property
    def cuts(self) -> tuple[float, ...]:
        """The thresholds' values."""
        return tuple(threshold.value for threshold in self.thresholds)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> OperatingPoint:
        """What `dataclasses.asdict` made of one, also after JSON."""
        thresholds = tuple(Threshold(**threshold) for threshold in plain["thresholds"])
        return cls(Calibration.from_plain(plain["calibration"]), thresholds)
