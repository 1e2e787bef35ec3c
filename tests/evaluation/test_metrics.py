from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from cxrlab.evaluation.metrics import confusion_counts, evaluate_table, metric_names
from cxrlab.evaluation.predictions import read_predictions, write_predictions

TWO = ("NORMAL", "PNEUMONIA")
THREE = ("NORMAL", "BACTERIA", "VIRUS")

TARGET = [0, 0, 0, 0, 1, 1]
PROBABILITY = [0.1, 0.2, 0.4, 0.8, 0.5, 0.9]


def test_two_classes_by_hand(make_table) -> None:
    found = evaluate_table(make_table(TARGET, PROBABILITY), TWO, threshold=0.5)
    assert found.absent == {}
    expected = {
        "n": 6,
        "prevalence": 2 / 6,
        # Of the 8 pairs only (0.8, 0.5) is the wrong way round.
        "auroc": 7 / 8,
        # Going down: 0.9 ill (precision 1/1), 0.8 well, 0.5 ill (precision 2/3).
        "auprc": (1 + 2 / 3) / 2,
        # Called ill at >= 0.5: 0.8, 0.5, 0.9.
        **{"tn": 3, "fp": 1, "fn": 0, "tp": 2, "threshold": 0.5},
        "accuracy": 5 / 6,
        "precision": 2 / 3,
        "recall": 2 / 2,
        "specificity": 3 / 4,
        "balanced_accuracy": (1 + 3 / 4) / 2,
        "f1": 2 * 2 / (2 * 2 + 1 + 0),
        # Errors 0.1, 0.2, 0.4, 0.8, 0.5, 0.1.
        "brier": (0.01 + 0.04 + 0.16 + 0.64 + 0.25 + 0.01) / 6,
        "nll": -np.log([0.9, 0.8, 0.6, 0.2, 0.5, 0.9]).mean(),
        # Six images in 15 bins: each alone, so the mean absolute error.
        "ece": (0.1 + 0.2 + 0.4 + 0.8 + 0.5 + 0.1) / 6,
    }
    for name, value in expected.items():
        assert found.values[name] == pytest.approx(value, rel=1e-6), name
    # With a temperature of 1 calibration changes nothing.
    for name in ("brier", "nll", "ece"):
        assert found.values[f"{name}_calibrated"] == pytest.approx(found.values[name])
    assert sorted(found.values) == sorted(metric_names(TWO))
    np.testing.assert_array_equal(confusion_counts(found, TWO), [[3, 1], [0, 2]])


def test_calibrated_metrics_are_of_the_calibrated_column(make_table) -> None:
    # Odds 9 and temperature 2: calibrated odds 3, so probabilities 0.9 become 0.75.
    table = make_table([1, 1, 1, 0], [0.9] * 4, temperature=2.0)
    found = evaluate_table(table, TWO, threshold=0.8).values
    assert found["brier"] == pytest.approx((3 * 0.01 + 0.81) / 4)
    assert found["brier_calibrated"] == pytest.approx((3 * 0.0625 + 0.5625) / 4)
    assert found["nll_calibrated"] == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)
    assert found["ece"] == pytest.approx(0.15)
    assert found["ece_calibrated"] == pytest.approx(0.0, abs=1e-12)
    assert found["tp"] == 3  # the threshold is for the raw probability, which is 0.9


