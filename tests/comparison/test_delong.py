from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from cxrlab.comparison.delong import DeLong, delong_covariance, delong_test

# Patients with ovarian cancer and an obstructed bowel: albumin, total protein, 10 - K-G score,
# whether surgery helped. DeLong et al. 1988; listed, and analysed with the figures below, in the
# SAS/STAT user's guide (LOGISTIC, Comparing Receiver Operating Characteristic Curves).
OVARIAN = """
3.0 5.8 10 0  3.2 6.3  5 1  3.9 6.8  3 1  2.8 4.8  6 0  3.2 5.8  3 1  0.9 4.0  5 0  2.5 5.7  8 0
1.6 5.6  5 1  3.8 5.7  5 1  3.7 6.7  6 1  3.2 5.4  4 1  3.8 6.6  6 1  4.1 6.6  5 1  3.6 5.7  5 1
4.3 7.0  4 1  3.6 6.7  4 0  2.3 4.4  6 1  4.2 7.6  4 0  4.0 6.6  6 0  3.5 5.8  6 1  3.8 6.8  7 1
3.0 4.7  8 0  4.5 7.4  5 1  3.7 7.4  5 1  3.1 6.6  6 1  4.1 8.2  6 1  4.3 7.0  5 1  4.3 6.5  4 1
3.2 5.1  5 1  2.6 4.7  6 1  3.3 6.8  6 0  1.7 4.0  7 0  3.7 6.1  5 1  3.3 6.3  7 1  4.2 7.7  6 1
3.5 6.2  5 1  2.9 5.7  9 0  2.1 4.8  7 1  2.8 6.2  8 0  4.0 7.0  7 1  3.3 5.7  6 1  3.7 6.9  5 1
3.6 6.6  5 1
"""


@pytest.fixture(scope="module")
def ovarian() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    albumin, protein, score, helped = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    return helped == 1, {"albumin": albumin, "protein": protein, "K-G": 10 - score}


def compared(*arguments) -> DeLong:
    found = delong_test(*arguments)
    assert isinstance(found, DeLong), found
    return found


@pytest.mark.parametrize(
    ("name", "auroc", "error"),
    [("albumin", 0.7366, 0.0927), ("K-G", 0.7258, 0.1028), ("protein", 0.6478, 0.1000)],
)
def test_areas_and_errors_of_the_published_example(ovarian, name, auroc, error) -> None:
    event, scores = ovarian
    areas, covariance = delong_covariance(event, np.stack([scores[name], scores["albumin"]]))
    assert areas[0] == pytest.approx(auroc, abs=5e-5)
    assert np.sqrt(covariance[0, 0]) == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "difference", "low", "high", "chi_square", "p"),
    [
        ("albumin", 0.0108, -0.1761, 0.1976, 0.0127, 0.9102),
        ("protein", -0.0780, -0.2830, 0.1271, 0.5554, 0.4561),
    ],
)
def test_differences_of_the_published_example(
    ovarian, name, difference, low, high, chi_square, p
) -> None:
    event, scores = ovarian
    found = compared(event, scores["K-G"], scores[name])
    assert found.difference == pytest.approx(difference, abs=5e-5)
    assert found.interval.low == pytest.approx(low, abs=5e-5)
    assert found.interval.high == pytest.approx(high, abs=5e-5)
    assert found.z**2 == pytest.approx(chi_square, abs=5e-5)
    assert found.p == pytest.approx(p, abs=5e-5)


