from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from cxrlab.comparison.paired import (
    McNemar,
    difference_interval,
    holm,
    mcnemar_test,
    paired_draws,
)
from cxrlab.evaluation.metrics import Interval


def flags(*runs: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """So many images that the first and the second system decide rightly (1) or not."""
    pairs = [(first, second) for first, second, times in runs for _ in range(times)]
    return tuple(np.array(pairs, dtype=bool).T)  # type: ignore[return-value]


def found(outcome: tuple[Interval, float] | str) -> tuple[Interval, float]:
    assert isinstance(outcome, tuple), outcome
    return outcome


def test_mcnemar_by_hand() -> None:
    """One discordant image for the first, five for the second: 2 * (1 + 6) / 2**6."""
    first, second = flags((1, 1, 10), (0, 0, 4), (1, 0, 1), (0, 1, 5))
    assert mcnemar_test(first, second) == McNemar(1, 5, pytest.approx(0.2), pytest.approx(14 / 64))


def test_exchanged_systems_give_the_mirrored_mcnemar() -> None:
    first, second = flags((1, 0, 3), (0, 1, 9), (1, 1, 2))
    one, other = mcnemar_test(first, second), mcnemar_test(second, first)
    assert isinstance(one, McNemar)
    assert isinstance(other, McNemar)
    assert (one.first_alone, one.difference) == (other.second_alone, -other.difference)
    assert one.p == other.p


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [([(1, 1, 5), (0, 0, 2)], "no image is decided rightly by one alone"), ([], "no images")],
)
def test_without_discordant_images_there_is_no_mcnemar(pairs, reason: str) -> None:
    first, second = flags(*pairs) if pairs else (np.zeros(0, bool), np.zeros(0, bool))
    assert reason in str(mcnemar_test(first, second))


def test_systems_are_measured_on_the_same_samples_of_patients() -> None:
    patients = [f"p{i // 2}" for i in range(40)]
    values = np.arange(40.0)

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": weights @ values / weights.sum(axis=1), "images": weights.sum(axis=1)}

    def shifted(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: drawn + 1 for name, drawn in measure(weights).items()}

    one, other = paired_draws([measure, shifted], patients, 500, seed=3)
    assert one["mean"].shape == (500,)
    assert one["mean"].std() > 1
    np.testing.assert_allclose(other["mean"] - one["mean"], 1)
    assert set(one["images"]) == {40.0}, "whole patients are drawn"


def test_of_means_it_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(5)
    gaps = rng.normal(0.4, 1, 60)
    weights = rng.multinomial(60, np.full(60, 1 / 60), 20_000)
    interval, p = found(difference_interval(weights @ gaps / 60, gaps.mean(), 60))
    expected = ttest_rel(gaps, np.zeros(60))
    ends = expected.confidence_interval()
    assert p == pytest.approx(expected.pvalue, rel=0.2)
    assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high), abs=0.01)


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.integers(10, 500))
def test_p_is_below_0_05_exactly_where_the_interval_leaves_0_out(
    seed: int, difference: float, patients: int
) -> None:
    drawn = np.random.default_rng(seed).normal(difference, 1, 300)
    interval, p = found(difference_interval(drawn, difference, patients))
    mirrored, same = found(difference_interval(-drawn, -difference, patients))
    assert (p < 0.05) == (interval.low > 0 or interval.high < 0)
    assert 0 <= p <= 1
    assert same == pytest.approx(p)
    assert mirrored.low == pytest.approx(-interval.high)


def test_without_a_difference_p_is_below_0_05_in_5_of_100() -> None:
    rng = np.random.default_rng(8)
    below = []
    for gaps in rng.standard_t(4, (800, 40)):
        weights = rng.multinomial(40, np.full(40, 1 / 40), 400)
        below.append(found(difference_interval(weights @ gaps / 40, gaps.mean(), 40))[1] < 0.05)
    assert 0.03 < np.mean(below) < 0.07


@pytest.mark.parametrize(
    ("drawn", "reason"),
    [
        (np.full(300, 0.25), "every sample of patients gives the same difference"),
        (np.full(300, 0.1) + 1e-16 * np.arange(300), "gives the same difference"),
        (np.append(np.random.default_rng(0).normal(size=270), [np.nan] * 30), "10% of the samples"),
    ],
    ids=["constant", "constant but for rounding", "often undefined"],
)
def test_a_difference_without_interval_says_why(drawn: np.ndarray, reason: str) -> None:
    assert reason in str(difference_interval(drawn, 0.25, 50))


def test_some_samples_may_have_no_value() -> None:
    drawn = np.random.default_rng(1).normal(1, 0.1, 300)
    with_gaps = np.append(drawn, [np.nan] * 3)
    assert difference_interval(with_gaps, 1, 50) == difference_interval(drawn, 1, 50)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.04, None, 0.5]) == [pytest.approx(0.08), None, 0.5]
    assert holm([0.7]) == [0.7]
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([None]) == [None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(values: list[float]) -> None:
    adjusted = [p for p in holm(values) if p is not None]
    assert len(adjusted) == len(values)
    for p, own in zip(values, adjusted, strict=True):
        assert p <= own <= min(1, p * len(values))
    order = np.argsort(values)
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
