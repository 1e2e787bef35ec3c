from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from helpers.compared import (
    FINDINGS,
    SETTINGS,
    TASKS,
    THREE,
    TWO,
    compare_runs,
    only,
    printed,
    write_run,
)

from cxrlab.comparison.compare import ComparedSystem, Comparison, compare_systems
from cxrlab.comparison.contrasts import compared_metrics
from cxrlab.comparison.delong import DeLong, delong_test
from cxrlab.comparison.figures import draw_comparison
from cxrlab.comparison.files import (
    comparison_metrics,
    comparison_table,
    write_comparison,
)
from cxrlab.comparison.paired import McNemar, mcnemar_test
from cxrlab.comparison.runs import ComparedRun
from cxrlab.comparison.systems import Member, System, form_systems
from cxrlab.evaluation.metrics import evaluate_table
from cxrlab.task import Task

Make = Callable[..., System]


@pytest.fixture
def system(make_table) -> Make:
    """A system of one run from targets and probabilities of class 1, or of all classes."""

    def make(
        name: str,
        target: npt.ArrayLike,
        probability: npt.ArrayLike,
        task: Task = TWO,
        cuts: tuple[float, ...] = (0.5,),
        patients: npt.ArrayLike | None = None,
    ) -> System:
        cuts = () if task.kind == "multiclass" else cuts * task.outputs
        table = make_table(target, probability, task, thresholds=cuts)
        if patients is not None:
            table["patient_id"] = np.asarray(patients).astype(str)
        run = ComparedRun(name, None, None, ())  # type: ignore[arg-type]
        return System(name, (Member(run, table),), table, cuts)

    return make


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., Comparison]:
    return partial(compare_runs, tmp_path)


def scored(size: int, seed: int, gain: float, noise: npt.ArrayLike = 0) -> tuple:
    """Targets of both classes in turn, and probabilities that `gain` sets apart."""
    target = np.arange(size) % 2
    own = np.random.default_rng(seed).normal(size=size)
    return target, 1 / (1 + np.exp(-(gain * (target - 0.5) + own + np.asarray(noise))))


@pytest.mark.parametrize("kind", TASKS)
def test_every_metric_has_a_difference_an_interval_and_a_p(compared, kind: str) -> None:
    task = TASKS[kind]
    comparison = compared(*SETTINGS, task=task)
    one, other = comparison.systems
    assert (comparison.images, comparison.patients, comparison.independent) == (200, 200, True)
    assert not one.contrasts
    for each in (one, other):
        whole = evaluate_table(form_table(each), task, thresholds=list(each.view.thresholds)).values
        assert each.metrics.values == whole
    for name in compared_metrics(task):
        contrast = only(other, name)
        assert contrast.difference == other.metrics.values[name] - one.metrics.values[name]
        assert contrast.interval is not None, name
        assert contrast.interval.low < contrast.difference < contrast.interval.high
        assert contrast.p is not None
        assert contrast.p_adjusted == contrast.p, "Holm's p of a single test"
    counts = {"n", "prevalence", "threshold", "tn", "fp", "fn", "tp", "confusion"}
    left = {name for name in whole if name.partition("_")[0] not in counts}
    assert left == set(compared_metrics(task))


def form_table(system: ComparedSystem) -> pd.DataFrame:
    """The columns that metrics are of, back from what figures are drawn from."""
    view = system.view
    truth = view.target.reshape(len(view.target), -1).T
    table = dict(zip(view.task.target_columns, truth, strict=True))
    for kind in ("probability", "calibrated"):
        score = getattr(view, kind)
        suffixes = [""] if view.binary else [f"_{name}" for name in view.task.classes]
        columns = score.reshape(len(score), -1).T
        table |= {f"{kind}{s}": c for s, c in zip(suffixes, columns, strict=True)}
    return pd.DataFrame(table)


def test_the_tests_of_two_classes_are_delongs_and_mcnemars(compared) -> None:
    one, other = compared(*SETTINGS).systems
    event = one.view.target == 1
    delong = delong_test(event, one.view.probability, other.view.probability)
    assert isinstance(delong, DeLong)
    contrast = only(other, "auroc", "delong")
    assert (contrast.difference, contrast.p) == (delong.difference, delong.p)
    assert contrast.interval == delong.interval
    assert contrast.detail["covariance"] == delong.covariance
    assert contrast.difference == pytest.approx(only(other, "auroc").difference, abs=1e-6)
    right = [(each.view.probability >= each.view.thresholds[0]) == event for each in (one, other)]
    for metric, part in (("accuracy", slice(None)), ("recall", event), ("specificity", ~event)):
        mcnemar = mcnemar_test(right[0][part], right[1][part])
        assert isinstance(mcnemar, McNemar)
        contrast = only(other, metric, "mcnemar")
        assert contrast.p == mcnemar.p
        assert contrast.detail["system_alone"] == mcnemar.second_alone
        assert contrast.difference == pytest.approx(only(other, metric).difference)


