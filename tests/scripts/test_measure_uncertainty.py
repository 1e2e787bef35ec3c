from __future__ import annotations

import numpy as np
import pytest

from measure_uncertainty import measure, signals


def test_risk_over_coverage_by_hand() -> None:
    wrong = np.array([False, True, False, False])
    area, caught, rest = measure(wrong, np.array([4.0, 3.0, 2.0, 1.0]))
    assert area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert (caught, rest) == (0.0, 0.25)
    perfect = measure(wrong, -wrong.astype(float))[0]
    assert perfect == pytest.approx(1 / 4 / 4)
    assert perfect < area


def test_the_least_certain_tenth_is_taken_out() -> None:
    wrong = np.zeros(20, bool)
    wrong[[3, 7, 11]] = True
    certainty = np.ones(20)
    certainty[[3, 7]] = 0.0
    assert measure(wrong, certainty)[1:] == (pytest.approx(2 / 3), pytest.approx(1 / 18))


def test_signals_by_hand() -> None:
    looks = np.array([[[2.0, 0.0], [4.0, -2.0]], [[2.0, 0.0], [0.0, -2.0]]])
    wrong, found = signals(looks, np.array([1, 1]), [0.5, 0.5])
    assert wrong.tolist() == [False, True]
    np.testing.assert_allclose(found["distance from the threshold"], [2.0, 1.0])
    np.testing.assert_allclose(found["spread of the looks"], [-1.0, -1.0])
    np.testing.assert_allclose(found["spread of the runs"], [-1.0, 0.0])
    assert set(signals(looks[:1, :1], np.array([1, 1]), [0.5])[1]) == {
        "distance from the threshold"
    }
