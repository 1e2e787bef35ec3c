from __future__ import annotations

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.evaluation.predictive_figures import draw_predictive_values
from cxrlab.evaluation.predictive_values import (
    PREVALENCES,
    predictive_value_table,
    predictive_values,
)
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
FINDINGS = Task.multilabel(("Effusion", "Mass"))

rates = st.floats(0, 1)


def scored(make_table, size: int = 200, cut: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    target = (np.arange(size) % 5 < 2).astype(int)
    probability = rng.beta(1 + 2 * target, 3 - 2 * target).clip(0.01, 0.99)
    table = make_table(target, probability, thresholds=[cut])
    return table.assign(patient_id=[f"p{i // 2}" for i in range(size)])


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_bayes_by_hand() -> None:
    # Of 1,000: 10 ill, 9 of them called; 990 healthy, 99 of them called.
    ppv, npv = predictive_values(0.9, 0.9, 0.01)
    assert float(ppv) == pytest.approx(9 / 108)
    assert float(npv) == pytest.approx(891 / 892)
    ppv, npv = predictive_values([0.9, 1.0], [0.9, 1.0], 0.5)
    assert ppv.tolist() == pytest.approx([0.9, 1.0])
    assert npv.tolist() == pytest.approx([0.9, 1.0])


def test_calls_that_are_never_made_have_no_value() -> None:
    ppv, npv = predictive_values(0.0, 1.0, 0.2)
    assert np.isnan(ppv)
    assert float(npv) == pytest.approx(0.8)
    ppv, npv = predictive_values(1.0, 0.0, 0.2)
    assert float(ppv) == pytest.approx(0.2)
    assert np.isnan(npv)
    assert np.isnan(predictive_values(np.nan, 0.5, 0.2)).all()


@pytest.mark.parametrize("rates", [(1.1, 0.5, 0.5), (0.5, -0.1, 0.5), (0.5, 0.5, 50)])
def test_rates_outside_their_range_are_refused(rates: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"are in \[0, 1\]"):
        predictive_values(*rates)


@given(rates, rates, rates, rates)
def test_they_lie_in_range_and_move_with_prevalence(
    sensitivity: float, specificity: float, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    ppv, npv = predictive_values(sensitivity, specificity, np.array([low, high]))
    for values in (ppv, npv):
        known = values[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all()
    assert not ppv[1] < ppv[0] - 1e-12
    assert not npv[1] > npv[0] + 1e-12


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.99)), min_size=2, max_size=30))
def test_at_its_own_prevalence_they_are_those_of_the_table(make_table, images) -> None:
    target, probability = ([int(t) for t, _ in images], [p for _, p in images])
    table = make_table(target, probability, thresholds=[0.5])
    found = predictive_value_table(table, TWO, thresholds=[0.5], draws=0)
    own = found[found["own"]]
    if len(set(target)) == 1:
        assert own.empty
        assert found[["ppv", "npv"]].isna().all(axis=None)
        return
    metrics = evaluate_table(table, TWO, thresholds=[0.5])
    tn, fn = metrics.values["tn"], metrics.values["fn"]
    expected = metrics.values.get("precision", np.nan), tn / (tn + fn) if tn + fn else np.nan
    (row,) = own.itertuples()
    assert (row.ppv, row.npv) == pytest.approx(expected, nan_ok=True)


def test_the_table(make_table) -> None:
    table = scored(make_table)
    found = predictive_value_table(table, TWO, thresholds=[0.3], draws=300)
    assert found["point"].tolist() == ["operating point"] * 8 + ["0.5"] * 8
    assert found["prevalence"].tolist()[:8] == sorted([*PREVALENCES, 0.4])
    assert found[found["own"]]["prevalence"].tolist() == [0.4, 0.4]
    assert set(found["threshold"]) == {0.3, 0.5}
    for name in ("ppv", "npv"):
        assert (found[f"{name}_low"] < found[name]).all()
        assert (found[name] < found[f"{name}_high"]).all()
    assert (found["absent"] == "").all()
    again = predictive_value_table(table, TWO, thresholds=[0.3], draws=300)
    pd.testing.assert_frame_equal(found, again)
    at_half = predictive_value_table(table, TWO, thresholds=[0.5], draws=0)
    assert set(at_half["point"]) == {"operating point"}
    unchosen = predictive_value_table(table, TWO, thresholds=(), draws=0)
    assert set(unchosen["point"]) == {"0.5"}


def test_intervals_cover_what_patients_would_give(make_table) -> None:
    # Each rate has 100 independent patients; the delta method on the log odds of the PPV
    # (Mercaldo, Lau and Zhou, Statistics in Medicine 2007) must agree.
    rng = np.random.default_rng(2)
    target = np.repeat([0, 1], 100)
    probability = np.where(rng.random(200) < np.where(target == 1, 0.85, 0.2), 0.9, 0.1)
    table = make_table(target, probability, thresholds=[0.5])
    found = predictive_value_table(table, TWO, thresholds=[0.5], draws=2000, prevalences=[0.1])
    row = found[~found["own"]].iloc[0]
    metrics = evaluate_table(table, TWO, thresholds=[0.5]).values
    hit, rejected = metrics["recall"], metrics["specificity"]
    odds = np.log(row["ppv"] / (1 - row["ppv"]))
    error = np.sqrt((1 - hit) / (100 * hit) + rejected / (100 * (1 - rejected)))
    ends = 1 / (1 + np.exp(-(odds + np.array([-1.96, 1.96]) * error)))
    assert row[["ppv_low", "ppv_high"]].tolist() == pytest.approx(ends.tolist(), abs=0.02)