def test_three_classes_by_hand(make_table) -> None:
    probability = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]]
    found = evaluate_table(make_table([0, 0, 1, 2], probability, THREE), THREE, threshold=None)
    assert found.absent == {}
    # Decided: 0, 1, 1, 2. NORMAL: tp 1, fn 1. BACTERIA: tp 1, fp 1. VIRUS: tp 1.
    expected = {
        "accuracy": 3 / 4,
        **{"precision_NORMAL": 1, "precision_BACTERIA": 1 / 2, "precision_VIRUS": 1},
        **{"recall_NORMAL": 1 / 2, "recall_BACTERIA": 1, "recall_VIRUS": 1},
        **{"specificity_NORMAL": 1, "specificity_BACTERIA": 2 / 3, "specificity_VIRUS": 1},
        **{"f1_NORMAL": 2 / 3, "f1_BACTERIA": 2 / 3, "f1_VIRUS": 1},
        **{"auroc_NORMAL": 1, "auroc_BACTERIA": 1, "auroc_VIRUS": 1, "auroc": 1, "auprc": 1},
        "precision": (1 + 1 / 2 + 1) / 3,
        "recall": (1 / 2 + 1 + 1) / 3,
        "balanced_accuracy": (1 / 2 + 1 + 1) / 3,
        "specificity": (1 + 2 / 3 + 1) / 3,
        "f1": (2 / 3 + 2 / 3 + 1) / 3,
        **{"prevalence_NORMAL": 1 / 2, "prevalence_VIRUS": 1 / 4},
        **{"confusion_NORMAL_NORMAL": 1, "confusion_NORMAL_BACTERIA": 1},
        **{"confusion_BACTERIA_BACTERIA": 1, "confusion_VIRUS_VIRUS": 1},
        "confusion_VIRUS_NORMAL": 0,
        # Sums of squares: 0.09+0.04+0.01, 0.36+0.25+0.01, 0.04+0.16+0.04, 0.01+0.09+0.16.
        "brier": (0.14 + 0.62 + 0.24 + 0.26) / 4,
        "nll": -np.log([0.7, 0.4, 0.6, 0.6]).mean(),
        # Confidences 0.7 (right), 0.5 (wrong), 0.6 and 0.6 (right, one bin).
        "ece": (0.3 + 0.5 + 2 * 0.4) / 4,
    }
    for name, value in expected.items():
        assert found.values[name] == pytest.approx(value, rel=1e-6), name
    assert sorted(found.values) == sorted(metric_names(THREE))


@given(st.integers(0, 2**32 - 1), st.integers(10, 200), st.sampled_from([None, 1, 2]))
@settings(max_examples=15, deadline=None)
def test_two_classes_agree_with_scikit_learn(
    make_table, seed: int, size: int, digits: int | None
) -> None:
    rng = np.random.default_rng(seed)
    target = np.append([0, 1], rng.integers(0, 2, size))
    score = rng.beta(1, 1, target.size).clip(0.01, 0.99)
    score = score if digits is None else score.round(digits).clip(0.01, 0.99)  # many ties
    threshold = float(rng.choice(score))
    table = make_table(target, score, threshold=threshold)
    probability = table["probability"].to_numpy()
    decision = probability >= threshold
    found = evaluate_table(table, TWO, threshold=threshold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "auroc": reference.roc_auc_score(target, probability),
            "auprc": reference.average_precision_score(target, probability),
            "accuracy": reference.accuracy_score(target, decision),
            "balanced_accuracy": reference.balanced_accuracy_score(target, decision),
            "precision": reference.precision_score(target, decision),
            "recall": reference.recall_score(target, decision),
            "specificity": reference.recall_score(target, decision, pos_label=0),
            "f1": reference.f1_score(target, decision),
            "brier": reference.brier_score_loss(target, probability),
            "nll": reference.log_loss(target, probability),
        }
    # At the highest score, or above it by a rounding, nobody may be called ill: 0 / 0.
    assert set(found.absent) == (set() if decision.any() else {"precision"})
    for name, value in expected.items():
        if name in found.values:
            assert found.values[name] == pytest.approx(value, rel=1e-6), name
    matrix = reference.confusion_matrix(target, decision)
    np.testing.assert_array_equal(confusion_counts(found, TWO), matrix)
    assert table["decision"].tolist() == decision.astype(int).tolist()


