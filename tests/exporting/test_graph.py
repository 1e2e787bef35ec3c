from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cxrlab.config.datasets import Preprocess
from cxrlab.evaluation.calibration import Calibration, Curve
from cxrlab.evaluation.operating_point import OperatingPoint
from cxrlab.exporting.check import run_scores
from cxrlab.exporting.formats import FORMATS
from cxrlab.exporting.graph import ServingGraph, describe
from cxrlab.serving.predictor import Predictor
from cxrlab.task import Task

CURVE = Curve((-2.0, 0.0, 0.5), (0.1, 0.1, 0.9))
TASKS = [
    Task("binary", ("no", "yes")),
    Task("multiclass", ("a", "b", "c")),
    Task("multilabel", ("a", "b", "c")),
]


class Means(nn.Module):
    """Logits from the mean of each third of an image's rows; one for two classes."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))
        self._outputs = outputs

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        parts = [part.mean(dim=(1, 2, 3)) for part in images.split(4, dim=2)]
        logits = self.scale * (torch.stack(parts[: self._outputs], dim=1) - 0.5)
        return logits[:, 0] if self._outputs == 1 else logits


def predictor_of(task: Task, calibration: Calibration) -> Predictor:
    return Predictor(
        network=Means(task.outputs),
        device=torch.device("cpu"),
        task=task,
        image_size=12,
        preprocess=Preprocess(crop_borders=False, percentiles=None, resize="stretch", clahe=None),
        point=OperatingPoint(calibration, ()),
    )


def pictures(count: int) -> np.ndarray:
    levels = np.random.default_rng(0).integers(0, 256, (count, 3, 1), dtype=np.uint8)
    return np.repeat(np.repeat(levels, 4, axis=1), 12, axis=2)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
@pytest.mark.parametrize("curved", [False, True])
def test_the_graph_computes_what_the_predictor_does(task: Task, curved: bool) -> None:
    curves = (CURVE, None, CURVE)[: task.outputs] if curved and task.kind != "multiclass" else ()
    predictor = predictor_of(task, Calibration(1.7, curves))
    pixels = pictures(20)
    expected = run_scores(predictor, pixels)
    with torch.inference_mode():
        found = ServingGraph(predictor)(torch.from_numpy(pixels))
    for scores, own in zip(
        found, (expected.logit, expected.probability, expected.calibrated), strict=True
    ):
        np.testing.assert_allclose(scores.numpy(), own, atol=1e-6)
    assert np.ptp(expected.probability) > 0.5, "a test that could not fail"


@pytest.mark.parametrize("name", FORMATS)
def test_several_findings_with_curves_fit_into_every_format(name: str, tmp_path) -> None:
    predictor = predictor_of(TASKS[2], Calibration(1.7, (CURVE, None, CURVE)))
    pixels = pictures(5)
    file = tmp_path / f"model{FORMATS[name].suffix}"
    FORMATS[name].write(
        ServingGraph(predictor), torch.from_numpy(pixels[:2]), describe(predictor, "a run"), file
    )
    _, _, calibrated = FORMATS[name].open(file)(pixels)
    np.testing.assert_allclose(calibrated, run_scores(predictor, pixels).calibrated, atol=1e-6)


@given(
    points=st.lists(
        st.tuples(st.integers(-40, 40), st.floats(0, 1)), min_size=1, max_size=20,
        unique_by=lambda point: point[0],
    ),
    logits=st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=10),
)  # fmt: skip
def test_any_curve_is_that_of_the_calibration(points, logits) -> None:
    x, y = zip(*sorted(points), strict=True)
    curve = Curve(tuple(level / 4 for level in x), tuple(sorted(y)))
    task = TASKS[0]
    graph = ServingGraph(predictor_of(task, Calibration(1.0, (curve,))))
    values = np.array(logits)
    with torch.inference_mode():
        found = graph.calibrated(torch.tensor(logits, dtype=torch.float32)).numpy()
    expected = Calibration(1.0, (curve,)).probability(values, task)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_description_makes_the_operating_point_again() -> None:
    predictor = predictor_of(TASKS[2], Calibration(1.7, (CURVE, None, CURVE)))
    told = describe(predictor, "a run")
    assert OperatingPoint.from_plain(told["operating_point"]) == predictor.point
    assert Preprocess.model_validate(told["preprocess"]) == predictor.preprocess
    assert describe(replace(predictor, image_size=13), "a run") != told
