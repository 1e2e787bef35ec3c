from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

import cxrlab
from cxrlab.config.rule import Rule, parse_rule
from cxrlab.errors import UserError
from cxrlab.evaluation.threshold import (
    Threshold,
    choose_threshold,
    choose_thresholds,
    show_probability,
)

TARGET = np.array([0, 0, 0, 0, 1, 0, 1, 1, 1, 1])
SCORE = np.array([0.1, 0.2, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])

# Scores on a coarse grid have many ties; 0 and 1 are the scores of a saturated sigmoid.
scores = st.sampled_from([0.0, 1e-9, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0 - 2**-53, 1.0])
cases = st.lists(st.tuples(st.integers(0, 1), scores | st.floats(0, 1)), min_size=2, max_size=30)
levels = st.sampled_from([0.01, 0.3, 0.5, 0.8, 0.97, 1.0])


def arrays(case: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    target = np.array([t for t, _ in case])
    assume(0 < target.sum() < target.size)
    return target, np.array([s for _, s in case])


def rates(target: np.ndarray, score: np.ndarray, value: float) -> tuple[float, float]:
    called = score >= value
    return float(called[target == 1].mean()), float((~called)[target == 0].mean())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("youden", Rule("youden")),
        ("balanced", Rule("balanced")),
        (" sensitivity:0.97 ", Rule("sensitivity", 0.97)),
        ("specificity:1", Rule("specificity", 1.0)),
        ("cost:5/1", Rule("cost", 5.0)),
        ("cost:1/4", Rule("cost", 0.25)),
        ("cost:3", Rule("cost", 3.0)),
        ("0.5", Rule("number", 0.5)),
        (0.25, Rule("number", 0.25)),
        (0, Rule("number", 0.0)),
        (1, Rule("number", 1.0)),
    ],
)
def test_rules_are_read(text: str | float, rule: Rule) -> None:
    assert parse_rule(text) == rule
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("yuden", "did you mean 'youden'"),
        ("sensitivty:0.9", "did you mean 'sensitivity'"),
        ("sensitivity", "needs a level"),
        ("sensitivity:", "needs a level"),
        ("sensitivity:97", "needs a level"),
        ("specificity:0", "needs a level"),
        ("specificity:nan", "needs a level"),
        ("youden:0.5", "takes no level"),
        ("balanced:0.5", "balanced takes no level"),
        ("cost", "needs what a missed and a false case cost"),
        ("cost:0/1", "both above 0"),
        ("cost:5/0", "both above 0"),
        ("cost:5:1", "as in cost:5/1"),
        ("cost:inf", "both above 0"),
        ("1.01", "outside"),
        (-0.1, "outside"),
        ("inf", "outside"),
        ("nan", "no threshold rule"),
        ("", "no threshold rule"),
        ("best", "valid: youden, balanced, sensitivity:X"),
        (True, "no threshold rule"),
    ],
)
def test_bad_rules_say_what_is_valid(text: str | float, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as caught:
        parse_rule(text)
    assert "a number in [0, 1]" in str(caught.value)


def test_youden_lies_in_the_middle_of_the_widest_best_gap() -> None:
    # Cuts at 0.35 (sensitivity 5/5, specificity 4/5) and 0.55 (4/5, 5/5) both have J = 0.8, with
    # gaps of equal width; the more sensitive one is taken.
    found = choose_threshold("youden", TARGET, SCORE)
    assert found.value == pytest.approx(0.35)
    assert (found.rule, found.origin) == ("youden", "val")
    # With 0.5 raised to 0.55 the lower cut's gap stays 0.1, the upper one's shrinks to 0.05;
    # with 0.5 lowered to 0.45 the upper one's grows to 0.15 and wins.
    lowered = np.where(SCORE == 0.5, 0.45, SCORE)
    assert choose_threshold("youden", TARGET, lowered).value == pytest.approx(0.525)


def test_levels_take_the_best_of_the_other_rate() -> None:
    # All five ill are found down to 0.4: the cut lies between 0.3 and 0.4.
    assert choose_threshold("sensitivity:1", TARGET, SCORE).value == pytest.approx(0.35)
    # 0.8 allows one miss (0.4): above 0.5, where specificity is 1.
    assert choose_threshold("sensitivity:0.8", TARGET, SCORE).value == pytest.approx(0.55)
    # 0.7 allows no more misses than 0.8, but specificity is 1 already: stay sensitive.
    assert choose_threshold("sensitivity:0.7", TARGET, SCORE).value == pytest.approx(0.55)
    assert choose_threshold("specificity:1", TARGET, SCORE).value == pytest.approx(0.55)
    assert choose_threshold("specificity:0.8", TARGET, SCORE).value == pytest.approx(0.35)


def test_costs_weigh_the_misses() -> None:
    # At 0.35 one false case and no miss, at 0.55 one miss and no false case.
    assert choose_threshold("cost:2/1", TARGET, SCORE).value == pytest.approx(0.35)
    assert choose_threshold("cost:1/2", TARGET, SCORE).value == pytest.approx(0.55)


def test_costs_that_put_all_into_one_class_are_told(caplog: pytest.LogCaptureFixture) -> None:
    target, score = [0, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]
    assert choose_threshold("cost:1/10", target, score).value > 0.4
    assert "cheapest on val with every image in one class" in caplog.text


@given(cases, st.sampled_from([0.1, 0.5, 1.0, 3.0, 20.0]))
@settings(max_examples=60, deadline=None)
def test_the_cost_is_minimal_by_brute_force(case: list[tuple[int, float]], ratio: float) -> None:
    target, score = arrays(case)

    def cost(cut: float) -> float:
        called = score >= cut
        return float(ratio * (~called[target == 1]).sum() + called[target == 0].sum())

    cuts = [0.0, *score, *np.minimum(score + 1e-12, 1), 1.0]
    value = choose_threshold(f"cost:{ratio}", target, score).value
    assert cost(value) <= min(cost(cut) for cut in cuts) + 1e-9


def test_balanced_is_the_middle_of_mirrored_classes_however_frequent() -> None:
    well, ill = expit([-2.0, -1.0]), expit([1.0, 2.0])
    one = choose_threshold("balanced", [0, 0, 1, 1], [*well, *ill])
    assert one.value == pytest.approx(0.5, abs=1e-4)
    moved = choose_threshold("balanced", [0, 0, 1, 1], expit(logit([*well, *ill]) + 1))
    assert moved.value == pytest.approx(expit(1.0), abs=1e-4)
    often = choose_threshold("balanced", [0] * 200 + [1] * 2000, [*well] * 100 + [*ill] * 1000)
    assert often.value == pytest.approx(0.5, abs=0.15)


def test_balanced_is_logistic_regression_with_balanced_classes() -> None:
    generator = np.random.default_rng(0)
    target = (np.arange(4000) % 5 == 0).astype(int)
    logits = generator.normal(1.2 * target - 0.3, 1.0)
    fit = LogisticRegression(C=1e9, class_weight="balanced").fit(logits[:, None], target)
    expected = -fit.intercept_[0] / fit.coef_[0, 0]
    found = choose_threshold("balanced", target, expit(logits)).value
    assert logit(found) == pytest.approx(expected, abs=0.01)


@given(
    st.lists(st.floats(0.5, 1), min_size=1, max_size=20),
    st.lists(st.floats(0, 0.4), min_size=1, max_size=20),
)
def test_balanced_is_a_probability_also_where_the_classes_do_not_overlap(
    ill: list[float], well: list[float]
) -> None:
    found = choose_threshold("balanced", [1] * len(ill) + [0] * len(well), [*ill, *well]).value
    assert 0 <= found <= 1


def test_balanced_needs_scores_that_rise_with_disease(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_threshold("balanced", [1, 1, 0, 0], [0.1, 0.2, 0.6, 0.7]).value == 0.5
    assert "do not tell the classes apart" in caplog.text


def test_a_number_reads_no_scores() -> None:
    found = choose_threshold(0.37, [], [])
    assert (found.value, found.rule, found.origin) == (0.37, "0.37", "given")


@given(cases)
@settings(max_examples=60, deadline=None)
def test_youden_is_maximal_by_brute_force(case: list[tuple[int, float]]) -> None:
    target, score = arrays(case)
    value = choose_threshold("youden", target, score).value
    assert 0 <= value <= 1
    j = sum(rates(target, score, value))
    assert j == pytest.approx(max(sum(rates(target, score, s)) for s in [*score, 1.0]))


@given(cases, levels)
@settings(max_examples=60, deadline=None)
def test_sensitivity_is_reached_at_the_best_specificity(
    case: list[tuple[int, float]], level: float
) -> None:
    target, score = arrays(case)
    value = choose_threshold(f"sensitivity:{level}", target, score).value
    sensitivity, specificity = rates(target, score, value)
    assert sensitivity >= level
    for other in [*score, 1.0]:
        sensitivity_there, specificity_there = rates(target, score, other)
        assert sensitivity_there < level or specificity_there <= specificity


@given(cases, levels)
@settings(max_examples=60, deadline=None)
def test_specificity_is_reached_or_refused(case: list[tuple[int, float]], level: float) -> None:
    target, score = arrays(case)
    rule = f"specificity:{level}"
    if rates(target, score, 1.0)[1] < level:
        with pytest.raises(UserError, match="can't be reached"):
            choose_threshold(rule, target, score)
        return
    assert rates(target, score, choose_threshold(rule, target, score).value)[1] >= level


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 99)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_never_on_an_observed_score(case: list[tuple[int, int]]) -> None:
    target, score = arrays([(t, s / 100) for t, s in case])
    for rule in ("youden", "sensitivity:0.9", "specificity:0.9"):
        assert choose_threshold(rule, target, score).value not in score


def test_one_class_is_refused_with_a_way_out() -> None:
    with pytest.raises(UserError, match=r"val has only class 1; give a number.*0\.5"):
        choose_threshold("youden", [1, 1], [0.2, 0.7])
    with pytest.raises(UserError, match="no images"):
        choose_threshold("sensitivity:0.9", [], [])


def test_each_finding_has_the_threshold_of_its_known_images() -> None:
    # The second finding's scores are of the first with two images that nobody has labelled.
    target = np.stack([TARGET, TARGET], axis=1).astype(np.float32)
    target[[4, 5], 1] = np.nan
    found = choose_thresholds("youden", target, np.stack([SCORE, SCORE], axis=1), ("a", "b"))
    assert found[0] == choose_threshold("youden", TARGET, SCORE)
    known = [0, 1, 2, 3, 6, 7, 8, 9]
    assert found[1] == choose_threshold("youden", TARGET[known], SCORE[known])
    assert found[0].value != found[1].value


def test_a_finding_without_a_choice_is_decided_at_one_half(
    caplog: pytest.LogCaptureFixture,
) -> None:
    target = np.array([[0, 0, 1], [1, 0, np.nan], [1, 0, 0]], dtype=np.float32)
    score = np.array([[0.2, 0.3, 1.0], [0.6, 0.4, 0.5], [0.7, 0.1, 1.0]])
    found = choose_thresholds("specificity:0.9", target, score, ("Mass", "Hernia", "Edema"))
    assert found[0] == Threshold(pytest.approx(0.4), "specificity:0.9", "val")
    assert found[1:] == (Threshold(0.5, "0.5", "default"),) * 2
    assert "Hernia in val has only class 0" in caplog.text
    assert "Hernia is decided at 0.5" in caplog.text
    assert "can't be reached on Edema in val" in caplog.text
    assert "Mass" not in caplog.text


def test_a_number_is_the_threshold_of_every_finding(caplog: pytest.LogCaptureFixture) -> None:
    target = np.array([[0, np.nan], [0, np.nan]], dtype=np.float32)
    found = choose_thresholds(0.3, target, np.full((2, 2), 0.5), ("Mass", "Hernia"))
    assert found == (Threshold(0.3, "0.3", "given"),) * 2
    assert not caplog.records


def test_constant_scores_warn(caplog: pytest.LogCaptureFixture) -> None:
    found = choose_threshold("youden", [0, 1, 1], [0.4, 0.4, 0.4])
    assert found.value == pytest.approx(0.7)
    assert "do not tell the classes apart" in caplog.text


def test_scores_must_be_probabilities() -> None:
    with pytest.raises(ValueError, match="no probabilities"):
        choose_threshold("youden", [0, 1], [0.3, np.nan])
    with pytest.raises(ValueError, match="no probabilities"):
        choose_threshold("youden", [0, 1], [-2.0, 3.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (0.99987, "0.99987"), (0.0004, "0.00040"), (1.0, "1.000"), (0.0, "0.000")],
)
def test_probabilities_near_the_rim_keep_their_digits(value: float, text: str) -> None:
    assert show_probability(value) == text


def test_rules_need_no_heavy_import() -> None:
    code = (
        "import sys, cxrlab.evaluation.threshold\n"
        "heavy = {'torch', 'mlflow', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(cxrlab.__file__).parents[1])