@given(st.integers(0, 2**32 - 1), st.integers(3, 5))
@settings(max_examples=10, deadline=None)
def test_more_classes_agree_with_scikit_learn(make_table, seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"c{i}" for i in range(classes)]
    target = np.append(np.arange(classes), rng.integers(0, classes, 100))
    probability = rng.dirichlet(np.ones(classes), target.size).clip(1e-6)
    probability = 0.7 * probability + 0.3 * np.eye(classes)[target]
    probability /= probability.sum(axis=1, keepdims=True)
    found = evaluate_table(make_table(target, probability, names), names, threshold=None).values
    decision = probability.argmax(axis=1)
    macro = {"average": "macro", "zero_division": 0}
    expected = {
        "auroc": reference.roc_auc_score(target, probability, multi_class="ovr"),
        "auprc": reference.average_precision_score(np.eye(classes)[target], probability),
        "accuracy": reference.accuracy_score(target, decision),
        "balanced_accuracy": reference.balanced_accuracy_score(target, decision),
        "precision": reference.precision_score(target, decision, **macro),
        "recall": reference.recall_score(target, decision, **macro),
        "f1": reference.f1_score(target, decision, **macro),
        "nll": reference.log_loss(target, probability),
        "brier": reference.brier_score_loss(target, probability, labels=range(classes)),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def test_metrics_of_the_file_are_those_of_the_table(make_table, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    table = make_table(rng.integers(0, 2, 300), rng.random(300), threshold=0.4, temperature=1.7)
    write_predictions(table, tmp_path / "test.csv")
    read = read_predictions(tmp_path / "test.csv")
    assert evaluate_table(read, TWO, threshold=0.4) == evaluate_table(table, TWO, threshold=0.4)


@pytest.mark.parametrize(
    ("only", "absent"),
    [
        (0, {"auroc", "auprc", "recall", "f1", "balanced_accuracy"}),
        (1, {"auroc", "auprc", "specificity", "balanced_accuracy"}),
    ],
)
def test_one_class(make_table, only: int, absent: set[str]) -> None:
    found = evaluate_table(make_table([only] * 4, [0.2, 0.4, 0.6, 0.8]), TWO, threshold=0.5)
    assert set(found.absent) == absent
    assert set(found.absent.values()) == {f"no image is {TWO[1 - only]}"}
    assert found.values["accuracy"] == 0.5
    assert found.values["brier"] == pytest.approx(0.3)


def test_nobody_called_ill(make_table) -> None:
    found = evaluate_table(make_table([0, 1], [0.2, 0.3]), TWO, threshold=0.5)
    assert found.absent == {"precision": "no image was called PNEUMONIA"}
    assert found.values["recall"] == 0
    assert found.values["f1"] == 0


def test_constant_scores(make_table) -> None:
    found = evaluate_table(make_table([0, 0, 0, 1], [0.5] * 4), TWO, threshold=0.5)
    assert found.absent == {}
    assert found.values["auroc"] == 0.5
    assert found.values["auprc"] == 0.25
    assert found.values["ece"] == pytest.approx(0.25)
    assert found.values["fp"] == 3


@pytest.mark.parametrize("classes", [TWO, THREE])
def test_scores_that_are_no_number(make_table, classes: tuple[str, ...]) -> None:
    size = len(classes)
    probability = np.full(10, 0.5) if size == 2 else np.full((10, 3), 1 / 3)
    table = make_table([0, 1] * 5, probability, classes)
    column = "probability" if size == 2 else "probability_VIRUS"
    table.loc[[1, 4], column] = np.nan
    found = evaluate_table(table, classes, threshold=0.5 if size == 2 else None)
    assert found.values == {"n": 10}
    assert set(found.absent) == set(metric_names(classes)) - {"n"}
    assert found.absent["auroc"] == "2 of 10 images have no probability in [0, 1]"


def test_no_images_and_unknown_labels(make_table) -> None:
    table = make_table([0, 1], [0.2, 0.7])
    none = evaluate_table(table.iloc[:0], TWO, threshold=0.5)
    assert (none.values, none.absent["brier"]) == ({"n": 0}, "there are no images")
    unknown = evaluate_table(table.assign(target=[0, 2]), TWO, threshold=0.5)
    assert "1 of 2 images have a target outside 0..1" in unknown.absent["accuracy"]


def test_without_a_threshold_only_decisions_are_absent(make_table) -> None:
    found = evaluate_table(make_table(TARGET, PROBABILITY), TWO, threshold=None)
    assert found.values["auroc"] == pytest.approx(7 / 8)
    assert found.absent["recall"] == "no decision threshold was chosen"
    assert "threshold" in found.absent
    assert confusion_counts(found, TWO) is None


def test_a_class_without_images(make_table) -> None:
    probability = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.6, 0.2]]
    found = evaluate_table(make_table([0, 0, 1], probability, THREE), THREE, threshold=None)
    assert found.absent["auroc"] == found.absent["auroc_VIRUS"] == "no image is VIRUS"
    assert found.absent["precision"] == "no image was called VIRUS"
    assert found.values["auroc_NORMAL"] == 1
    assert found.values["accuracy"] == pytest.approx(2 / 3)


def test_a_threshold_makes_no_sense_for_three_classes(make_table) -> None:
    table = make_table([0, 1], np.full((2, 3), 1 / 3), THREE)
    with pytest.raises(ValueError, match="most probable"):
        evaluate_table(table, THREE, threshold=0.5)


def test_scores_far_from_zero_are_no_logits_to_anybody(make_table) -> None:
    # Saturated scores: a sigmoid applied once more, or float16, would make these ties.
    target = [0, 0, 1, 1]
    found = evaluate_table(
        make_table(target, [0.999990, 0.999991, 0.999992, 0.999993]), TWO, threshold=0.9999915
    )
    assert found.values["auroc"] == 1
    assert found.values["accuracy"] == 1
