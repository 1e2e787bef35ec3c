from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from cxrlab.evaluation.metrics import binary_counts, confusion_counts, evaluate_table, metric_names
from cxrlab.evaluation.predictions import read_predictions, score_columns, write_predictions
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
FINDINGS = Task.multilabel(("Effusion", "Mass", "Hernia"))
NAN = np.nan

TARGET = [0, 0, 0, 0, 1, 1]
PROBABILITY = [0.1, 0.2, 0.4, 0.8, 0.5, 0.9]


def test_two_classes_by_hand(make_table) -> None:
    found = evaluate_table(make_table(TARGET, PROBABILITY), TWO, thresholds=[0.5])
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


def test_ratios_at_a_half_do_not_move_with_the_threshold(make_table) -> None:
    found = evaluate_table(make_table(TARGET, PROBABILITY), TWO, thresholds=[0.85]).values
    assert found["recall"] == 1 / 2
    # Called ill at >= 0.5: 0.8, 0.5, 0.9.
    expected = {"recall": 1, "specificity": 3 / 4, "precision": 2 / 3, "accuracy": 5 / 6,
                "balanced_accuracy": 7 / 8, "f1": 4 / 5}  # fmt: skip
    for name, value in expected.items():
        assert found[f"{name}_at_0.5"] == pytest.approx(value), name


def test_calibrated_metrics_are_of_the_calibrated_column(make_table) -> None:
    # Odds 9 and temperature 2: calibrated odds 3, so probabilities 0.9 become 0.75.
    table = make_table([1, 1, 1, 0], [0.9] * 4, temperature=2.0)
    found = evaluate_table(table, TWO, thresholds=[0.8]).values
    assert found["brier"] == pytest.approx((3 * 0.01 + 0.81) / 4)
    assert found["brier_calibrated"] == pytest.approx((3 * 0.0625 + 0.5625) / 4)
    assert found["nll_calibrated"] == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)
    assert found["ece"] == pytest.approx(0.15)
    assert found["ece_calibrated"] == pytest.approx(0.0, abs=1e-12)
    assert found["tp"] == 3  # the threshold is for the raw probability, which is 0.9


def test_three_classes_by_hand(make_table) -> None:
    probability = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]]
    found = evaluate_table(make_table([0, 0, 1, 2], probability, THREE), THREE, thresholds=())
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
    table = make_table(target, score, thresholds=[threshold])
    probability = table["probability"].to_numpy()
    decision = probability >= threshold
    found = evaluate_table(table, TWO, thresholds=[threshold])
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
    task = Task.exclusive([f"c{i}" for i in range(classes)])
    target = np.append(np.arange(classes), rng.integers(0, classes, 100))
    probability = rng.dirichlet(np.ones(classes), target.size).clip(1e-6)
    probability = 0.7 * probability + 0.3 * np.eye(classes)[target]
    probability /= probability.sum(axis=1, keepdims=True)
    found = evaluate_table(make_table(target, probability, task), task, thresholds=()).values
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
    table = make_table(rng.integers(0, 2, 300), rng.random(300), thresholds=[0.4], temperature=1.7)
    write_predictions(table, tmp_path / "test.csv")
    read = read_predictions(tmp_path / "test.csv")
    found = evaluate_table(table, TWO, thresholds=[0.4])
    assert evaluate_table(read, TWO, thresholds=[0.4]) == found


@pytest.mark.parametrize(
    ("only", "absent"),
    [
        (0, {"auroc", "auprc", "recall", "f1", "balanced_accuracy"}),
        (1, {"auroc", "auprc", "specificity", "balanced_accuracy"}),
    ],
)
def test_one_class(make_table, only: int, absent: set[str]) -> None:
    found = evaluate_table(make_table([only] * 4, [0.2, 0.4, 0.6, 0.8]), TWO, thresholds=[0.5])
    at_half = {f"{name}_at_0.5" for name in absent - {"auroc", "auprc"}}
    assert set(found.absent) == absent | at_half
    assert set(found.absent.values()) == {f"no image is {TWO.classes[1 - only]}"}
    assert found.values["accuracy"] == 0.5
    assert found.values["brier"] == pytest.approx(0.3)


