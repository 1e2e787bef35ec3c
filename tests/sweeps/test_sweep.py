"""Whole sweeps, of trials that take no time."""

from __future__ import annotations

import csv
import os
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from cxrlab.config.schema import Config
from cxrlab.layout import ID_FILE
from cxrlab.sweeps.records import LOCK_FILE, SWEEP_FILE, read_sweep
from cxrlab.sweeps.tags import sweep_tags, trial_tags

GRID = ("-m", "model.dropout=0.1,0.3", "augmentation=none,light")


def failing(config: Config) -> dict[str, float]:
    if config.model.dropout == 0.1:
        raise RuntimeError("no memory\nleft")
    return {"val/auroc": config.model.dropout}


def runs(store, **tags: str) -> list:
    found = store.client().search_runs(["1"])
    return [r for r in found if all(r.data.tags.get(k) == v for k, v in tags.items())]


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_trials_are_nested_below_one_parent_and_named_by_what_varies(run_sweep, store) -> None:
    done = run_sweep(*GRID, "seed=3")
    assert done.status == 0, done.stderr
    (parent,) = runs(store, **{"cxrlab.kind": "sweep"})
    trials = runs(store, **{"cxrlab.kind": "trial"})
    assert {t.data.tags["mlflow.parentRunId"] for t in trials} == {parent.info.run_id}
    assert {t.info.run_name for t in trials} == {
        "dropout=0.1 augmentation=none #0", "dropout=0.1 augmentation=light #1",
        "dropout=0.3 augmentation=none #2", "dropout=0.3 augmentation=light #3",
    }  # fmt: skip
    assert parent.data.params["model.dropout"] == "0.1,0.3"
    assert parent.data.params["seed"] == "3"
    assert parent.data.metrics["val/auroc_best"] == pytest.approx(0.9)
    assert {r.info.status for r in (parent, *trials)} == {"FINISHED"}
    assert last_line(done.stdout) == f"sweep: {parent.info.run_id}"
    assert not any("sweep.name" in t.data.params for t in trials)


def test_figures_and_the_table_are_on_the_parent(run_sweep, store) -> None:
    done = run_sweep(*GRID)
    (parent,) = runs(store, **{"cxrlab.kind": "sweep"})
    names = {f.path for f in store.client().list_artifacts(parent.info.run_id, "figures")}
    assert names == {
        "figures/objective.png", "figures/parallel_coordinates.png", "figures/importance.png"
    }  # fmt: skip
    rows = list(csv.DictReader((done.folder / "sweep.csv").open()))
    assert [(r["trial"], r["model.dropout"], r["augmentation"]) for r in rows] == [
        ("0", "0.1", "none"), ("1", "0.1", "light"), ("2", "0.3", "none"), ("3", "0.3", "light")
    ]  # fmt: skip
    assert [float(r["val/auroc"]) for r in rows] == pytest.approx([0.7, 0.7, 0.9, 0.9])


def test_the_best_trial_is_a_command_that_reads_test(run_sweep) -> None:
    done = run_sweep("-m", "model.dropout=0.1,0.3,0.2", "optimizer.lr=1e-4,3e-4", "seed=7")
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("python -m cxrlab.train")]
    words = shlex.split(line)[3:]
    assert words[1:] == ["seed=7", "model.dropout=0.3", "optimizer.lr=1e-4", "evaluation.test=true"]
    assert words[0].startswith("tracking.uri=")


def test_the_lowest_is_best_where_the_direction_says_so(run_sweep) -> None:
    done = run_sweep(*GRID, "sweep.direction=minimize")
    assert "model.dropout=0.1 augmentation=none evaluation.test=true" in done.stdout


def test_trials_leave_test_alone_unless_told_and_then_say_so(run_sweep) -> None:
    seen: list[bool] = []

    def scores(config: Config) -> dict[str, float]:
        seen.append(config.evaluation.test)
        return {"val/auroc": 1.0}

    assert "second validation" not in run_sweep("-m", "seed=0,1", scores=scores).stderr
    told = run_sweep("-m", "seed=0,1", "evaluation.test=true", scores=scores, name="t")
    assert seen == [False, False, True, True]
    assert "second validation" in told.stderr


