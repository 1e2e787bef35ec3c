"""What the page tells of runs with more than two classes, and with findings."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.operating_point import OperatingPoint
from cxrlab.evaluation.threshold import Threshold
from cxrlab.serving.demo.answer import answer
from cxrlab.serving.predictor import Predictor
from cxrlab.task import Task

GREY = cv2.imencode(".png", np.full((40, 40), 128, np.uint8))[1].tobytes()


class Fixed(nn.Module):
    """Logits that grow with the mean gray value, and are `at` at 128 of 255."""

    def __init__(self, at: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("at", torch.tensor(at))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3))[:, None] * self.at * 255 / 128


def of(predictor: Predictor, task: Task, at: tuple[float, ...], *cuts: float) -> Predictor:
    point = OperatingPoint(Calibration(), tuple(Threshold(c, "youden", "val") for c in cuts))
    return replace(predictor, task=task, network=Fixed(at).eval(), point=point, gate=None)


def test_of_three_classes_the_most_probable_is_decided_and_explained(predictor) -> None:
    three = of(predictor, Task.exclusive(("normal", "bacteria", "virus")), (0.5, 2.0, -1.0))
    found = answer(three, GREY, "", "integrated_gradients")
    assert found.decision == found.explained == "bacteria"
    assert [score.name for score in found.scores] == ["normal", "bacteria", "virus"]
    assert [score.positive for score in found.scores] == [False, True, False]
    assert sum(score.probability for score in found.scores) == pytest.approx(1)
    assert all(score.cut is None and score.threshold is None for score in found.scores)


@pytest.mark.parametrize(
    ("at", "decision"),
    [
        ((2.0, -2.0), "Effusion"),
        ((2.0, 3.0), "Effusion, Mass"),
        ((-1.0, -2.0), "none of the findings"),
    ],
)
def test_each_finding_is_decided_at_its_own_threshold(
    predictor, at: tuple[float, float], decision: str
) -> None:
    two = of(predictor, Task.multilabel(("Effusion", "Mass")), at, 0.5, 0.9)
    found = answer(two, GREY, "", "integrated_gradients")
    assert found.decision == decision
    assert [score.cut for score in found.scores] == [0.5, 0.9]
    assert found.scores[0].threshold == "0.500, chosen on validation by youden"
    assert found.scores[0].probability == pytest.approx(1 / (1 + np.exp(-at[0])), abs=1e-4)
