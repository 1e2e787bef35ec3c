from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from cxrlab.errors import UserError
from cxrlab.evaluation.calibration import (
    BOUNDS,
    Calibration,
    check_method,
    fit_calibration,
    fit_temperature,
)
from cxrlab.evaluation.curves import expected_calibration_error
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
FINDINGS = Task.multilabel(("Effusion", "Mass"))


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


def test_a_monotone_curve_mends_what_no_temperature_can() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    # Shifted: ill is likelier than the model says, at every score.
    target = (rng.random(20_000) < expit(logits + 1.5)).astype(int)
    errors = {}
    for method in ("temperature", "isotonic"):
        found = fit_calibration(method, logits, target).probability(logits, TWO)
        errors[method] = expected_calibration_error(found, target)
    assert errors["temperature"] > 0.05
    assert errors["isotonic"] < 0.01


def test_a_monotone_curve_by_hand() -> None:
    # 40 images at each of three logits, of which 10, 4 and 36 are ill: the first two are out of
    # order and pooled to 14 / 80; between the steps the curve is a line.
    logits = np.repeat([-1.0, 0.0, 2.0], 40)
    target = np.concatenate([np.arange(40) < ill for ill in (10, 4, 36)]).astype(int)
    found = fit_calibration("isotonic", logits, target)
    at = found.probability(np.array([-9.0, -1.0, 0.0, 1.0, 2.0, 9.0]), TWO)
    middle = (14 / 80 + 36 / 40) / 2
    np.testing.assert_allclose(at, [14 / 80, 14 / 80, 14 / 80, middle, 36 / 40, 36 / 40])


def test_a_monotone_curve_never_says_never() -> None:
    target = np.repeat([0, 1], 50)
    found = fit_calibration("isotonic", target * 4.0 - 2, target).probability(
        np.array([-50.0, 50.0]), TWO
    )
    np.testing.assert_allclose(found, [1 / 102, 101 / 102])


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=20), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_monotone_curve_keeps_the_order(logits: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 3, 200)
    target = (rng.random(200) < expit(scores)).astype(int)
    found = fit_calibration("isotonic", scores, target).probability(np.sort(logits), TWO)
    assert (np.diff(found) >= 0).all()
    assert ((found > 0) & (found < 1)).all()


def test_too_few_images_keep_their_temperature(caplog: pytest.LogCaptureFixture) -> None:
    logits, target = np.linspace(-2, 2, 40), np.tile([0, 1], 20)
    found = fit_calibration("isotonic", logits, target)
    plain = fit_calibration("temperature", logits, target)
    np.testing.assert_allclose(found.probability(logits, TWO), plain.probability(logits, TWO))
    assert "20 images of one class, too few" in caplog.text


def test_findings_have_a_curve_each_of_what_is_known() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (4000, 2))
    target = (rng.random((4000, 2)) < expit(logits + np.array([2, -2]))).astype(float)
    target[rng.random(target.shape) < 0.5] = np.nan
    found = fit_calibration("isotonic", logits, target).probability(np.zeros((1, 2)), FINDINGS)
    np.testing.assert_allclose(found[0], expit([2, -2]), atol=0.08)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_calibration_survives_a_file(method) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=300)
    fitted = fit_calibration(method, logits, (logits + rng.normal(size=300) > 0).astype(int))
    assert Calibration.from_plain(json.loads(json.dumps(asdict(fitted)))) == fitted


def test_more_than_two_classes_have_no_curve() -> None:
    with pytest.raises(UserError, match=r"take evaluation\.calibration=temperature"):
        check_method("isotonic", THREE)
    check_method("isotonic", FINDINGS)
    check_method("temperature", THREE)