def test_a_failing_trial_stops_no_other_and_the_exit_status_says_so(run_sweep, store) -> None:
    done = run_sweep(*GRID, scores=failing)
    assert done.status == 1
    assert [t.status for t in done.trials] == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    assert last_line(done.stderr).startswith("error: 2 of 4 trials failed")
    assert "RuntimeError: no memory left" in last_line(done.stderr)
    assert "Traceback" not in done.stderr
    assert "no memory" in (done.folder / "0" / "traceback.txt").read_text()
    assert "trial 1 failed: RuntimeError: no memory left" in done.stdout
    failed = [r for r in runs(store) if r.info.status == "FAILED"]
    assert [r.data.tags["cxrlab.error"] for r in failed] == ["RuntimeError: no memory left"] * 2
    (parent,) = runs(store, **{"cxrlab.kind": "sweep"})
    assert parent.info.status == "FINISHED"


def test_a_trial_that_fails_before_its_run_gets_one(run_sweep, store, monkeypatch) -> None:
    import cxrlab.tracking.record

    def broken(*_: object) -> None:
        raise OSError("no such device")

    monkeypatch.setattr(cxrlab.tracking.record, "open_configured_store", broken)
    done = run_sweep("-m", "seed=0,1")
    assert done.status == 1
    trials = runs(store, **{"cxrlab.kind": "trial"})
    assert sorted(t.info.run_name for t in trials) == ["seed=0 #0", "seed=1 #1"]
    assert {t.info.status for t in trials} == {"FAILED"}
    assert {t.data.tags["cxrlab.error"] for t in trials} == {"OSError: no such device"}
    (parent,) = runs(store, **{"cxrlab.kind": "sweep"})
    assert parent.info.status == "FAILED"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-m", "optimizer.lrr=1,2"), ["optimizer.lrr", "optimizer.lr"]),
        (("-m", "model.dropout=0.1,0.2,1.5"), ["model.dropout=1.5", "less than 1"]),
        (("-m", "augmentation=none,lite"), ["augmentation=lite", "light"]),
        (("-m", "seed=1,2", "sweep.objective=test/auroc"), ["val/auroc"]),
        (("-m", "seed=1,2", "sweep.direction=up"), ["sweep.direction"]),
        (("-m", "seed=1,2", "sweep.objective=[val/auroc,val/ece]"), ["sweep.direction"]),
        (("-m", "optimizer.lr=interval(1e-4,1e-2)"), ["optimizer.lr", "sweep=optuna"]),
        (("sweep=seeds", "seed=1,2"), ["seed=1,2", "leave it out"]),
        (("sweep=seeds", "sweep.seeds=1"), ["sweep.seeds=1", "at least 2"]),
        (("sweep=folds", "data.folds=null"), ["data.folds"]),
        (("-m", "resume=latest", "seed=1,2"), ["resume", "sweep.name"]),
        (("-m", "register=mine", "seed=1,2"), ["register", "not registered"]),
        (("sweep=optuna", "sweep.space={model.dropout: inteval(0,1)}"), ["sweep.space"]),
        (("sweep=optuna", "model.dropout=interval(0.5,0.1)"), ["interval"]),
        (("sweep=optuna", "model.dropout=interval(0.5,1.5)"), ["model.dropout=1.5"]),
        (("sweep=optuna", "optimizer.lr=tag(log,interval(0,1))"), ["above 0"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_said_before_the_first_trial(arguments, words, run_sweep, store) -> None:
    done = run_sweep(*arguments)
    assert done.status == 2, done.stderr
    assert last_line(done.stderr).startswith("error: ")
    for word in words:
        assert word in last_line(done.stderr)
    assert not done.trials
    assert not (done.folder / SWEEP_FILE).exists()
    assert not store.client().search_experiments(filter_string="name = 'cxrlab'")


def test_an_objective_that_no_trial_logs_ends_the_sweep_after_the_first(run_sweep) -> None:
    done = run_sweep("-m", "seed=0,1,2,3", "sweep.objective=val/aurok")
    assert done.status == 2
    assert "val/aurok" in last_line(done.stderr)
    assert "did you mean 'val/auroc'" in last_line(done.stderr)
    assert len(done.trials) == 1


def test_ctrl_c_ends_the_sweep_with_a_summary_and_it_goes_on(run_sweep, store) -> None:
    def interrupted(config: Config) -> dict[str, float]:
        if config.seed == 2:
            raise KeyboardInterrupt
        return {"val/auroc": 0.1 * config.seed}

    done = run_sweep("-m", "seed=0,1,2,3", scores=interrupted)
    assert done.status == 130
    assert [t.status for t in done.trials] == ["FINISHED", "FINISHED", "KILLED"]
    assert "seed=1 evaluation.test=true" in done.stdout
    assert "sweep.name=s" in done.stderr
    again = run_sweep("-m", "seed=0,1,2,3")
    assert again.status == 0
    assert [(t.number, t.status) for t in again.trials] == [
        (0, "FINISHED"), (1, "FINISHED"), (2, "KILLED"), (3, "FINISHED"), (4, "FINISHED")
    ]  # fmt: skip
    assert sum(t.overrides.count("seed=2") for t in again.trials) == 2
    rows = list(csv.DictReader((again.folder / "sweep.csv").open()))
    assert [r["trial"] for r in rows] == ["0", "1", "3", "4"], "what was run anew stands once"
    (parent,) = runs(store, **{"cxrlab.kind": "sweep"})
    assert parent.info.status == "FINISHED"
    assert not [r for r in runs(store) if r.info.status == "RUNNING"]


def test_sigterm_stops_a_sweep_as_ctrl_c_does(run_sweep, store) -> None:
    def asked(config: Config) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    before = signal.getsignal(signal.SIGTERM)
    done = run_sweep("-m", "seed=0,1", scores=asked)
    assert done.status == 130
    assert signal.getsignal(signal.SIGTERM) == before
    assert [t.status for t in done.trials] == ["KILLED"]
    assert {r.info.status for r in runs(store)} == {"KILLED"}
    assert "go on with: python -m cxrlab.train -m" in done.stderr


def test_runs_that_a_killed_process_had_not_noted_are_ended(run_sweep, store) -> None:
    """It may die between the moment a run is in MLflow and that when its id is on disk."""

    def interrupted(config: Config) -> dict[str, float]:
        raise KeyboardInterrupt

    done = run_sweep("-m", "seed=0,1", scores=interrupted)
    client, (trial,) = store.client(), done.trials
    (trial.folder / ID_FILE).unlink()
    lost = {
        "trial": trial_tags(done.sweep, trial.number),
        "parent": sweep_tags("s", "grid", done.folder),
        "elsewhere": sweep_tags("s", "grid", done.folder / "other"),
    }
    ids = {what: client.create_run("1", tags=tags).info.run_id for what, tags in lost.items()}
    again = run_sweep("-m", "seed=0,1")
    assert again.status == 0
    ended = {what: client.get_run(run_id).info.status for what, run_id in ids.items()}
    assert ended == {"trial": "KILLED", "parent": "KILLED", "elsewhere": "RUNNING"}
    assert again.trials[0].run_id == ids["trial"]


def test_a_trial_that_starts_when_its_sweep_went_on_elsewhere_does_nothing(run_sweep) -> None:
    """As one does that waited in a queue while the sweep's process was killed."""

    def scores(config: Config) -> dict[str, float]:
        folder = Path("outputs/sweeps/s").absolute()
        replace(read_sweep(folder), session="another").write(folder)
        return {"val/auroc": 0.5}

    done = run_sweep("-m", "seed=0,1,2", scores=scores)
    assert [t.number for t in done.trials] == [0]


def test_two_processes_at_one_sweep_are_refused(run_sweep, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "sweeps" / "s"
    folder.mkdir(parents=True)
    with FileLock(folder / LOCK_FILE):
        done = run_sweep("-m", "seed=0,1")
    assert done.status == 2
    assert done.stderr.startswith("error: sweep.name=s: another process is at this sweep")
    assert len(done.stderr.splitlines()) == 1


def test_more_seeds_are_added_to_those_that_are_done(run_sweep) -> None:
    seen: list[int] = []

    def scores(config: Config) -> dict[str, float]:
        seen.append(config.seed)
        return {"val/auroc": 0.5}

    for seeds in (2, 4):
        assert run_sweep("sweep=seeds", f"sweep.seeds={seeds}", scores=scores).status == 0
    assert seen == [0, 1, 2, 3]


def test_a_trial_that_failed_once_and_then_did_not_is_no_failure(run_sweep) -> None:
    assert run_sweep(*GRID, scores=failing).status == 1
    again = run_sweep(*GRID)
    assert again.status == 0, again.stderr
    assert len(again.trials) == 6
    assert len(list(csv.DictReader((again.folder / "sweep.csv").open()))) == 4


def test_a_finished_sweep_is_not_run_again_and_another_may_not_take_its_name(run_sweep) -> None:
    run_sweep("-m", "seed=0,1")

    def never(config: Config) -> dict[str, float]:
        raise AssertionError("ran again")

    assert run_sweep("-m", "seed=0,1", scores=never).status == 0
    other = run_sweep("-m", "seed=0,1", "model.dropout=0.5", scores=never)
    assert other.status == 2
    assert last_line(other.stderr).startswith(
        "error: sweep.name=s: that sweep began with fixed nothing, not model.dropout=0.5; take "
        "another sweep.name"
    )


def test_without_mlflow_the_folder_has_it_all(run_sweep, store) -> None:
    done = run_sweep(*GRID, scores=failing, tracked=False)
    assert done.status == 1
    assert done.sweep.parent is None
    assert {f.name for f in done.folder.iterdir() if f.suffix} >= {"sweep.json", "sweep.csv"}
    assert (done.folder / "figures" / "objective.png").stat().st_size > 0
    assert last_line(done.stdout) == f"sweep: {done.folder}"
    assert [e.name for e in store.client().search_experiments()] == ["Default"]


@pytest.mark.parametrize("kind", ["seeds", "folds"])
def test_repeats_are_aggregated(kind: str, run_sweep, store) -> None:
    def scores(config: Config) -> dict[str, float]:
        number = config.seed if kind == "seeds" else (config.data.fold or 0)
        return {"val/auroc": 0.8 + 0.01 * number, "test/auroc": 0.5}

    done = run_sweep(f"sweep={kind}", "sweep.seeds=3", "data.folds=3", "data.fold=0", scores=scores)
    assert done.status == 0, done.stderr
    assert len(done.trials) == 3
    (parent,) = runs(store, **{"cxrlab.kind": "sweep"})
    metrics = parent.data.metrics
    assert metrics["val/auroc_mean"] == pytest.approx(0.81)
    assert metrics["val/auroc_sd"] == pytest.approx(0.01)
    # t(0.975, 2) = 4.302653; variance of the mean: 1/3 of the SD's square, and for folds + 1/2
    half = 4.302653 * 0.01 * ((1 / 3) if kind == "seeds" else (1 / 3 + 1 / 2)) ** 0.5
    assert metrics["val/auroc_low"] == pytest.approx(0.81 - half)
    assert metrics["val/auroc_high"] == pytest.approx(0.81 + half)
    assert "test/auroc_mean" not in metrics
    assert "evaluated on test" not in done.stdout  # the best seed is luck, no choice


def test_configurations_are_compared_by_their_mean_over_seeds(run_sweep) -> None:
    def scores(config: Config) -> dict[str, float]:
        lucky = {(0.1, 0): 0.95, (0.1, 1): 0.5, (0.3, 0): 0.8, (0.3, 1): 0.8}
        return {"val/auroc": lucky[config.model.dropout, config.seed]}

    done = run_sweep("sweep=seeds", "sweep.seeds=2", "model.dropout=0.1,0.3", scores=scores)
    assert "model.dropout=0.3 evaluation.test=true" in done.stdout
