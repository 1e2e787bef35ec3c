"""All of a run that fits into a graph: from pixels to logits and probabilities."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from cxrlab import __version__
from cxrlab.evaluation.calibration import Calibration, Curve
from cxrlab.serving.predictor import Predictor
from cxrlab.task import Task

INPUT = "image"
OUTPUTS = ("logit", "probability", "calibrated")
# Of the description: a reader refuses numbers that it does not know.
LAYOUT = 1


class ServingGraph(nn.Module):
    """A predictor behind its decoder: scaling, normalisation, network, calibration."""

    def __init__(self, predictor: Predictor) -> None:
        """Take over the predictor's network; its device is kept."""
        super().__init__()
        self.network = predictor.network
        self.calibrated = _Calibrated(predictor.point.calibration, predictor.task)
        self._exclusive = predictor.task.kind == "multiclass"
        self.eval().to(predictor.device)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score decoded images.

        Args:
            image: uint8 (B, S, S), as the run's preprocessing makes them of files.

        Returns:
            Logits, probabilities and calibrated probabilities, float32: (B,) for two classes, of
            the second; else (B, K).
        """
        logit = self.network(image[:, None].float() / 255)
        return logit, _probability(logit, exclusive=self._exclusive), self.calibrated(logit)


def describe(predictor: Predictor, run: str) -> dict[str, Any]:
    """What a server needs beside the graph, as dicts, lists, strings and numbers.

    Args:
        predictor: whose graph it is.
        run: what the run is called.

    Returns:
        `layout` (1), `cxrlab` (version), `run`, `task` (`kind`, `classes`), `image_size`,
        `preprocess` (as in `conf/data/base.yaml`; done before the graph), `operating_point`
        (`calibration`, done in the graph, and `thresholds` on the probability).
    """
    return {
        "layout": LAYOUT,
        "cxrlab": __version__,
        "run": run,
        "task": {"kind": predictor.task.kind, "classes": list(predictor.task.classes)},
        "image_size": predictor.image_size,
        "preprocess": predictor.preprocess.model_dump(mode="json"),
        "operating_point": asdict(predictor.point),
    }


def _probability(logit: Tensor, *, exclusive: bool) -> Tensor:
    return logit.softmax(dim=1) if exclusive else logit.sigmoid()


class _Calibrated(nn.Module):
    """`Calibration.probability` in torch, (B,) or (B, K) float32."""

    def __init__(self, calibration: Calibration, task: Task) -> None:
        super().__init__()
        self._temperature = calibration.temperature
        self._exclusive = task.kind == "multiclass"
        self.curves = nn.ModuleList(
            nn.Identity() if curve is None else _Line(curve) for curve in calibration.curves
        )

    def forward(self, logit: Tensor) -> Tensor:
        scaled = _probability(logit / self._temperature, exclusive=self._exclusive)
        if not len(self.curves):
            return scaled
        if logit.dim() == 1:
            return self._column(0, logit, scaled)
        columns = [self._column(k, logit[:, k], scaled[:, k]) for k in range(len(self.curves))]
        return torch.stack(columns, dim=1)

    def _column(self, k: int, logit: Tensor, scaled: Tensor) -> Tensor:
        line = self.curves[k]
        found: Tensor = line(logit) if isinstance(line, _Line) else scaled
        return found


class _Line(nn.Module):
    """`numpy.interp` as a sum over segments, which every format and runtime computes."""

    start: Tensor
    width: Tensor
    slope: Tensor

    def __init__(self, curve: Curve) -> None:
        super().__init__()
        x = torch.tensor(curve.logits, dtype=torch.float64)
        y = torch.tensor(curve.probabilities, dtype=torch.float64)
        if len(x) == 1:  # a flat line through a point
            x, y = torch.cat([x, x + 1]), torch.cat([y, y])
        width = x.diff()
        self._first = float(y[0])
        self.register_buffer("start", x[:-1].float())
        self.register_buffer("width", width.float())
        self.register_buffer("slope", (y.diff() / width).float())

    def forward(self, logit: Tensor) -> Tensor:
        within = torch.minimum((logit[:, None] - self.start).clamp(min=0), self.width)
        return self._first + (within * self.slope).sum(dim=1)
