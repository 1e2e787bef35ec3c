from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.compared import SETTINGS, TASKS, THREE, TWO, compare_runs, only, printed

from cxrlab.comparison.compare import Comparison
from cxrlab.comparison.contrasts import compared_metrics
from cxrlab.comparison.figures import draw_comparison
from cxrlab.comparison.files import comparison_metrics, write_comparison


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., Comparison]:
    return partial(compare_runs, tmp_path)


def test_the_table_is_tidy(compared, tmp_path: Path) -> None:
    comparison = compared(*SETTINGS)
    write_comparison(comparison, tmp_path)
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table.columns.tolist()[:11] == [
        "system", "metric", "value", "low", "high", "difference", "difference_low",
        "difference_high", "p", "p_adjusted", "test",
    ]  # fmt: skip
    one, other = comparison.systems
    assert not table.duplicated(["system", "metric", "test"]).any()
    first = table[table["system"] == one.name].set_index("metric")
    assert first.index.tolist() == compared_metrics(TWO)
    assert first[["difference", "p", "test"]].isna().all(axis=None)
    assert first.loc["auroc", "low"] == one.metrics.intervals["auroc"].low
    row = table[(table["system"] == other.name) & (table["test"] == "bootstrap")]
    row = row.set_index("metric").loc["auroc"]
    contrast = only(other, "auroc")
    assert row["value"] == other.metrics.values["auroc"]
    assert (row["difference"], row["p"]) == (contrast.difference, contrast.p)
    assert row["difference_high"] == contrast.interval.high
    assert table["test"].value_counts().to_dict() == {"bootstrap": 20, "mcnemar": 3, "delong": 1}


def test_the_json_says_everything_and_holds_no_nan(compared, tmp_path: Path) -> None:
    comparison = compared({}, {"backbone": "same scores"})
    write_comparison(comparison, tmp_path)
    text = (tmp_path / "comparison.json").read_text()
    assert "NaN" not in text
    plain = json.loads(text)
    assert plain["reference"] == comparison.systems[0].name
    assert (plain["images"], plain["patients"], plain["independent_images"]) == (200, 200, True)
    contrasts = plain["systems"][1]["contrasts"]
    auroc = next(c for c in contrasts if (c["metric"], c["test"]) == ("auroc", "bootstrap"))
    assert (auroc["difference"], auroc["p"]) == (0, None)
    assert auroc["reason"] == "every sample of patients gives the same difference"


def test_the_metrics_of_the_run_are_finite_and_named_by_letter(compared) -> None:
    comparison = compared(*SETTINGS)
    found = comparison_metrics(comparison)
    contrast = only(comparison.systems[1], "auroc")
    assert found["B-A/auroc"] == contrast.difference
    assert found["B-A/auroc_low"] == contrast.interval.low
    assert found["B-A/auroc_p"] == contrast.p
    assert found["B-A/auroc_p_delong"] == only(comparison.systems[1], "auroc", "delong").p
    assert found["A/recall"] == comparison.systems[0].metrics.values["recall"]
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize("kind", TASKS)
def test_a_pipe_gets_plain_lines_of_80_columns(compared, kind: str) -> None:
    comparison = compared(*SETTINGS, {"backbone": "c", "seed": 8}, task=TASKS[kind])
    text = printed(comparison)
    assert "\x1b" not in text
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for index, letter in ((1, "B"), (2, "C")):
        assert f"{letter} against A" in text
        contrast = only(comparison.systems[index], "auroc")
        ends = f"({contrast.interval.low:+.3f} to {contrast.interval.high:+.3f})"
        assert f"{contrast.difference:+.3f} {ends}" in text
    assert "p is adjusted for the number of systems" in text


def test_the_verdict_follows_the_adjusted_p(compared) -> None:
    settings = {"quality": 3.5, "seed": 5, "backbone": "resnet50"}
    better = " ".join(printed(compared({}, settings)).split())
    assert "B ranks better than A: ROC-AUC +0." in better
    assert "resnet50" in better
    worse = compared({"quality": 3.5, "backbone": "x"}, {"seed": 5, "backbone": "y"})
    assert "B ranks worse than A: ROC-AUC -0." in " ".join(printed(worse).split())
    same = compared({"backbone": "x", "seed": 1}, {"seed": 5, "backbone": "y"}, size=60)
    assert "The ROC-AUCs of B and A can't be told apart:" in " ".join(printed(same).split())


def test_names_are_no_markup(compared) -> None:
    comparison = compared({"backbone": "[red]x[/]"}, {"backbone": "[/y]", "seed": 2})
    text = printed(comparison)
    assert "[red]x[/]" in text
    assert "[/y]" in text


def test_validation_is_no_fair_ground(compared) -> None:
    comparison = replace(compared(*SETTINGS), split="val")
    assert "split=test is the comparison to report" in " ".join(printed(comparison).split())


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("count", [2, 4])
def test_the_figure_shows_every_system_and_difference(compared, kind: str, count: int) -> None:
    settings = [{"quality": 2 + i / 4, "seed": i, "backbone": f"$net{i}$"} for i in range(count)]
    task = TASKS[kind]
    comparison = compared(*settings, task=task)
    left, right = draw_comparison(comparison).axes
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    for label, system in zip(labels, comparison.systems, strict=True):
        assert system.name in label
        assert f"{system.metrics.values['auroc']:.3f}" in label
    rows = 10 if kind == "binary" else 13
    assert len(right.get_yticklabels()) == rows
    bars = [bar.get_segments()[0] for bar in right.collections]
    assert len(bars) == rows * (count - 1)
    contrast = only(comparison.systems[1], "auroc")
    assert bars[0][:, 0].tolist() == [contrast.interval.low, contrast.interval.high]


def test_the_area_below_a_mean_curve_is_the_macro_auroc(compared) -> None:
    comparison = compared(*SETTINGS, task=THREE)
    axes = draw_comparison(comparison).axes[0]
    curve = next(line for line in axes.lines if line.get_label().startswith("A:"))
    area = np.trapezoid(curve.get_ydata(), curve.get_xdata())
    assert area == pytest.approx(comparison.systems[0].metrics.values["auroc"], abs=2e-3)
