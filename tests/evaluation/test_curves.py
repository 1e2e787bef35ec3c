from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from cxrlab.evaluation import curves


def test_bins_hold_the_same_number_of_images() -> None:
    probability = np.random.default_rng(0).permutation(np.linspace(0, 1, 100))
    bins = curves.equal_mass_bins(probability, probability > 0.5, bins=15)
    assert len(bins.count) == 15
    assert set(bins.count) == {6, 7}
    assert (np.diff(bins.predicted) > 0).all()


def test_calibration_error_by_hand() -> None:
    # Two bins: (0.1, 0.3) with mean 0.2 and no event; (0.6, 1.0) with mean 0.8 and one event in
    # two. ECE = 1/2 * 0.2 + 1/2 * 0.3.
    error = curves.expected_calibration_error(np.array([0.6, 0.1, 1.0, 0.3]), [0, 0, 1, 0], bins=2)
    assert error == pytest.approx(0.25)


@given(st.permutations(range(12)), st.integers(1, 15))
@settings(max_examples=30, deadline=None)
def test_calibration_error_depends_on_no_order(order: list[int], bins: int) -> None:
    probability = np.array([0.2] * 5 + [0.7] * 4 + [0.1, 0.5, 0.9])
    event = np.array([0, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1])
    there = curves.expected_calibration_error(probability[order], event[order], bins)
    assert there == pytest.approx(curves.expected_calibration_error(probability, event, bins))


def test_constant_scores_are_one_bin() -> None:
    # Constant 0.5, three events in four.
    error = curves.expected_calibration_error(np.full(4, 0.5), [1, 1, 1, 0])
    assert error == pytest.approx(0.25)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_areas_are_those_of_the_metrics(case: list[tuple[int, int]]) -> None:
    target, score = np.array([t for t, _ in case]), np.array([s / 5 for _, s in case])
    if 0 < target.sum() < target.size:
        assert auc(*curves.roc_points(target, score)) == pytest.approx(roc_auc_score(target, score))
        recall, precision = curves.precision_recall_points(target, score)
        area = np.sum(np.diff(recall, prepend=0) * precision)
        assert area == pytest.approx(average_precision_score(target, score))


def test_net_benefit_by_hand() -> None:
    target, probability = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.4, 0.6, 0.2, 0.1])
    # At 0.5: one true and one false positive: 1/5 - 1/5 * 1. At 0.4 (a score on the threshold is
    # treated): 2/5 - 1/5 * 0.4 / 0.6. At 0: everybody is treated, so the prevalence.
    found = curves.net_benefit(target, probability, np.array([0.5, 0.4, 0.0]))
    np.testing.assert_allclose(found, [0.0, 0.4 - 0.2 * 2 / 3, 0.4])
