"""Several runs that decide together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit, logit
from torch import Tensor, nn

from cxrlab.errors import UserError
from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.operating_point import OperatingPoint
from cxrlab.evaluation.threshold import Threshold
from cxrlab.model.views import single_look
from cxrlab.serving.predictor import Predictor


class Ensemble(nn.Module):
    """The mean of the members' logits, each over its temperature.

    So all members speak in one unit, and the mean is the logarithm of the odds' geometric mean
    (Genest and Zidek 1986).
    """

    def __init__(self, networks: Sequence[nn.Module], temperatures: Sequence[float]) -> None:
        """Take networks that map (B, 1, S, S) to logits of one shape."""
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.temperatures = tuple(temperatures)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 1, S, S) to mean logits, (B,) or (B, K)."""
        members = zip(self.networks, self.temperatures, strict=True)
        return torch.stack([network(images) / heat for network, heat in members]).mean(dim=0)

    def single_look(self) -> Ensemble:
        """Each member looks once: the logit that is explained is their mean."""
        looks = [single_look(network) for network in self.networks]
        return Ensemble(looks, self.temperatures).train(self.training)


def load_predictor(checkpoints: Sequence[Path], device: torch.device) -> Predictor:
    """The predictor of a run, or of several that decide together.

    The members' logits over their temperatures are averaged. Each has chosen its threshold on
    validation images of its own, which others may have trained on, so the thresholds and margins
    are averaged too, as logits over temperatures, and nothing is chosen anew. The gate is that of
    the first, for all have seen images of one kind.

    Args:
        checkpoints: of the runs.
        device: where to compute.

    Raises:
        UserError: a checkpoint can't be used, or the runs don't fit together.
    """
    members = [Predictor.load(checkpoint, device) for checkpoint in checkpoints]
    first = members[0]
    if len(members) == 1:
        return first
    for checkpoint, member in zip(checkpoints, members, strict=True):
        _check(first, member, checkpoint.parents[1])
    points = [member.point for member in members]
    heats = [point.calibration.temperature for point in points]
    margin = float(np.mean([p.margin / heat for p, heat in zip(points, heats, strict=True)]))
    return replace(
        first,
        network=Ensemble([member.network for member in members], heats).eval(),
        point=OperatingPoint(Calibration(), _thresholds(points), margin),
    )


def _check(first: Predictor, member: Predictor, folder: Path) -> None:
    """Whether two runs can share images and outputs.

    Raises:
        UserError: they can't.
    """
    if member.point.calibration.curves:
        raise UserError(
            f"run={folder}: isotonic curves can't be averaged as logits; train the members with "
            "evaluation.calibration=temperature"
        )
    for what in ("task", "image_size", "preprocess"):
        own, others = getattr(member, what), getattr(first, what)
        if own != others:
            raise UserError(
                f"run={folder}: its {what} ({own}) is not that of the first run ({others}); "
                "average runs of one kind"
            )


def _thresholds(points: Sequence[OperatingPoint]) -> tuple[Threshold, ...]:
    """For each output the mean of the members' thresholds, as calibrated logits."""
    found = []
    for thresholds in zip(*(point.thresholds for point in points), strict=True):
        heats = [point.calibration.temperature for point in points]
        # A threshold of 0 or 1, beyond every score, would outvote all others.
        values = np.clip([threshold.value for threshold in thresholds], 1e-6, 1 - 1e-6)
        mean = float(expit(np.mean(logit(values) / heats)))
        origins = sorted({threshold.origin for threshold in thresholds})
        of_all = origins[0] if origins == ["given"] else f"{' and '.join(origins)} of each member"
        found.append(Threshold(mean, thresholds[0].rule, of_all))
    return tuple(found)