def test_a_case_by_hand() -> None:
    """Two positives, two negatives.

    First: positives 3 and 2, negatives 1 and 2: of the pairs 1, 1, 1 and a half; parts of the
    positives 1 and 3/4, of the negatives 1 and 3/4, each with variance 1/32: 2 * (1/32) / 2.
    Second: positives 1 and 4, negatives 2 and 3: parts 0 and 1 with variance 1/2, 1/2 and 1/2 with
    none: (1/2) / 2. The parts of the positives move against each other: covariance -1/8, by 2.
    """
    event = np.array([True, True, False, False])
    found = compared(event, np.array([3.0, 2, 1, 2]), np.array([1.0, 4, 2, 3]))
    assert found.aurocs == (7 / 8, 1 / 2)
    assert found.variances == (1 / 32, 1 / 4)
    assert found.covariance == -1 / 16
    assert found.z == pytest.approx((-3 / 8) / np.sqrt(1 / 32 + 1 / 4 + 1 / 8))


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=30
    ).filter(lambda rows: 2 <= sum(row[0] for row in rows) <= len(rows) - 2)
)
def test_midranks_are_the_definition(rows: list[tuple[bool, int, int]]) -> None:
    event, *scores = (np.array(column) for column in zip(*rows, strict=True))
    values = np.stack(scores).astype(float)
    gap = values[:, event][:, :, None] - values[:, ~event][:, None, :]
    pairs = (gap > 0) + (gap == 0) / 2  # O(mn)
    expected = (
        np.cov(pairs.mean(axis=2)) / event.sum() + np.cov(pairs.mean(axis=1)) / (~event).sum()
    )
    areas, covariance = delong_covariance(event, values)
    np.testing.assert_allclose(areas, [roc_auc_score(event, s) for s in values], atol=1e-12)
    np.testing.assert_allclose(covariance, expected, atol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_exchanged_scores_give_the_mirrored_test_and_ranks_are_all_that_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    event = np.arange(40) % 3 == 0
    one, other = rng.normal(size=(2, 40))
    found, mirrored = compared(event, one, other), compared(event, np.exp(other), one)
    assert found.p == pytest.approx(mirrored.p)
    assert found.z == pytest.approx(-mirrored.z)
    assert found.interval.low == pytest.approx(-mirrored.interval.high)


def test_without_a_difference_p_is_uniform() -> None:
    """With independent images, two scores of equal worth and 1,000 trials."""
    rng = np.random.default_rng(0)
    event = np.arange(200) % 3 == 0
    common = rng.normal(size=(1000, 200)) + event
    values = [compared(event, *(row + rng.normal(size=(2, 200)))).p for row in common]
    assert kstest(values, "uniform").pvalue > 0.01
    assert 0.03 < np.mean(np.array(values) < 0.05) < 0.07


@pytest.mark.parametrize(
    ("event", "first", "second", "reason"),
    [
        ([1, 0, 0], [3, 1, 2], [1, 2, 3], "1 positive and 2 negative images: two of each"),
        ([1, 1, 1], [3, 1, 2], [1, 2, 3], "3 positive and 0 negative images: two of each"),
        ([1, 1, 0, 0], [4, 3, 2, 1], [0.9, 0.8, 0.2, 0.1], "no variance"),
        ([1, 1, 0, 0], [4, 3, 2, 1], [0.5, 0.5, 0.5, 0.5], "no variance"),
    ],
    ids=["one positive", "one class", "ranked alike", "perfect and constant"],
)
def test_what_can_not_be_tested_says_why(event, first, second, reason: str) -> None:
    found = delong_test(np.array(event) == 1, np.array(first, float), np.array(second, float))
    assert isinstance(found, str)
    assert reason in found


def test_a_constant_score_is_compared() -> None:
    event = np.arange(60) % 2 == 0
    score = np.random.default_rng(1).normal(size=60) + event
    found = compared(event, np.full(60, 0.5), score)
    assert found.aurocs[0] == 0.5
    assert found.variances[0] == 0
    assert 0 < found.p < 0.05


def test_it_is_fast() -> None:
    rng = np.random.default_rng(2)
    event = rng.random(200_000) < 0.3
    start = time.perf_counter()
    compared(event, *rng.normal(size=(2, 200_000)))
    assert time.perf_counter() - start < 5