def test_nobody_called_ill(make_table) -> None:
    found = evaluate_table(make_table([0, 1], [0.2, 0.3]), TWO, thresholds=[0.5])
    reason = "no image was called PNEUMONIA"
    assert found.absent == {"precision": reason, "precision_at_0.5": reason}
    assert found.values["recall"] == 0
    assert found.values["f1"] == 0


def test_constant_scores(make_table) -> None:
    found = evaluate_table(make_table([0, 0, 0, 1], [0.5] * 4), TWO, thresholds=[0.5])
    assert found.absent == {}
    assert found.values["auroc"] == 0.5
    assert found.values["auprc"] == 0.25
    assert found.values["ece"] == pytest.approx(0.25)
    assert found.values["fp"] == 3


@pytest.mark.parametrize("task", [TWO, THREE, FINDINGS])
def test_scores_that_are_no_number(make_table, task: Task) -> None:
    probability = np.full(10, 0.5) if task == TWO else np.full((10, 3), 1 / 3)
    target = [[0, 1, np.nan]] * 10 if task == FINDINGS else [0, 1] * 5
    table = make_table(target, probability, task)
    table.loc[[1, 4], score_columns(task, "probability")[-1]] = np.nan
    found = evaluate_table(table, task, thresholds=[0.5] if task == TWO else ())
    assert found.values == {"n": 10}
    assert set(found.absent) == set(metric_names(task)) - {"n"}
    assert found.absent["auroc"] == "2 of 10 images have no probability in [0, 1]"


def test_no_images_and_unknown_labels(make_table) -> None:
    table = make_table([0, 1], [0.2, 0.7])
    none = evaluate_table(table.iloc[:0], TWO, thresholds=[0.5])
    assert (none.values, none.absent["brier"]) == ({"n": 0}, "there are no images")
    unknown = evaluate_table(table.assign(target=[0, 2]), TWO, thresholds=[0.5])
    assert "1 of 2 images have a target outside 0..1" in unknown.absent["accuracy"]


def test_without_a_threshold_only_decisions_are_absent(make_table) -> None:
    found = evaluate_table(make_table(TARGET, PROBABILITY), TWO, thresholds=())
    assert found.values["auroc"] == pytest.approx(7 / 8)
    assert found.absent["recall"] == "no decision threshold was chosen"
    assert "threshold" in found.absent
    assert confusion_counts(found, TWO) is None


def test_a_class_without_images(make_table) -> None:
    probability = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.6, 0.2]]
    found = evaluate_table(make_table([0, 0, 1], probability, THREE), THREE, thresholds=())
    assert found.absent["auroc"] == found.absent["auroc_VIRUS"] == "no image is VIRUS"
    assert found.absent["precision"] == "no image was called VIRUS"
    assert found.values["auroc_NORMAL"] == 1
    assert found.values["accuracy"] == pytest.approx(2 / 3)


def test_a_threshold_makes_no_sense_for_three_classes(make_table) -> None:
    table = make_table([0, 1], np.full((2, 3), 1 / 3), THREE)
    with pytest.raises(ValueError, match="most probable"):
        evaluate_table(table, THREE, thresholds=[0.5])


def test_scores_far_from_zero_are_no_logits_to_anybody(make_table) -> None:
    # Saturated scores: a sigmoid applied once more, or float16, would make these ties.
    target = [0, 0, 1, 1]
    found = evaluate_table(
        make_table(target, [0.999990, 0.999991, 0.999992, 0.999993]), TWO, thresholds=[0.9999915]
    )
    assert found.values["auroc"] == 1
    assert found.values["accuracy"] == 1


