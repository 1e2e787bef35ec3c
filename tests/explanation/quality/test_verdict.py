from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrlab.evaluation.metrics import Interval, Metrics
from cxrlab.explanation.cases import Cases
from cxrlab.explanation.quality.page import write_page
from cxrlab.explanation.quality.results import Result, Results
from cxrlab.explanation.quality.study import Study
from cxrlab.explanation.quality.summary import lesion_area, summarise
from cxrlab.explanation.quality.verdict import verdicts
from cxrlab.task import Task

GOOD = {
    "mass_in_mask": 0.6, "insertion_less_deletion": 0.5, "randomisation_similarity": 0.1,
    "border_share": 0.05, "marker_share": 0.01, "marker_pointing": 0.0,
}  # fmt: skip


def study_of(method: str = "gradcam", errors=(0.01, 0.02, 0.03), **columns: list[float]) -> Study:
    count = len(errors)
    measures = {"lesion_area": [0.05, 0.1, np.nan], **columns}
    return Study(
        method, np.ones((count, 4, 4), np.float32), np.array(errors), 0.05, 0.5,
        pd.DataFrame(measures), [None] * count, [], {},
    )  # fmt: skip


def results_of(
    study: Study | None = None, auroc: float = 0.9, low: float | None = 0.8, **values: float
) -> Results:
    table = pd.DataFrame({"patient_id": ["1", "2", "3"], "path": ["a", "b", "c"]})
    cases = Cases(Task.exclusive(("A", "B")), table, np.zeros((3, 4, 4), np.uint8), None, None)
    interval = {} if low is None else {"auroc": Interval(low, 1.0)}
    made = Result(study or study_of(), Metrics(GOOD | values, {}))
    floor = Result(study_of("chance"), Metrics({"insertion_less_deletion": 0.0}, {}))
    return Results(
        "run", "phantom", cases, Metrics({"auroc": auroc}, {}, interval), (made,), floor, {}
    )


def titles(results: Results, tone: str) -> list[str]:
    return [finding.title for finding in verdicts(results) if finding.tone == tone]


def test_good_explanations_are_in_order() -> None:
    found = verdicts(results_of())
    assert {finding.tone for finding in found} == {"ok"}
    (place,) = [finding for finding in found if "lesions" in finding.title]
    assert "8.0 times" in place.text  # 0.6 of the evidence on 0.075 of the image


@pytest.mark.parametrize(
    ("changes", "tone", "title"),
    [
        ({"auroc": 0.55, "low": 0.45}, "fatal", "The model has no skill here"),
        ({"auroc": 0.55, "low": None}, "fatal", "The model has no skill here"),
        ({"randomisation_similarity": 0.7}, "fatal", "gradcam: sanity check failed"),
        ({"marker_share": 0.5}, "fatal", "gradcam: shortcut found"),
        ({"marker_share": 0.1}, "warning", "gradcam: trace of a shortcut"),
        ({"marker_pointing": 0.9}, "fatal", "gradcam: shortcut found"),
        ({"marker_pointing": 0.2}, "warning", "gradcam: trace of a shortcut"),
        ({"border_share": 0.5}, "warning", "gradcam: evidence at the border"),
        ({"insertion_less_deletion": -0.1}, "warning", "gradcam: evidence that decides little"),
        ({"mass_in_mask": 0.05}, "warning", "gradcam: evidence outside the lesions"),
    ],
)
def test_each_fault_is_told_in_its_tone(changes: dict, tone: str, title: str) -> None:
    assert titles(results_of(**changes), tone) == [title]


def test_missed_completeness_and_maps_without_content_are_counted() -> None:
    study = replace(study_of(errors=(0.01, 0.2, np.inf)), unusable={2: "not finite"})
    found = [finding for finding in verdicts(results_of(study)) if finding.tone == "warning"]
    assert [finding.title for finding in found] == [
        "gradcam: completeness missed", "gradcam: maps without content",
    ]  # fmt: skip
    assert found[0].text.startswith("1 of 3 maps")
    assert "not finite" in found[1].text


def test_the_worst_comes_first_and_the_page_says_it(tmp_path) -> None:
    results = replace(
        results_of(auroc=0.5, low=0.4, border_share=0.5),
        failed={"rise": "<no> memory"},
    )
    tones = [finding.tone for finding in verdicts(results)]
    assert tones == sorted(tones, key=["fatal", "warning", "ok"].index)
    write_page(results, {}, 2000, tmp_path)
    page = (tmp_path / "quality.html").read_text()
    assert page.index("The model has no skill here") < page.index("evidence at the border")
    assert "&lt;no&gt; memory" in page
    assert "3 patients are fewer than 10" in page


def test_means_leave_out_what_is_unknown_and_have_intervals() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(40)
    values[::4] = np.nan
    hits = np.where(np.isnan(values), np.nan, 1.0)
    study = Study(
        "gradcam", np.ones((40, 2, 2), np.float32), np.full(40, np.nan), 0.0, 0.5,
        pd.DataFrame({"iou": values, "pointing_game": hits, "auprc": np.nan}),
        [None] * 40, [], {},
    )  # fmt: skip
    patients = np.repeat(np.arange(20), 2).astype(str)
    found = summarise(study, patients, 500)
    assert found.values["iou"] == pytest.approx(np.nanmean(values))
    assert found.intervals["iou"].low < found.values["iou"] < found.intervals["iou"].high
    # All hits: Clopper and Pearson, of 20 patients.
    assert found.intervals["pointing_game"].low == pytest.approx(0.025 ** (1 / 20))
    assert found.absent["auprc"] == "no case has it"
    assert "completeness_error" not in found.values
    assert lesion_area(study) is None


def test_completeness_is_a_median_and_the_worst_is_told() -> None:
    found = summarise(study_of(errors=(0.01, 0.02, 0.3)), np.array(["1", "2", "3"]), 0)
    assert found.values["completeness_error"] == pytest.approx(0.02)
    assert found.values["completeness_error_worst"] == pytest.approx(0.3)
    assert found.intervals == {}