def test_a_rate_of_one_is_not_taken_for_certain(make_table) -> None:
    target = [0] * 20 + [1] * 20
    separated = make_table(target, [0.1, 0.2] * 10 + [0.8, 0.9] * 10, thresholds=[0.5])
    found = predictive_value_table(separated, TWO, thresholds=[0.5], draws=100, prevalences=[0.1])
    row = found.iloc[0]
    # Clopper and Pearson, 20 of 20.
    low = 0.025 ** (1 / 20)
    assert (row["ppv"], row["ppv_high"], row["npv"], row["npv_high"]) == (1, 1, 1, 1)
    assert row["ppv_low"] == pytest.approx(0.1 / (0.1 + (1 - low) * 0.9))
    assert row["npv_low"] == pytest.approx(0.9 / (0.9 + (1 - low) * 0.1))
    # All ill found, half of the healthy called: the PPV is no surer than its sensitivity.
    half = make_table(target, [0.1, 0.7] * 10 + [0.8, 0.9] * 10, thresholds=[0.5])
    found = predictive_value_table(half, TWO, thresholds=[0.5], draws=100, prevalences=[0.1])
    row = found.iloc[0]
    assert row["npv"] == 1
    assert row["npv_low"] == pytest.approx(0.45 / (0.45 + (1 - low) * 0.1))
    assert row["ppv_low"] < 0.1 / (0.1 + 0.5 * 0.9) < row["ppv_high"]


def test_hard_input_is_absent_with_its_reason(make_table) -> None:
    alone = make_table([1] * 12, [0.6] * 12, thresholds=[0.5])
    found = predictive_value_table(alone, TWO, thresholds=[0.5], draws=50)
    assert found[["ppv", "npv", "ppv_low"]].isna().all(axis=None)
    assert set(found["absent"]) == {"specificity: no image is NORMAL"}
    few = make_table([0, 0, 1, 1], [0.1, 0.7, 0.3, 0.8], thresholds=[0.5])
    found = predictive_value_table(few, TWO, thresholds=[0.5], draws=50)
    assert set(found["absent"]) == {
        "interval of ppv: 4 patients are fewer than 10; interval of npv: 4 patients are fewer "
        "than 10"
    }
    silent = make_table([0, 1] * 10, [0.2] * 20, thresholds=[0.5])
    found = predictive_value_table(silent, TWO, thresholds=[0.5], draws=50)
    assert found["ppv"].isna().all()
    assert found["npv"].tolist() == pytest.approx((1 - found["prevalence"]).tolist())
    assert set(found["absent"]) == {"ppv: no image was called positive"}
    empty = predictive_value_table(alone[:0], TWO, thresholds=[0.5], draws=50)
    assert empty["ppv"].isna().all()
    assert set(empty["absent"]) == {"recall: there are no images; specificity: there are no images"}


def test_each_finding_on_the_images_where_it_is_known(make_table) -> None:
    target = [[1, np.nan], [0, np.nan], [0, np.nan], [np.nan, np.nan]]
    probability = [[0.9, 0.5], [0.1, 0.5], [0.8, 0.5], [0.9, 0.5]]
    table = make_table(target, probability, FINDINGS)
    found = predictive_value_table(table, FINDINGS, thresholds=[0.5, 0.5], draws=0)
    own = found[found["own"]]
    assert own["class"].tolist() == ["Effusion"]
    assert own["prevalence"].tolist() == [1 / 3]
    assert own["ppv"].tolist() == pytest.approx([0.5])
    mass = found[found["class"] == "Mass"]
    assert len(mass) == len(PREVALENCES)
    assert mass["absent"].str.contains("no image is labelled for Mass").all()


def test_what_makes_no_sense_is_refused(make_table) -> None:
    table = scored(make_table)
    with pytest.raises(ValueError, match="prevalences are in"):
        predictive_value_table(table, TWO, thresholds=[0.5], draws=0, prevalences=[0.1, 1.0])
    classes = make_table([0, 1, 2], np.full((3, 3), 1 / 3), THREE)
    with pytest.raises(ValueError, match="no question with two answers"):
        predictive_value_table(classes, THREE, thresholds=(), draws=0)


def test_the_figure(make_table) -> None:
    table = scored(make_table)
    figure = draw_predictive_values(table, TWO, thresholds=[0.3], split="test", draws=100)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=30)
    assert len(buffer.getvalue()) > 2000
    said = words(figure)
    for text in ("test, 200 images; bands: 95 %", "this split, 40.0%", "PNEUMONIA", "50%"):
        assert text in said
    (axes,) = figure.axes
    curves = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert [line.get_linestyle() for line in curves] == ["-", "-", "--", "--"]
    assert len(axes.collections) == 2
    metrics = evaluate_table(table, TWO, thresholds=[0.3]).values
    points = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert points[0] == [pytest.approx([0.4, metrics["precision"]])]
    assert points[1] == [pytest.approx([0.4, metrics["tn"] / (metrics["tn"] + metrics["fn"])])]


def test_what_cannot_be_drawn_says_why(make_table) -> None:
    alone = make_table([1] * 12, [0.6] * 12, thresholds=[0.5])
    said = words(draw_predictive_values(alone, TWO, thresholds=[0.5], split="val", draws=50))
    assert "Not drawn: specificity: no image is NORMAL." in said
    classes = make_table([0, 1, 2], np.full((3, 3), 1 / 3), THREE)
    said = words(draw_predictive_values(classes, THREE, thresholds=(), split="val", draws=50))
    assert "Not drawn: the task is not one of two classes." in said
    few = make_table([0, 0, 1, 1], [0.1, 0.7, 0.3, 0.8], thresholds=[0.5])
    said = words(draw_predictive_values(few, TWO, thresholds=[0.5], split="val", draws=50))
    assert "no intervals: 4 patients are fewer than 10" in said
