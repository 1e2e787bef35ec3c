"""From the curve of a range test to a rate, or to why there is none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.training.range_test import RangeTest, draw

RATES = np.geomspace(1e-6, 1.0, 101)


def falling(middle: float, *, first: float = 0.7, depth: float = 0.4) -> np.ndarray:
    """A loss that falls along a logistic of the rate's logarithm, steepest at `middle`, then rises.

    It begins to rise two decades later.
    """
    place = np.log10(RATES) - np.log10(middle)
    return first - depth / (1 + np.exp(-6 * place)) + np.maximum(0, place - 2) ** 2


@pytest.mark.parametrize("middle", [1e-4, 1e-3, 1e-2])
def test_the_suggestion_is_where_the_loss_falls_most_steeply_over_the_logarithm(
    middle: float,
) -> None:
    rate, why = RangeTest(RATES, falling(middle)).suggestion()
    assert rate == pytest.approx(middle, rel=0.35)
    assert why == ""


@given(st.integers(0, 10_000))
def test_noise_at_small_rates_does_not_win(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.03, len(RATES))
    rate, _ = RangeTest(RATES, falling(1e-3) + noise).suggestion()
    assert rate is not None
    assert 1e-4 < rate < 1e-2


@given(st.floats(1e-6, 1e3))
def test_the_unit_of_the_loss_does_not_matter(scale: float) -> None:
    curve = falling(1e-3)
    assert (
        RangeTest(RATES, scale * curve).suggestion()[0] == RangeTest(RATES, curve).suggestion()[0]
    )


def test_a_loss_that_never_falls_has_no_suggestion() -> None:
    rate, why = RangeTest(RATES, np.linspace(0.7, 1.4, 101)).suggestion()
    assert rate is None
    assert "never fell" in why
    assert "0.7" in why


def test_a_loss_that_diverges_at_once_has_no_suggestion() -> None:
    losses = np.full(101, np.nan)
    losses[:6] = [0.7, 0.6, 0.5, 9.0, 80.0, 900.0]
    rate, why = RangeTest(RATES, losses).suggestion()
    assert rate is None
    assert "diverged at once" in why
    assert f"{RATES[6]:.3g}" in why


def test_losses_that_are_no_numbers_are_left_out_of_the_curve() -> None:
    losses = falling(1e-3)
    losses[80:] = np.inf
    test = RangeTest(RATES, losses)
    assert np.isfinite(test.smoothed()).all()
    assert test.suggestion()[0] == pytest.approx(1e-3, rel=0.35)


def test_the_rate_has_three_digits_so_that_it_can_be_typed() -> None:
    rate, _ = RangeTest(RATES, falling(1.23456e-3)).suggestion()
    assert rate == float(f"{rate:.3g}")


@pytest.mark.parametrize("chosen", [1e-3, None])
def test_the_figure_is_written(chosen: float | None, tmp_path: Path) -> None:
    file = tmp_path / "figures" / "learning_rate.png"
    draw(RangeTest(RATES, falling(1e-3)), chosen, 1e-3, file)
    picture = cv2.imread(str(file))
    assert picture.shape[1] > 600
    assert picture.std() > 5
