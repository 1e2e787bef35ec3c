"""Searches by Optuna, of trials that take no time, and their study after an interruption."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from cxrlab.config.schema import Config
from cxrlab.errors import PrunedError, UserError
from cxrlab.sweeps import space
from cxrlab.sweeps.plan import Plan
from cxrlab.sweeps.records import Sweep, chosen
from cxrlab.sweeps.search import Search
from cxrlab.sweeps.space import distributions, extremes, parse_space
from cxrlab.sweeps.study import STUDY_FILE, JournalLock, open_study

ONE_KEY = (
    "sweep=optuna", "optimizer.lr=1e-3", "optimizer.weight_decay=0.01", "model.hidden=64",
    "loss.label_smoothing=0", "model.dropout=interval(0.0,0.9)",
)  # fmt: skip


def states(done) -> list[str]:
    study = open_study(done.sweep, done.folder)
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def test_study_and_folder_agree_and_the_search_finds_the_best(run_sweep, store) -> None:
    done = run_sweep(*ONE_KEY, "sweep.trials=15", "seed=1")
    assert done.status == 0, done.stderr
    study = open_study(done.sweep, done.folder)
    assert len(done.trials) == len(study.trials) == 15
    for record, trial in zip(done.trials, study.trials, strict=True):
        assert record.number == trial.number
        drawn = float(chosen(record.overrides, ["model.dropout"])["model.dropout"])
        assert drawn == trial.params["model.dropout"]
        assert record.values()["val/auroc"] == trial.value
    assert study.best_params["model.dropout"] == pytest.approx(0.3, abs=0.1)
    assert study.best_trial.number >= 5  # found, not hit at once
    runs = store.client().search_runs(["1"], filter_string="tags.`cxrlab.kind` = 'trial'")
    assert len(runs) == 15


def test_a_key_with_a_plain_value_is_fixed_and_not_searched(run_sweep) -> None:
    done = run_sweep(*ONE_KEY, "sweep.trials=2")
    assert done.sweep.varies == ("model.dropout",)
    assert all("optimizer.lr=1e-3" in record.overrides for record in done.trials)


def test_what_was_cut_off_is_repeated_with_the_same_parameters(run_sweep) -> None:
    def cut(config: Config) -> dict[str, float]:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(config.model.dropout)
        return {"val/auroc": config.model.dropout}

    seen: list[float] = []
    broken = run_sweep(*ONE_KEY, "sweep.trials=6", scores=cut)
    assert broken.status == 130
    assert states(broken) == ["COMPLETE"] * 3 + ["RUNNING"]
    whole = run_sweep(*ONE_KEY, "sweep.trials=6")
    assert whole.status == 0
    assert states(whole) == ["COMPLETE"] * 3 + ["FAIL"] + ["COMPLETE"] * 3
    key = ["model.dropout"]
    drawn = [chosen(record.overrides, key)["model.dropout"] for record in whole.trials]
    assert drawn[4] == drawn[3]
    assert len(set(drawn)) == 6
    more = run_sweep(*ONE_KEY, "sweep.trials=8")
    assert len(more.trials) == 9


def test_a_trial_that_ended_unheard_is_told_and_not_repeated(run_sweep) -> None:
    done = run_sweep(*ONE_KEY, "sweep.trials=2")
    study = open_study(done.sweep, done.folder)
    study.ask(distributions(parse_space(done.sweep.space, None)))  # number 2, running
    last = done.trials[1]
    folder = done.folder / "2"
    (folder / "config").mkdir(parents=True)
    (folder / "metrics.csv").write_text("name,step,value,time\nval/auroc,0,0.25,0\n")
    from dataclasses import replace

    replace(last, number=2, folder=folder).write()
    again = run_sweep(*ONE_KEY, "sweep.trials=3")
    assert again.status == 0
    assert len(again.trials) == 3
    assert open_study(done.sweep, done.folder).trials[2].value == 0.25


def test_a_queued_trial_that_was_cut_off_while_it_got_its_values_keeps_them(run_sweep) -> None:
    done = run_sweep(*ONE_KEY, "sweep.trials=1")
    study = open_study(done.sweep, done.folder)
    study.enqueue_trial({"model.dropout": 0.25})
    study.ask()  # and no value asked for
    again = run_sweep(*ONE_KEY, "sweep.trials=2")
    assert again.status == 0
    assert "model.dropout=0.25" in again.trials[-1].overrides


def test_a_session_that_was_killed_before_its_first_trial_leaves_no_draw_to_be_made_twice(
    tmp_path: Path,
) -> None:
    sweep = Sweep(
        name="s", session="1", kind="optuna", parent=None, fixed=(), varies=("a",),
        objective=("val/auroc",), direction=("maximize",), space={"a": "interval(0.0,1.0)"},
        prune=False,
    )  # fmt: skip
    plan = Plan((), {}, sweep.space)

    def session() -> Search:
        return Search(sweep, tmp_path, plan, seed=0, trials=8, width=2)

    first = session().next(None).jobs
    then = session()
    assert then.next(None).jobs == first
    more = (*then.next(None).jobs, *then.next(None).jobs)
    assert len({*first, *more}) == 6


def test_a_process_killed_in_the_middle_of_a_line_does_not_spoil_the_study(run_sweep) -> None:
    done = run_sweep(*ONE_KEY, "sweep.trials=2")
    file = done.folder / STUDY_FILE
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"op_code":6,"worker_id":"' + b"x" * 5000)
    again = run_sweep(*ONE_KEY, "sweep.trials=3")
    assert again.status == 0, again.stderr
    assert file.read_bytes().startswith(whole + b'{"')
    assert states(again) == ["COMPLETE"] * 3


@pytest.mark.parametrize("content", [b"", b"torn", b"a\n", b"a\ntorn", b"\n" + b"t" * 4096])
def test_the_journal_is_cut_after_its_last_whole_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / STUDY_FILE
    file.write_bytes(content)
    lock = JournalLock(file)
    lock.acquire()
    lock.release()
    assert file.read_bytes() == content[: content.rfind(b"\n") + 1]


def test_without_optuna_nothing_is_begun(run_sweep, store, monkeypatch) -> None:
    monkeypatch.setattr(space, "find_spec", lambda name: None)
    done = run_sweep(*ONE_KEY)
    assert done.status == 2
    assert done.stderr == (
        "error: sweep=optuna: Optuna is not installed; pip install 'cxrlab[optuna]'\n"
    )
    assert not done.folder.exists()


def test_failed_and_pruned_trials_count_and_are_told_apart(run_sweep, store) -> None:
    def uneven(config: Config) -> dict[str, float]:
        seen.append(config.model.dropout)
        if len(seen) == 2:
            raise PrunedError("ended after epoch 2")
        if len(seen) == 3:
            raise ValueError("no")
        return {"val/auroc": 0.5}

    seen: list[float] = []
    done = run_sweep(*ONE_KEY, "sweep.trials=4", scores=uneven)
    assert done.status == 1
    assert states(done) == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert [t.status for t in done.trials] == ["FINISHED", "PRUNED", "FAILED", "FINISHED"]
    killed = store.client().search_runs(["1"], filter_string="status = 'KILLED'")
    assert [r.data.tags["cxrlab.error"] for r in killed] == ["PrunedError: ended after epoch 2"]


def test_two_objectives_give_the_trials_that_no_other_beats(run_sweep) -> None:
    def scores(config: Config) -> dict[str, float]:
        return {"val/auroc": config.model.dropout, "val/ece": config.model.dropout**2}

    done = run_sweep(
        *ONE_KEY, "sweep.trials=4", "sweep.objective=[val/auroc,val/ece]",
        "sweep.direction=[maximize,minimize]", scores=scores,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    assert "no other beats in both" in done.stdout
    assert done.stdout.count("evaluation.test=true") == 4  # each trades one for the other


def test_another_space_may_not_take_the_name(run_sweep) -> None:
    run_sweep(*ONE_KEY, "sweep.trials=1")
    other = run_sweep(*ONE_KEY[:-1], "model.dropout=interval(0.0,0.5)", "sweep.trials=1")
    assert other.status == 2
    assert "interval(0.0,0.9)" in other.stderr
    assert "another sweep.name" in other.stderr


def test_spaces_become_distributions() -> None:
    d = optuna.distributions
    keys = {
        "a": "tag(log,interval(1e-4,1e-2))",
        "b": "interval(0.0,0.5)",
        "c": "null,64,128",
        "d": "choice(none,light)",
        "e": "range(16,64,16)",
        "f": "tag(log,int(interval(1,64)))",
    }
    assert distributions(parse_space(keys, None)) == {
        "a": d.FloatDistribution(1e-4, 1e-2, log=True),
        "b": d.FloatDistribution(0.0, 0.5),
        "c": d.CategoricalDistribution(("null", "64", "128")),
        "d": d.CategoricalDistribution(("none", "light")),
        "e": d.IntDistribution(16, 48, step=16),
        "f": d.IntDistribution(1, 64, log=True),
    }
    extreme = list(extremes(parse_space({"b": keys["b"], "c": keys["c"]}, None)))
    assert extreme == ["b=0.0", "b=0.5", "c=null", "c=64", "c=128"]


@pytest.mark.parametrize("expression", ["0.5", "interval(1,1)", "tag(log,interval(0,1))", "(("])
def test_what_is_no_space_is_refused(expression: str) -> None:
    with pytest.raises(UserError, match="a"):
        parse_space({"a": expression}, None)
