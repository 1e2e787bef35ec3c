"""Two processes together with what else may be chosen: they learn what one process does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.places import REPEATABLE, TWO, Place, children, curve, make_place

from cxrlab.layout import BEST
from cxrlab.sweeps.records import read_trials

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "options",
    [
        ("trainer.ema_decay=0.9",),
        ("data.image_size=64", "trainer.progressive=[[0.4,32],[0.7,48]]"),
        ("model.freeze_backbone=true", "model.feature_views=2", "augmentation=light"),
    ],
    ids=["averaged weights", "growing images", "features of a frozen backbone"],
)
def test_two_processes_learn_what_one_does(
    options: tuple[str, ...], tmp_path: Path, replica: Path, cache_folder: Path
) -> None:
    outputs = []
    for name, processes in (("one", ()), ("two", TWO)):
        (tmp_path / name).mkdir()
        place = make_place(tmp_path / name, replica, cache_folder)
        done = place.run(*REPEATABLE, *options, *processes)
        assert done.returncode == 0, done.stderr
        (run,) = place.store.client().search_runs(["1"])
        assert run.info.status == "FINISHED"
        assert not children(place)
        outputs += [file.parent for file in place.folder.glob("outputs/*/*/metrics.csv")]
    for metric in ("train/loss", "val/loss", "val/auroc"):
        one, two = (curve(output, metric) for output in outputs)
        assert one.index.tolist() == two.index.tolist()
        assert np.allclose(one, two, atol=1e-4), metric
    assert curve(outputs[0], "val/loss").nunique() > 1, "nothing was learned"
    first, second = (
        torch.load(output / BEST, map_location="cpu", weights_only=True)["state_dict"]
        for output in outputs
    )
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[key], second[key], atol=1e-4) for key in first)


@pytest.mark.timeout(900)
def test_each_trial_of_a_sweep_may_have_two_processes(place: Place) -> None:
    given = ("sweep=seeds", "sweep.seeds=2", "sweep.name=two", "trainer.max_epochs=1")
    done = place.run(*REPEATABLE, *TWO, *given)
    assert done.returncode == 0, done.stderr
    trials = read_trials(place.folder / "outputs" / "sweeps" / "two")
    assert [trial.status for trial in trials] == ["FINISHED", "FINISHED"]
    runs = place.store.client().search_runs(["1"], "tags.`cxrlab.kind` = 'trial'")
    assert {run.info.run_id for run in runs} == {trial.run_id for trial in trials}
    assert all(run.data.tags["cxrlab.device"].startswith("2 processes") for run in runs)
    assert not children(place)
