from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm

from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.intervals import add_intervals, bca_interval, exact_interval
from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.predictions import prediction_table
from cxrlab.evaluation.resampling import bootstrap_weights, jackknife_weights
from cxrlab.evaluation.weighted import measure_of
from cxrlab.task import Task
from measure_intervals import misses

TASKS = {
    "binary": Task.exclusive(("NORMAL", "PNEUMONIA")),
    "multiclass": Task.exclusive(("NORMAL", "BACTERIA", "VIRUS")),
    "multilabel": Task.multilabel(("Effusion", "Mass")),
}


def random_table(make_rows, task: Task, size: int, seed: int, *, coarse: bool = False):
    rng = np.random.default_rng(seed)
    if task.kind == "multilabel":
        target = rng.integers(0, 2, (size, 2)).astype(float)
        target[rng.random(target.shape) < 0.2] = np.nan
        own = np.nan_to_num(target, nan=0.5)
    else:
        target = rng.integers(0, len(task.classes), size)
        own = np.eye(len(task.classes))[target][:, -task.outputs :]
    logits = 2 * own - 1 + rng.normal(0, 1.5, own.shape)
    if coarse:  # many equal scores
        logits = np.round(logits)
    rows = make_rows(target, task)
    rows["patient_id"] = [f"p{i}" for i in rng.integers(0, max(2, size // 2), size)]
    logits = logits[:, 0] if task.kind == "binary" else logits
    cuts = () if task.kind == "multiclass" else (0.4,) * task.outputs
    table = prediction_table(rows, logits, task, calibration=Calibration(1.7), thresholds=cuts)
    return table, cuts


@pytest.mark.parametrize("kind", TASKS)
@given(data=st.data(), seed=st.integers(0, 10_000), coarse=st.booleans())
@settings(max_examples=25, deadline=None)
def test_weights_are_repeated_rows(make_rows, kind: str, data, seed: int, coarse: bool) -> None:
    task = TASKS[kind]
    table, cuts = random_table(make_rows, task, 24, seed, coarse=coarse)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=24, max_size=24)))
    if not weights.any():
        weights[0] = 1
    repeated = table.loc[np.repeat(np.arange(24), weights)].reset_index(drop=True)
    expected = evaluate_table(repeated, task, thresholds=cuts)
    whole = evaluate_table(table, task, thresholds=cuts)
    found = measure_of(table, task, cuts)(np.stack([weights, np.ones(24)]).astype(float))
    for name, (value, at_one) in found.items():
        if name in expected.values:
            assert value == pytest.approx(expected.values[name], abs=1e-6), name
        else:
            assert np.isnan(value), name
        if name in whole.values:
            assert at_one == pytest.approx(whole.values[name], abs=1e-6), name


@pytest.mark.parametrize("kind", TASKS)
def test_every_statistic_of_the_images_has_an_interval(make_rows, kind: str) -> None:
    task = TASKS[kind]
    table, cuts = random_table(make_rows, task, 120, 1)
    metrics = evaluate_table(table, task, thresholds=cuts)
    found = add_intervals(metrics, table, task, thresholds=cuts, draws=300)
    counts = ("n", "prevalence", "tn", "fp", "fn", "tp", "threshold", "confusion")
    expected = {name for name in metrics.values if name.partition("_")[0] not in counts}
    assert set(found.intervals) | set(found.no_interval) == expected
    assert not found.no_interval
    for name, interval in found.intervals.items():
        assert interval.low < interval.high, name
        assert interval.low <= found.values[name] <= interval.high, name
    assert found.flat()["auroc_low"] == found.intervals["auroc"].low
    assert found.values == metrics.values


def test_all_images_of_a_patient_are_drawn_together() -> None:
    patients = ["a", "b", "a", "c", "b", "a"]
    weights = np.concatenate(list(bootstrap_weights(patients, 500, 3)))
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, [0, 0]], weights[:, [2, 5]])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)
    assert weights[:, 0].mean() == pytest.approx(1, abs=0.1)


def test_each_patient_is_left_out_once() -> None:
    weights = np.concatenate(list(jackknife_weights(["a", "b", "a", "c"])))
    np.testing.assert_array_equal(weights, [[0, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 0]])
    grouped = np.concatenate(list(jackknife_weights([f"p{i}" for i in range(1000)], most=50)))
    assert grouped.shape == (50, 1000)
    np.testing.assert_array_equal((1 - grouped).sum(axis=0), 1)


def test_patients_with_more_images_widen_the_interval(make_table) -> None:
    rng = np.random.default_rng(0)
    target = np.repeat([0, 1], 100)
    probability = np.clip(target * 0.3 + rng.random(200) * 0.7, 0.01, 0.99)
    alone = make_table(target, probability, thresholds=[0.5])
    copied = pd.concat([alone] * 4, ignore_index=True)  # the same patients, each four times
    task = TASKS["binary"]
    widths = []
    for table in (alone, copied):
        metrics = evaluate_table(table, task, thresholds=[0.5])
        found = add_intervals(metrics, table, task, thresholds=[0.5]).intervals["auroc"]
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0], rel=1e-6)


