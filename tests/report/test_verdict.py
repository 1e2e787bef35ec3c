"""Verdict and reservations on runs whose numbers are written by hand."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from cxrlab.data.audit.findings import Audit, Finding
from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.evaluation.metrics import Interval, Metrics
from cxrlab.evaluation.operating_point import OperatingPoint
from cxrlab.evaluation.threshold import Threshold
from cxrlab.report.finished import FinishedRun
from cxrlab.report.verdict import judge
from cxrlab.task import Task

PNEUMONIA = Task.exclusive(("NORMAL", "PNEUMONIA"))


def metrics(auroc: float, tp: int, fn: int, tn: int, fp: int, ece: float = 0.02) -> Metrics:
    values = {
        "n": float(tp + fn + tn + fp),
        "auroc": auroc,
        "recall": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "ece": 0.04,
        "ece_calibrated": ece,
        **{"tp": float(tp), "fn": float(fn), "tn": float(tn), "fp": float(fp)},
    }
    intervals = {
        name: Interval(max(0.0, values[name] - 0.04), min(1.0, values[name] + 0.04))
        for name in ("auroc", "recall", "specificity")
    }
    return Metrics(values, {}, intervals)


GOOD = metrics(0.95, 95, 5, 90, 10)


def run_of(
    val: Metrics | None = GOOD,
    test: Metrics | None = GOOD,
    *,
    origin: str = "val",
    findings: tuple[Finding, ...] = (),
    patients: int = 100,
    data: str = "csv",
) -> FinishedRun:
    by_split = {"val": val, "test": test}
    found = {split: m for split, m in by_split.items() if m is not None}
    table = pd.DataFrame(
        {
            "patient_id": [f"p{i % patients}" for i in range(200)],
            "target": [i % 2 if patients > 1 else 1 for i in range(200)],
        }
    )
    point = OperatingPoint(Calibration(), (Threshold(0.4, "youden", origin),))
    return FinishedRun(
        folder=None,  # type: ignore[arg-type]
        run_id=None,
        tags={},
        evaluation=Evaluation(PNEUMONIA, point, dict.fromkeys(found, table), found),
        config={"data": {"name": data}},
        config_text="",
        overrides=(),
        software=None,  # type: ignore[arg-type]
        audit=Audit(400, {}, findings),
        manifest=None,
        history=pd.DataFrame(),
        subgroups={},
        predictive={},
    )


def titles(run: FinishedRun) -> list[str]:
    return [reservation.title for reservation in judge(run).reservations]


def test_a_sound_run_has_nothing_against_it() -> None:
    verdict = judge(run_of())
    assert (verdict.tone, verdict.label) == ("ok", "No objection found")
    assert verdict.reservations == ()
    assert verdict.sentence == (
        "On test the model finds 95 of 100 PNEUMONIA images and calls 10 of 100 NORMAL images "
        "PNEUMONIA: the ranking is good (AUROC 0.95), and the threshold chosen on validation "
        "holds on test."
    )


def test_the_origin_s_run_is_told_for_what_it_is() -> None:
    """AUROC 0.95, and 97 of 234 healthy children called ill."""
    verdict = judge(run_of(metrics(0.99, 380, 10, 228, 6), metrics(0.95, 380, 10, 137, 97)))
    assert verdict.tone == "warning"
    assert verdict.sentence == (
        "On test the model finds 380 of 390 PNEUMONIA images and calls 97 of 234 NORMAL images "
        "PNEUMONIA: the ranking is good (AUROC 0.95), but the threshold chosen on validation "
        "does not fit test."
    )
    drift, low = verdict.reservations
    assert drift.title == "Specificity does not hold"
    assert drift.text == (
        "specificity is 0.97 on validation and 0.59 on test (−0.389). The intervals do not "  # noqa: RUF001
        "overlap."
    )
    assert low.title == "Low specificity"
    assert low.text.endswith("on test: 97 of 234 NORMAL images are called PNEUMONIA.")


def test_a_given_threshold_is_not_said_to_be_chosen() -> None:
    told = judge(run_of(GOOD, metrics(0.95, 95, 5, 60, 40), origin="given")).sentence
    assert told.endswith("but the given threshold does not fit test.")


@pytest.mark.parametrize(("fp", "holds"), [(15, True), (16, False)])
def test_a_difference_of_five_points_is_the_limit(fp: int, holds: bool) -> None:
    run = run_of(GOOD, metrics(0.95, 95, 5, 100 - fp, fp))
    assert ("Specificity does not hold" not in titles(run)) == holds
    assert ("holds on test" in judge(run).sentence) == holds


def test_a_rise_is_a_drift_too_and_overlap_is_told() -> None:
    run = run_of(GOOD, metrics(0.95, 95, 5, 97, 3))
    (found,) = judge(run).reservations
    assert found.title == "Specificity does not hold"
    assert found.text.endswith("(+0.070). The intervals overlap, so chance may explain it.")


def test_low_on_both_is_no_drift() -> None:
    low = metrics(0.95, 95, 5, 65, 35)
    run = run_of(low, low)
    assert titles(run) == ["Low specificity"]
    assert judge(run).sentence.endswith(
        "but the threshold chosen on validation gives a low specificity."
    )


def test_a_ranking_within_chance_is_called_so() -> None:
    run = run_of(GOOD, metrics(0.52, 95, 5, 90, 10))
    assert "Not told from chance" in titles(run)
    assert "can't be told from chance (AUROC 0.52, interval 0.48 to 0.56)" in judge(run).sentence


@pytest.mark.parametrize(
    ("auroc", "word"),
    [(0.9, "good"), (0.89, "fair"), (0.75, "weak"), (0.6, "poor"), (0.4, "worse than")],
)
def test_how_a_ranking_is_called(auroc: float, word: str) -> None:
    run = run_of(GOOD, replace(metrics(auroc, 95, 5, 90, 10), intervals={}))
    assert f"the ranking is {word}" in judge(run).sentence


def test_without_test_validation_speaks_and_is_distrusted() -> None:
    verdict = judge(run_of(test=None))
    assert verdict.sentence.startswith("On validation the model finds 95 of 100")
    assert "test was not read, so nothing is known of the threshold chosen on validation" in (
        verdict.sentence
    )
    assert [r.title for r in verdict.reservations] == ["Test was not read"]


@pytest.mark.parametrize(
    ("ece", "found"),
    [(0.03, []), (0.045, ["Calibration does not carry over"]), (0.06, ["Probabilities are off"])],
)
def test_probabilities_that_are_off(ece: float, found: list[str]) -> None:
    assert titles(run_of(GOOD, metrics(0.95, 95, 5, 90, 10, ece))) == found


def test_a_run_without_a_calibrated_metric_says_nothing_of_calibration() -> None:
    bare = replace(GOOD, values={k: v for k, v in GOOD.values.items() if "ece" not in k})
    verdict = judge(run_of(bare, bare))
    assert verdict.reservations == ()
    assert [n.text for n in verdict.numbers if n.name == "Calibration error"] == ["–"]  # noqa: RUF001


def test_a_fatal_finding_comes_first_and_voids_the_numbers() -> None:
    findings = (
        Finding("few_patients", "warning", 1, "few", []),
        Finding("class_balance", "info", 1, "told", []),
        Finding("patient_overlap", "fatal", 2, "2 patients in two splits", []),
    )
    verdict = judge(run_of(test=None, findings=findings))
    assert verdict.tone == "fatal"
    assert verdict.label.startswith("Not to be trusted")
    assert [r.title for r in verdict.reservations] == [
        "Patients in two splits",
        "Few patients",
        "Test was not read",
    ]


def test_few_patients_are_told_once() -> None:
    finding = Finding("few_patients", "warning", 1, "the audit's", [])
    (few,) = judge(run_of(patients=40, findings=(finding,))).reservations
    assert few.title == "Few patients"
    assert few.text.startswith("test has 20 patients with NORMAL: fewer than 30")


def test_synthetic_images_and_a_missing_audit_are_told() -> None:
    assert titles(run_of(data="phantom")) == ["Synthetic images"]
    assert titles(replace(run_of(), audit=None)) == ["No audit"]


def test_without_intervals_nobody_knows_how_sure_it_is() -> None:
    bare = replace(GOOD, intervals={}, no_interval=dict.fromkeys(GOOD.values, "4 patients"))
    (found,) = judge(run_of(bare, bare)).reservations
    assert found.title == "No intervals"
    assert found.text.endswith("not known: 4 patients.")
    assert "no interval: 4 patients" in judge(run_of(bare, bare)).numbers[0].note


def test_a_metric_that_is_absent_stands_with_its_reason() -> None:
    values = {k: v for k, v in GOOD.values.items() if k not in ("auroc", "recall", "tp", "fn")}
    lost = Metrics(values, {"auroc": "no image is PNEUMONIA", "recall": "none"}, {})
    verdict = judge(run_of(GOOD, lost))
    assert verdict.sentence.startswith("the ranking can't be judged, because no image is PNEUMONIA")
    first = verdict.numbers[0]
    assert (first.name, first.note, first.bar) == ("AUROC", "no image is PNEUMONIA", None)


def test_numbers_carry_their_interval_and_what_they_are_of() -> None:
    auroc, recall, specificity, error = judge(run_of()).numbers
    assert (auroc.text, auroc.span) == ("0.950", "0.910 to 0.990")
    assert auroc.note == "200 images of 100 patients"
    assert (recall.text, recall.note) == ("0.950", "95 of 100 PNEUMONIA images")
    assert (specificity.text, specificity.note) == ("0.900", "90 of 100 NORMAL images")
    assert specificity.bar is not None
    assert (specificity.bar.low, specificity.bar.high) == pytest.approx((0.86, 0.94))
    assert (error.text, error.bar) == ("0.020", None)
