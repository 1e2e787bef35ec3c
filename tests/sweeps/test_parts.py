"""Numbers and names of a sweep, against values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.sweeps.figures import place_values
from cxrlab.sweeps.importance import importances, share_alone
from cxrlab.sweeps.records import Sweep, TrialRecord, read_sweep, read_trials, repeatable, shown
from cxrlab.sweeps.results import best, best_first, mean_interval


def sweep(**changed) -> Sweep:
    values = {
        "name": "s", "session": "1", "kind": "grid", "parent": None, "fixed": (),
        "varies": ("a.x", "b"), "objective": ("val/auroc",), "direction": ("maximize",),
        "space": {}, "prune": False,
    }  # fmt: skip
    return Sweep(**{**values, **changed})


def trial(folder: Path, number: int, *overrides: str, status="FINISHED", **metrics) -> TrialRecord:
    own = folder / str(number)
    own.mkdir(parents=True, exist_ok=True)
    rows = [f"val/{name},0,{value},0" for name, value in metrics.items()]
    (own / "metrics.csv").write_text("\n".join(["name,step,value,time", *rows, ""]))
    return TrialRecord(number, overrides, status, 0.0, own, seconds=1.0)


def test_keys_are_shortened_unless_they_would_look_alike() -> None:
    one = sweep(varies=("optimizer.lr", "augmentation"))
    assert one.trial_name(["optimizer.lr=1e-4", "+augmentation=light", "seed=1"], 3) == (
        "lr=1e-4 augmentation=light #3"
    )
    alike = sweep(varies=("optimizer.name", "scheduler.name"))
    assert alike.label(["optimizer.name=sgd", "scheduler.name=none"]) == (
        "optimizer.name=sgd scheduler.name=none"
    )
    assert shown("0.004430375245218269") == "0.00443"
    assert shown("1e-4") == "1e-4"


def test_what_is_the_sweeps_own_is_not_part_of_a_repeated_run() -> None:
    given_ = ["sweep=optuna", "sweep.trials=3", "evaluation.test=false", "evaluation.bootstrap=0",
              "~debug", "+sweeper=1"]  # fmt: skip
    assert repeatable(given_) == ["evaluation.bootstrap=0", "~debug", "+sweeper=1"]


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    one = trial(tmp_path, 2, "a.x=1").ended("FAILED", "ValueError: no", 3.5)
    one.write()
    sweep(space={"a.x": "1,2"}).write(tmp_path)
    assert read_trials(tmp_path) == [one]
    assert read_sweep(tmp_path) == sweep(space={"a.x": "1,2"})


def test_the_best_is_the_highest_or_lowest_finished_one(tmp_path: Path) -> None:
    records = [
        trial(tmp_path, 0, auroc=0.7),
        trial(tmp_path, 1, auroc=0.9),
        trial(tmp_path, 2, auroc=0.9),
        trial(tmp_path, 3, auroc=0.99, status="PRUNED"),
        trial(tmp_path, 4, auroc=math.nan),
        trial(tmp_path, 5, loss=1),
    ]
    assert [r.number for r in best_first(sweep(), records)] == [1, 2, 0]
    assert [r.number for r in best(sweep(direction=("minimize",)), records)] == [0]


def test_of_two_objectives_the_front_is_best(tmp_path: Path) -> None:
    points = [(0.9, 0.3), (0.8, 0.1), (0.8, 0.2), (0.7, 0.1), (0.9, 0.3)]
    records = [trial(tmp_path, n, auroc=a, ece=e) for n, (a, e) in enumerate(points)]
    two = sweep(objective=("val/auroc", "val/ece"), direction=("maximize", "minimize"))
    assert [r.number for r in best(two, records)] == [0, 4, 1]


def test_mean_sd_and_interval() -> None:
    # 1, 2, 3: mean 2, SD 1, t(0.975, 2) = 4.302653
    told = mean_interval([1, 2, 3])
    assert (told["mean"], told["sd"]) == (2, 1)
    assert told["high"] - 2 == pytest.approx(4.302653 / math.sqrt(3))
    folds = mean_interval([1, 2, 3], folds=True)
    assert folds["high"] - 2 == pytest.approx(4.302653 * math.sqrt(1 / 3 + 1 / 2))
    assert mean_interval([4.0]) == {"mean": 4.0}


def test_a_key_alone_explains_what_lies_between_its_levels() -> None:
    # a: means 1 and 3 about 2, so 4 of the total 4 + 0; b: means 2 and 2, nothing
    assert share_alone(["x", "x", "y", "y"], [1, 1, 3, 3]) == pytest.approx(1)
    assert share_alone(["x", "y", "x", "y"], [1, 1, 3, 3]) == pytest.approx(0)
    # x: 0, 2; y: 2, 4: between 4 * 1, total 4 + 0 + 0 + 4
    assert share_alone(["x", "x", "y", "y"], [0, 2, 2, 4]) == pytest.approx(0.5)
    assert share_alone(["x", "y"], [1, 1]) == 0


def test_importance_needs_three_trials_that_differ(tmp_path: Path) -> None:
    def grid(*values: float) -> list[TrialRecord]:
        return [
            trial(tmp_path, n, f"a.x={n % 2}", f"b={n // 2}", auroc=value)
            for n, value in enumerate(values)
        ]

    assert importances(sweep(), grid(0.5, 0.6), tmp_path) == {}
    assert importances(sweep(), grid(0.5, 0.5, 0.5), tmp_path) == {}
    shares = importances(sweep(), grid(0.5, 0.5, 0.8, 0.8), tmp_path)
    assert list(shares) == ["b", "a.x"]
    assert shares == pytest.approx({"b": 1, "a.x": 0})


@given(st.lists(st.sampled_from("pqr"), min_size=2, max_size=20), st.randoms())
def test_a_share_lies_between_0_and_1(levels, random) -> None:
    assert 0 <= share_alone(levels, [random.random() for _ in levels]) <= 1


def test_values_have_their_place_on_an_axis() -> None:
    heights, ticks = place_values(["1e-4", "1e-3", "1e-2"])
    np.testing.assert_allclose(heights, [0, 0.5, 1])
    assert list(ticks) == ["1e-4", "1e-3", "1e-2"]
    np.testing.assert_allclose(place_values(["0", "1", "4"])[0], [0, 0.25, 1])
    np.testing.assert_allclose(place_values(["none", "light", "none"])[0], [1, 0, 1])
    np.testing.assert_allclose(place_values(["5", "5"])[0], [0.5, 0.5])
