from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from cxrlab.evaluation.calibration import BOUNDS, fit_temperature


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_recovers_a_known_temperature_of_two_classes(temperature: float) -> None:
    rng = np.random.default_rng(0)
    true_logits = rng.normal(0, 2, 40_000)
    target = rng.random(40_000) < expit(true_logits)
    assert fit_temperature(true_logits * temperature, target) == pytest.approx(
        temperature, rel=0.04
    )


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_recovers_a_known_temperature_of_three_classes(temperature: float) -> None:
    rng = np.random.default_rng(1)
    true_logits = rng.normal(0, 2, (40_000, 3))
    cumulative = softmax(true_logits, axis=1).cumsum(axis=1)
    target = (rng.random(40_000)[:, None] > cumulative).sum(axis=1)
    assert fit_temperature(true_logits * temperature, target) == pytest.approx(
        temperature, rel=0.04
    )


def test_hand_computed() -> None:
    # Four images with logit 2, three of them positive: the likeliest probability is 3/4, so
    # 2 / T = ln 3.
    assert fit_temperature([2, 2, 2, 2], [1, 1, 1, 0]) == pytest.approx(2 / np.log(3), rel=1e-5)
    # The same as two columns of a softmax.
    two = np.array([[0.0, 2.0]] * 4)
    assert fit_temperature(two, [1, 1, 1, 0]) == pytest.approx(2 / np.log(3), rel=1e-5)


def test_findings_share_the_temperature_of_their_known_entries() -> None:
    # The four images above as entries of two findings; what is unknown has no say.
    logits = [[2.0, 2.0], [2.0, -40.0], [40.0, 2.0]]
    target = [[1, 1], [1, np.nan], [np.nan, 0]]
    assert fit_temperature(logits, target) == pytest.approx(2 / np.log(3), rel=1e-5)


def test_findings_all_unknown_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    assert fit_temperature([[1.0, 2.0]], [[np.nan, np.nan]]) == 1.0
    assert "one class" in caplog.text


@given(st.lists(st.tuples(st.floats(-50, 50), st.integers(0, 1)), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_never_worse_than_leaving_it(case: list[tuple[float, int]]) -> None:
    logits, target = (np.array(column, dtype=float) for column in zip(*case, strict=True))
    sign = 2 * target - 1
    fitted = fit_temperature(logits, target)
    assert BOUNDS[0] <= fitted <= BOUNDS[1]
    loss = [np.logaddexp(0, -sign * logits / t).mean() for t in (fitted, 1.0)]
    assert loss[0] <= loss[1] + 1e-9


@pytest.mark.parametrize(
    ("logits", "target", "cause"),
    [
        ([1.0, -2.0, 3.0], [1, 1, 1], "one class"),
        ([], [], "one class"),
        ([1.0, 2.0, -0.1], [1, 1, 0], "every validation image in its class"),
        ([0.0, 0.0], [1, 0], "equally likely"),
    ],
)
def test_what_can_not_be_fitted_stays_as_it_is(
    logits: list[float], target: list[int], cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert fit_temperature(logits, target) == 1.0
    assert cause in caplog.text


def test_misleading_scores_end_at_the_bound() -> None:
    assert fit_temperature([5.0, 5.0, -5.0, -5.0], [0, 0, 1, 1]) == pytest.approx(
        BOUNDS[1], rel=1e-3
    )


def test_bad_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="fit together"):
        fit_temperature([1.0, 2.0], [1])
    with pytest.raises(ValueError, match="fit together"):
        fit_temperature([[1.0, 2.0]], [[1, 0, 1]])
    with pytest.raises(ValueError, match="finite"):
        fit_temperature([1.0, np.nan], [1, 0])