def test_of_more_classes_each_is_tested_against_the_rest(compared) -> None:
    one, other = compared(*SETTINGS, task=THREE).systems
    for index, name in enumerate(THREE.classes):
        delong = delong_test(
            one.view.target == index,
            one.view.probability[:, index],
            other.view.probability[:, index],
        )
        assert isinstance(delong, DeLong)
        assert only(other, f"auroc_{name}", "delong").p == delong.p
    right = [each.view.probability.argmax(axis=1) == each.view.target for each in (one, other)]
    mcnemar = mcnemar_test(*right)
    assert isinstance(mcnemar, McNemar)
    assert only(other, "accuracy", "mcnemar").p == mcnemar.p
    assert other.contrast("auroc", "delong") is None, "a mean of areas is no area"
    macro = [only(other, f"auroc_{name}").difference for name in THREE.classes]
    assert only(other, "auroc").difference == pytest.approx(np.mean(macro))


def test_findings_are_tested_on_the_images_whose_truth_is_known(compared) -> None:
    one, other = compared(*SETTINGS, task=FINDINGS).systems
    for index, name in enumerate(FINDINGS.classes):
        known = ~np.isnan(one.view.target[:, index])
        assert not known.all()
        event = one.view.target[known, index] == 1
        scores = [each.view.probability[known, index] for each in (one, other)]
        delong = delong_test(event, *scores)
        assert isinstance(delong, DeLong)
        assert only(other, f"auroc_{name}", "delong").p == delong.p
        cuts = [each.view.thresholds[index] for each in (one, other)]
        right = [(s >= cut) == event for s, cut in zip(scores, cuts, strict=True)]
        for metric, part in (("accuracy", event | ~event), ("recall", event)):
            mcnemar = mcnemar_test(right[0][part], right[1][part])
            assert isinstance(mcnemar, McNemar)
            assert only(other, f"{metric}_{name}", "mcnemar").p == mcnemar.p


def test_of_independent_images_bootstrap_and_delong_agree(compared) -> None:
    comparison = compared({}, {"seed": 5, "quality": 2.15, "backbone": "b"}, size=400, draws=2000)
    other = comparison.systems[1]
    drawn, delong = only(other, "auroc"), only(other, "auroc", "delong")
    assert drawn.interval is not None
    assert delong.interval is not None
    assert 0.01 < delong.p < 0.9, "a test that tells nothing"
    assert drawn.p == pytest.approx(delong.p, abs=0.05)
    assert drawn.interval.low == pytest.approx(delong.interval.low, abs=0.003)
    assert drawn.interval.high == pytest.approx(delong.interval.high, abs=0.003)


def test_images_of_one_patient_are_no_more_patients(system) -> None:
    """Each image three times: DeLong's and McNemar's tests gain from it, the bootstrap does not."""
    target, first = scored(100, 1, 1.2)
    second = scored(100, 2, 1.9)[1]
    once = [system("A", target, first), system("B", target, second)]
    patients = np.repeat(np.arange(100), 3)
    thrice = [
        system(name, np.repeat(target, 3), np.repeat(s, 3), patients=patients)
        for name, s in (("A", first), ("B", second))
    ]
    alone = compare_systems(once, TWO, "test", draws=2000)
    together = compare_systems(thrice, TWO, "test", draws=2000)
    assert (together.images, together.patients, together.independent) == (300, 100, False)
    drawn = [only(c.systems[1], "auroc") for c in (alone, together)]
    delong = [only(c.systems[1], "auroc", "delong") for c in (alone, together)]
    mcnemar = [only(c.systems[1], "accuracy", "mcnemar") for c in (alone, together)]
    assert drawn[1].difference == pytest.approx(drawn[0].difference)
    assert drawn[1].p == pytest.approx(drawn[0].p, rel=0.05)
    assert delong[1].p < delong[0].p / 3
    assert mcnemar[1].p < mcnemar[0].p / 2
    assert "some patients have several" in " ".join(printed(together).split())
    assert "some patients have several" not in " ".join(printed(alone).split())