def test_findings_by_hand(make_table) -> None:
    target = [[1, 0, NAN], [0, 1, NAN], [NAN, 0, NAN], [0, NAN, NAN], [1, 1, NAN]]
    probability = [
        [0.9, 0.1, 0.5],
        [0.6, 0.3, 0.5],
        [0.99, 0.2, 0.5],
        [0.2, 0.99, 0.5],
        [0.5, 0.8, 0.5],
    ]
    found = evaluate_table(
        make_table(target, probability, FINDINGS), FINDINGS, thresholds=[0.5, 0.4, 0.3]
    )
    expected = {
        "n": 5,
        **{"n_Effusion": 4, "n_Mass": 4, "n_Hernia": 0},
        **{"prevalence_Effusion": 1 / 2, "prevalence_Mass": 1 / 2},
        **{"threshold_Effusion": 0.5, "threshold_Mass": 0.4},
        # Effusion, known 0.9 ill, 0.6 well, 0.2 well, 0.5 ill; called at >= 0.5: 0.9, 0.6, 0.5.
        **{"tp_Effusion": 2, "fp_Effusion": 1, "tn_Effusion": 1, "fn_Effusion": 0},
        **{"precision_Effusion": 2 / 3, "recall_Effusion": 1, "specificity_Effusion": 1 / 2},
        **{"f1_Effusion": 4 / 5, "accuracy_Effusion": 3 / 4, "balanced_accuracy_Effusion": 3 / 4},
        **{"auroc_Effusion": 3 / 4, "auprc_Effusion": (1 + 2 / 3) / 2},
        "brier_Effusion": (0.01 + 0.36 + 0.04 + 0.25) / 4,
        # Mass, known 0.1 well, 0.3 ill, 0.2 well, 0.8 ill; called at >= 0.4: 0.8.
        **{"tp_Mass": 1, "fp_Mass": 0, "tn_Mass": 2, "fn_Mass": 1},
        **{"precision_Mass": 1, "recall_Mass": 1 / 2, "specificity_Mass": 1, "f1_Mass": 2 / 3},
        **{"auroc_Mass": 1, "auprc_Mass": 1, "accuracy_Mass": 3 / 4},
        "brier_Mass": (0.01 + 0.49 + 0.04 + 0.04) / 4,
        # Means over the two.
        **{"auroc": 7 / 8, "auprc": (5 / 6 + 1) / 2, "accuracy": 3 / 4, "precision": 5 / 6},
        **{"recall": 3 / 4, "specificity": 3 / 4, "f1": (4 / 5 + 2 / 3) / 2},
        "balanced_accuracy": 3 / 4,
        "brier": (0.66 + 0.58) / 8,
        "nll": -np.log([0.9, 0.4, 0.8, 0.5, 0.9, 0.3, 0.8, 0.8]).mean(),
        # Four images of a finding in 15 bins: each alone.
        "ece": (0.1 + 0.6 + 0.2 + 0.5 + 0.1 + 0.7 + 0.2 + 0.2) / 8,
    }
    for name, value in expected.items():
        assert found.values[name] == pytest.approx(value, rel=1e-6), name
    for name in ("brier", "nll", "ece"):
        assert found.values[f"{name}_calibrated"] == pytest.approx(found.values[name])
    hernia = {name for name in metric_names(FINDINGS) if name.endswith("_Hernia")}
    assert found.absent == dict.fromkeys(hernia - {"n_Hernia"}, "no image is labelled for Hernia")
    assert sorted([*found.values, *found.absent]) == sorted(metric_names(FINDINGS))
    assert binary_counts(found, "_Mass").tolist() == [[2, 0], [1, 1]]
    assert binary_counts(found, "_Hernia") is None