def test_the_accelerated_interval_of_many_patients_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=40)
    samples = np.random.default_rng(1).choice(values, (20_000, 40)).mean(axis=1)
    left_out = (values.sum() - values) / 39
    found = bca_interval(samples, values.mean(), left_out, 10**6)
    expected = bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=2)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.02)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.02)


def test_a_symmetric_statistic_gets_plain_percentiles() -> None:
    drawn = norm.ppf((np.arange(1, 10_000)) / 10_000)
    found = bca_interval(drawn, 0.0, np.array([-1.0, 1.0, -2.0, 2.0]), 10**6)
    assert (found.low, found.high) == pytest.approx((-1.96, 1.96), abs=0.01)


def test_few_patients_widen_the_percentiles() -> None:
    # Of 11 patients: Student's t of 10 degrees 2.2281, times sqrt(11 / 10).
    drawn = norm.ppf((np.arange(1, 100_000)) / 100_000)
    found = bca_interval(drawn, 0.0, np.array([-1.0, 1.0, -2.0, 2.0]), 11)
    assert (found.low, found.high) == pytest.approx((-2.3369, 2.3369), abs=0.01)


def test_a_proportion_of_one_has_exact_ends(make_table) -> None:
    # Of 20 ill patients all are found: (0.025) ** (1 / 20) = 0.8316.
    probability = np.r_[np.linspace(0.1, 0.6, 30), np.linspace(0.7, 0.9, 20)]
    table = make_table([0] * 30 + [1] * 20, probability, thresholds=[0.5])
    task = TASKS["binary"]
    metrics = evaluate_table(table, task, thresholds=[0.5])
    found = add_intervals(metrics, table, task, thresholds=[0.5])
    assert found.values["recall"] == 1
    assert found.intervals["recall"].low == pytest.approx(0.025 ** (1 / 20))
    assert found.intervals["recall"].high == 1
    assert found.intervals["specificity"].high < 1
    # No sample misranks an image, which says nothing of the images to come.
    assert "auroc" not in found.intervals
    assert "same value" in found.no_interval["auroc"]


def test_exact_ends() -> None:
    assert exact_interval(1, 10).low == pytest.approx(0.6915, abs=1e-4)
    assert exact_interval(0, 10).high == pytest.approx(0.3085, abs=1e-4)


@pytest.mark.parametrize("size", [1, 9])
def test_few_patients_have_no_interval(make_table, size: int) -> None:
    table = make_table(np.arange(40) % 2, np.linspace(0.1, 0.9, 40), thresholds=[0.5])
    table["patient_id"] = [f"p{i % size}" for i in range(40)]
    task = TASKS["binary"]
    metrics = evaluate_table(table, task, thresholds=[0.5])
    found = add_intervals(metrics, table, task, thresholds=[0.5])
    assert found.intervals == {}
    assert found.no_interval["auroc"] == f"{size} patients are fewer than 10"
    assert not {"n", "tp", "threshold", "prevalence"} & set(found.no_interval)


def test_what_most_samples_lack_has_no_interval(make_table) -> None:
    # A third of the samples of 40 patients lack the only healthy one.
    table = make_table([0] + [1] * 39, np.linspace(0.1, 0.9, 40)[::-1], thresholds=[0.5])
    task = TASKS["binary"]
    metrics = evaluate_table(table, task, thresholds=[0.5])
    found = add_intervals(metrics, table, task, thresholds=[0.5])
    assert "of the samples of patients have no such value" in found.no_interval["auroc"]
    assert "recall" in found.intervals


def test_constant_scores_and_absent_metrics_have_no_interval(make_table) -> None:
    task = TASKS["binary"]
    table = make_table([0] * 10 + [1] * 10, [0.5] * 20, thresholds=[0.4])
    metrics = evaluate_table(table, task, thresholds=[0.4])
    found = add_intervals(metrics, table, task, thresholds=[0.4])
    assert "same value" in found.no_interval["auroc"]
    one = make_table([1] * 20, np.linspace(0.1, 0.9, 20), thresholds=[0.5])
    found = add_intervals(evaluate_table(one, task, thresholds=[0.5]), one, task, thresholds=[0.5])
    assert "auroc" not in {*found.intervals, *found.no_interval}
    broken = one.assign(probability=np.nan)
    nothing = evaluate_table(broken, task, thresholds=[0.5])
    assert add_intervals(nothing, broken, task, thresholds=[0.5]) == nothing


@pytest.mark.slow
def test_ten_thousand_images_take_under_five_seconds(make_rows) -> None:
    task = TASKS["binary"]
    table, cuts = random_table(make_rows, task, 10_000, 1)
    metrics = evaluate_table(table, task, thresholds=cuts)
    start = time.perf_counter()
    add_intervals(metrics, table, task, thresholds=cuts)
    assert time.perf_counter() - start < 5


@pytest.mark.slow
def test_intervals_hold_the_truth_in_95_of_100_studies() -> None:
    found = misses(patients=100, separation=3.0, trials=1000, draws=1000)
    for name in ("auroc", "auprc", "accuracy", "recall", "specificity", "brier", "nll"):
        above, below, held = found[name]
        assert held + above + below == 1000, name
        assert 930 <= held <= 970, (name, held)
        assert above < 45, name
        assert below < 45, name