def test_the_same_predictions_have_no_difference_and_no_test(system) -> None:
    target, score = scored(60, 1, 1.0)
    pair = [system("A", target, score), system("B", target, score)]
    other = compare_systems(pair, TWO, "test", draws=300).systems[1]
    for name in compared_metrics(TWO):
        contrast = only(other, name)
        assert (contrast.difference, contrast.interval, contrast.p) == (0, None, None)
        assert contrast.reason == "every sample of patients gives the same difference"
    assert "no variance" in str(only(other, "auroc", "delong").reason)
    assert "by one alone" in str(only(other, "accuracy", "mcnemar").reason)


def test_a_constant_score_is_compared(system) -> None:
    target, score = scored(60, 1, 2.0)
    pair = [system("A", target, np.full(60, 0.4)), system("B", target, score)]
    other = compare_systems(pair, TWO, "test", draws=300).systems[1]
    drawn = only(other, "auroc")
    assert drawn.difference == pytest.approx(other.metrics.values["auroc"] - 0.5)
    assert drawn.p < 0.001
    assert only(other, "auroc", "delong").p < 0.001
    assert only(other, "precision").reason == "no image was called PNEUMONIA"


def test_images_of_one_class_have_no_ranking(system) -> None:
    score = scored(40, 1, 1.0)[1]
    pair = [system("A", np.zeros(40, int), score), system("B", np.zeros(40, int), score**2)]
    other = compare_systems(pair, TWO, "test", draws=300).systems[1]
    for name, test in (("auroc", "bootstrap"), ("auroc", "delong"), ("recall", "mcnemar")):
        contrast = only(other, name, test)
        assert (contrast.difference, contrast.p) == (None, None)
        assert contrast.reason == "no image is PNEUMONIA"
    assert only(other, "specificity").interval is not None
    assert only(other, "brier").p < 0.05


@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize("kind", TASKS)
def test_scores_that_are_no_numbers_are_no_crash(compared, tmp_path, kind: str, where: int) -> None:
    task = TASKS[kind]
    runs = [
        ComparedRun.read(write_run(tmp_path / f"nan{i}", task=task, size=30, backbone=f"{i}"))
        for i in range(2)
    ]
    systems = form_systems(runs, "test")
    columns = [n for n in systems[0].table if n.startswith(("probability", "calibrated"))]
    broken = systems[where].table.astype(dict.fromkeys(columns, float))
    broken.loc[4, columns] = np.nan
    systems[where] = replace(systems[where], table=broken)
    comparison = compare_systems(systems, task, "test", draws=300)
    other = comparison.systems[1]
    assert other.contrasts
    for contrast in other.contrasts:
        assert (contrast.difference, contrast.p) == (None, None)
        assert contrast.reason == "1 of 30 images have no probability in [0, 1]"
    assert "can't be told apart by ROC-AUC: 1 of 30 images" in " ".join(printed(comparison).split())
    draw_comparison(comparison)
    json.dumps(comparison_metrics(comparison), allow_nan=False)
    write_comparison(comparison, tmp_path)


def test_few_patients_have_differences_without_intervals(system) -> None:
    target, score = scored(60, 1, 1.0)
    patients = np.arange(60) % 9
    pair = [
        system(name, target, s, patients=patients) for name, s in (("A", score), ("B", score**2))
    ]
    other = compare_systems(pair, TWO, "test", draws=300).systems[1]
    contrast = only(other, "brier")
    assert contrast.difference
    assert (contrast.interval, contrast.p) == (None, None)
    assert contrast.reason == "9 patients are fewer than 10"


def test_without_draws_there_is_no_interval(compared) -> None:
    comparison = compared(*SETTINGS, draws=0)
    assert only(comparison.systems[1], "auroc").reason == "no samples of patients were drawn"
    assert not comparison.systems[0].metrics.intervals
    assert only(comparison.systems[1], "auroc", "delong").p is not None


def test_without_a_threshold_decisions_are_not_compared(system) -> None:
    target, score = scored(60, 1, 1.0)
    pair = [system("A", target, score), system("B", target, score**2, cuts=())]
    other = compare_systems(pair, TWO, "test", draws=300).systems[1]
    for name, test in (("accuracy", "bootstrap"), ("recall", "mcnemar")):
        assert only(other, name, test).reason == "no decision threshold was chosen"
    assert only(other, "brier").p is not None