@given(st.integers(0, 2**32 - 1), st.integers(30, 120), st.floats(0, 0.5))
@settings(max_examples=10, deadline=None)
def test_findings_agree_with_scikit_learn(make_table, seed: int, size: int, unknown: float) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, (size, 3)).astype(float)
    target[rng.random(target.shape) < unknown] = NAN
    target[:2] = [[0, 0, 0], [1, 1, 1]]
    table = make_table(target, rng.beta(1, 1, target.shape).clip(0.01, 0.99), FINDINGS)
    probability = table[score_columns(FINDINGS, "probability")].to_numpy()
    cuts = [0.3, 0.5, 0.7]
    found = evaluate_table(table, FINDINGS, thresholds=cuts).values
    scorers = {
        "auroc": lambda t, p, d: reference.roc_auc_score(t, p),
        "auprc": lambda t, p, d: reference.average_precision_score(t, p),
        "accuracy": lambda t, p, d: reference.accuracy_score(t, d),
        "balanced_accuracy": lambda t, p, d: reference.balanced_accuracy_score(t, d),
        "recall": lambda t, p, d: reference.recall_score(t, d),
        "specificity": lambda t, p, d: reference.recall_score(t, d, pos_label=0),
        "f1": lambda t, p, d: reference.f1_score(t, d),
        "brier": lambda t, p, d: reference.brier_score_loss(t, p),
        "nll": lambda t, p, d: reference.log_loss(t, p),
    }
    known = ~np.isnan(target)
    for name, scorer in scorers.items():
        parts = []
        for index, finding in enumerate(FINDINGS.classes):
            truth, score = target[known[:, index], index], probability[known[:, index], index]
            parts.append(scorer(truth, score, score >= cuts[index]))
            assert found[f"{name}_{finding}"] == pytest.approx(parts[-1], rel=1e-6), name
        assert found[name] == pytest.approx(np.mean(parts), rel=1e-6), name


def test_a_finding_of_one_class_leaves_the_means_to_the_others(make_table) -> None:
    target = [[0, 1, 0], [1, 0, 0], [1, 1, NAN]]
    probability = [[0.3, 0.8, 0.1], [0.7, 0.2, 0.1], [0.2, 0.9, 0.1]]
    found = evaluate_table(
        make_table(target, probability, FINDINGS), FINDINGS, thresholds=[0.5] * 3
    )
    for name in ("auroc", "auprc", "recall", "f1", "balanced_accuracy"):
        assert found.absent[f"{name}_Hernia"] == "no image is Hernia"
        parts = [found.values[f"{name}_{finding}"] for finding in ("Effusion", "Mass")]
        assert found.values[name] == pytest.approx(np.mean(parts))
    assert found.absent["precision_Hernia"] == "no image was called Hernia"
    # What can be said of it counts: nobody was called ill, rightly.
    assert found.values["specificity_Hernia"] == 1
    assert found.values["specificity"] == 1
    assert found.values["accuracy"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert "auroc" not in found.absent


def test_a_mean_of_no_finding_is_absent(make_table) -> None:
    table = make_table([[0, 1, NAN], [0, 1, NAN]], np.full((2, 3), 0.4), FINDINGS)
    found = evaluate_table(table, FINDINGS, thresholds=())
    assert found.absent["auroc"] == "it could be computed of no finding"
    assert found.absent["auroc_Mass"] == "no image is free of Mass"
    assert found.values["brier"] == pytest.approx((0.16 + 0.36) / 2)
    nothing = evaluate_table(table.iloc[:0], FINDINGS, thresholds=[0.5] * 3)
    assert nothing.values == {"n": 0}
    assert set(nothing.absent.values()) == {"there are no images"}


def test_without_thresholds_findings_have_no_decision(make_table) -> None:
    table = make_table([[0, 1, 1], [1, 0, 0]], np.full((2, 3), 0.4), FINDINGS)
    found = evaluate_table(table, FINDINGS, thresholds=())
    assert (
        found.absent["recall"] == found.absent["recall_Mass"] == "no decision threshold was chosen"
    )
    assert found.values["auroc"] == 0.5


def test_findings_that_are_neither_present_nor_absent_are_refused(make_table) -> None:
    table = make_table([[0, 1, NAN], [1, 0, 1]], np.full((2, 3), 0.4), FINDINGS)
    found = evaluate_table(table.assign(target_Mass=[0.5, 1]), FINDINGS, thresholds=())
    assert found.absent["auroc"] == "1 of 2 images have a target outside 0..1"


def test_two_thresholds_for_three_findings_are_refused(make_table) -> None:
    table = make_table([[0, 1, 1], [1, 0, 0]], np.full((2, 3), 0.4), FINDINGS)
    with pytest.raises(ValueError, match="2 thresholds"):
        evaluate_table(table, FINDINGS, thresholds=[0.5, 0.5])
