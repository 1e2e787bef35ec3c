"""The head of a sweep's page in MLflow."""

from __future__ import annotations

GRID = ("model.dropout=0.1,0.3", "augmentation=none,light")


def _note(store) -> str:
    (parent,) = store.client().search_runs(["1"], "tags.`cxrlab.kind` = 'sweep'")
    return parent.data.tags["mlflow.note.content"]


def test_it_names_the_best_trial_and_the_command_to_copy(run_sweep, store) -> None:
    done = run_sweep("-m", *GRID)
    assert done.status == 0, done.stderr
    first, best, _, heading, command = _note(store).split("\n\n")
    assert first == "**4 trials** over dropout, augmentation: 4 finished."
    assert best.startswith("Best: trial 2, val/auroc 0.9000: `dropout=0.3 augmentation=none`")
    assert heading == "The best trial, evaluated on test:"
    assert command.startswith("    python -m cxrlab.train ")
    assert "model.dropout=0.3" in command


def test_over_seeds_it_gives_mean_and_spread(run_sweep, store) -> None:
    done = run_sweep("sweep=seeds", "sweep.seeds=3")
    assert done.status == 0, done.stderr
    assert "Mean over 3 seeds: val/auroc " in _note(store)
    assert ", SD 0.0000." in _note(store)


def test_failed_trials_are_counted(run_sweep, store) -> None:
    def some_fail(config):
        if config.model.dropout > 0.2:
            raise RuntimeError("no")
        return {"val/auroc": 0.5}

    done = run_sweep("-m", "model.dropout=0.1,0.3", scores=some_fail)
    assert done.status == 1
    assert _note(store).startswith("**2 trials** over dropout: 1 finished, 1 failed.")