def test_means_over_other_findings_are_not_compared(system) -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 2, (80, 3)).astype(float)
    score = rng.uniform(0.3, 0.7, (80, 3))
    low = score.copy()
    low[:, 1] /= 2  # below the threshold, so that precision has no value
    pair = [system("A", target, score, FINDINGS), system("B", target, low, FINDINGS)]
    other = compare_systems(pair, FINDINGS, "test", draws=300).systems[1]
    assert only(other, "precision").reason == "the two are means of different findings"
    assert only(other, "precision_Effusion").difference == 0
    assert only(other, "precision_Mass").reason == "no image was called Mass"
    assert only(other, "recall").difference is not None


def test_p_of_several_systems_is_adjusted_a_metric_and_test_at_a_time(compared) -> None:
    settings = [{"quality": 2 + i / 4, "seed": i, "backbone": f"b{i}"} for i in range(4)]
    others = compared(*settings).systems[1:]
    for metric, test in (("auroc", "bootstrap"), ("auroc", "delong"), ("recall", "mcnemar")):
        found = sorted((c.p, c.p_adjusted) for c in (only(o, metric, test) for o in others))
        expected = 0.0
        for rank, (p, adjusted) in enumerate(found):
            expected = max(expected, min(1, p * (3 - rank)))
            assert adjusted == pytest.approx(expected)


def test_seeds_have_a_mean_and_a_spread_and_predict_together(compared) -> None:
    settings = [
        {"quality": quality, "seed": seed, "overrides": [f"optimizer.lr={quality}"]}
        for quality in (2.0, 2.3)
        for seed in (1, 2, 3)
    ]
    comparison = compared(*settings)
    one, other = comparison.systems
    assert [len(each.runs) for each in (one, other)] == [3, 3]
    single = compared(*settings[:3], draws=0).systems[:3]
    values = [each.metrics.values for each in single]
    for name in compared_metrics(TWO):
        drawn = [own[name] for own in values]
        assert one.spread[name].mean == pytest.approx(np.mean(drawn))
        assert one.spread[name].sd == pytest.approx(np.std(drawn, ddof=1))
        assert one.spread[name].seeds == 3
    assert one.metrics.values["auroc"] > one.spread["auroc"].mean
    assert only(other, "auroc").p is not None
    assert only(other, "brier_calibrated").p is not None
    for name in ("brier", "ece", "accuracy_at_0.5"):
        assert only(other, name).reason == "an ensemble is a mean of calibrated probabilities"
        assert name not in one.metrics.intervals
    table = comparison_table(comparison).set_index(["system", "metric", "test"])
    row = table.loc[(other.name, "auroc", "delong")]
    assert (row["seeds"], row["mean"]) == (3, other.spread["auroc"].mean)


def test_a_figure_without_differences_says_so(system) -> None:
    target = np.arange(30) % 2
    broken = [system(name, target, np.full(30, 0.5)) for name in "AB"]
    for each in broken:
        each.table["probability"] = np.nan
    axes = draw_comparison(compare_systems(broken, TWO, "test", draws=300)).axes[1]
    assert any("Nothing could be compared" in text.get_text() for text in axes.texts)


@pytest.mark.slow
def test_equal_systems_differ_in_5_of_100_studies(system) -> None:
    """60 patients with two images each, that are hard for both systems or for neither."""
    rng = np.random.default_rng(0)
    below = dict.fromkeys(("auroc", "accuracy", "brier", "ece"), 0)
    for _ in range(400):
        ill = rng.permutation(np.arange(60) % 2)
        shared = rng.normal(size=60)
        logits = [
            np.repeat(1.5 * (ill - 0.5) + shared + 0.5 * rng.normal(size=60), 2)
            + rng.normal(size=120)
            for _ in "AB"
        ]
        pair = [
            system(n, np.repeat(ill, 2), 1 / (1 + np.exp(-x)), patients=np.repeat(range(60), 2))
            for n, x in zip("AB", logits, strict=True)
        ]
        other = compare_systems(pair, TWO, "test", draws=200).systems[1]
        for name in below:
            below[name] += only(other, name).p < 0.05
    shares = {name: count / 400 for name, count in below.items()}
    assert max(shares.values()) < 0.075, shares
    assert min(shares[name] for name in ("auroc", "accuracy", "brier")) > 0.02, shares
