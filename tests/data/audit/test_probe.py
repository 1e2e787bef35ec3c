from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from cxrlab.data.audit.probe import area, feature_area, held_out_area, linear_model, tree_model


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_the_area_is_that_of_the_roc_curve_ties_included(seed: int) -> None:
    rng = np.random.default_rng(seed)
    member = rng.random(60) < 0.4
    member[:2] = True, False
    score = rng.integers(0, 6, 60).astype(float)
    found = area(member, score, np.arange(60))
    assert found.auroc == pytest.approx(roc_auc_score(member, score))
    assert 0 <= found.low <= found.auroc <= found.high <= 1


def test_the_interval_holds_the_true_area_19_times_in_20() -> None:
    inside = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        member = np.repeat(rng.random(60) < 0.5, 3)
        # Three images a patient share most of their score. d' = 1: the area is 0.760.
        patient = np.repeat(rng.normal(size=60), 3) * 0.9 + rng.normal(size=180) * 0.19**0.5
        found = area(member, patient + member, np.repeat(np.arange(60), 3))
        inside += found.low <= 0.7602 <= found.high
    assert 0.91 <= inside / 400 <= 0.98


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    member = np.arange(80) % 2 == 0
    score = rng.normal(size=80) + member
    once = area(member, score, np.arange(80))
    often = area(np.repeat(member, 5), np.repeat(score, 5), np.repeat(np.arange(80), 5))
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_a_feature_counts_in_either_direction() -> None:
    member = np.arange(40) % 2 == 0
    value = np.where(member, 1.0, 2.0) + np.linspace(0, 0.5, 40)
    found = feature_area(member, value, np.arange(40))
    assert found == feature_area(member, -value, np.arange(40))
    assert found.auroc == 1


@pytest.mark.parametrize("model", [linear_model, tree_model])
def test_noise_is_not_learnt_and_a_signal_is(model) -> None:
    rng = np.random.default_rng(1)
    member = rng.random(400) < 0.5
    noise = rng.normal(size=(400, 10))
    patient = np.arange(400)
    assert held_out_area(noise, member, patient, model).low < 0.55
    noise[:, 3] += 3 * member
    assert held_out_area(noise, member, patient, model).low > 0.9


def test_what_marks_a_patient_does_not_count_as_the_class() -> None:
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(60), 6)
    member = np.repeat(rng.random(60) < 0.5, 6)
    # Each patient has values of its own: a model that meets the patient again knows the class.
    features = np.repeat(rng.normal(size=(60, 12)), 6, axis=0)
    assert held_out_area(features, member, patient, tree_model).low < 0.6
