"""Two processes over gloo on the processor, as `trainer=ddp` starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.places import REPEATABLE, TWO, Place, children, curve, make_place
from sklearn.metrics import roc_auc_score

from cxrlab.layout import BEST, LAST

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, replica: Path, cache_folder: Path
) -> dict[int, tuple[Place, Path]]:
    """One process and two, with the same settings: each in a place of its own, and the folder."""
    made = {}
    for count, options in ((1, ()), (2, TWO)):
        place = make_place(tmp_path_factory.mktemp("place"), replica, cache_folder)
        done = place.run(*REPEATABLE, *options, SPY_FILE=str(place.folder / "spy"))
        assert done.returncode == 0, done.stderr
        (output,) = [d.parent for d in place.folder.glob("outputs/*/*/metrics.csv")]
        made[count] = (place, output)
    return made


def test_two_processes_make_one_run_and_one_folder(both) -> None:
    place, output = both[2]
    runs = place.store.client().search_runs(["1"])
    assert [r.info.status for r in runs] == ["FINISHED"]
    assert runs[0].data.tags["cxrlab.device"].startswith("2 processes, each on CPU")
    assert len(list(place.folder.glob("outputs/*/*"))) == 1
    assert (output / BEST).is_file()
    assert (output / LAST).is_file()
    sent = place.store.client().get_metric_history(runs[0].info.run_id, "train/loss")
    assert len(sent) == len({m.step for m in sent}) == len(curve(output, "train/loss")) > 0


@pytest.mark.parametrize("name", ["train/loss", "val/loss", "val/auroc"])
def test_two_processes_learn_what_one_does_from_the_same_batches(both, name: str) -> None:
    one, two = (curve(both[count][1], name) for count in (1, 2))
    assert one.index.tolist() == two.index.tolist()
    assert np.allclose(one, two, atol=1e-4)


def test_the_shares_of_an_epoch_make_the_training_set_without_repeats(both) -> None:
    (_, one), (_, two) = ((count, both[count][0].spied().explode("index")) for count in (1, 2))
    assert set(two["rank"]) == {0, 1}
    for epoch, seen in two.groupby("epoch"):
        assert seen["index"].is_unique
        assert set(seen["index"]) == set(one[one["epoch"] == epoch]["index"])
    sizes = two.groupby(["epoch", "batch", "rank"]).size()
    assert set(sizes) == {4}
    seeds = two.drop_duplicates(["rank", "epoch", "batch"])["seed"]
    assert seeds.is_unique, "each share is changed by a draw of its own"


def test_validation_over_two_processes_equals_one_on_the_same_checkpoint(both) -> None:
    _, output = both[2]
    table = pd.read_csv(output / "predictions" / "val.csv")
    alone = roc_auc_score(table["target"], table["logit"])
    epoch = torch.load(output / BEST, map_location="cpu", weights_only=True)["epoch"]
    assert curve(output, "val/auroc").iloc[epoch] == pytest.approx(alone, abs=1e-6)


def test_test_metrics_equal_one_process_on_the_same_checkpoint(both, place: Place) -> None:
    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest
    from cxrlab.training.build import build_classifier, build_datamodule
    from cxrlab.training.fit import load_best
    from cxrlab.training.inference import predict_logits
    from cxrlab.training.rank import read_config

    _, output = both[2]
    config = read_config(output)
    data = prepare(load_manifest(config.data), config.data)
    classifier, _ = build_classifier(config, data)
    load_best(classifier, output)
    device = torch.device("cpu")
    loader = build_datamodule(config, data, classifier, device).whole("test")
    logits = predict_logits(classifier, loader, device, "test")
    table = pd.read_csv(output / "predictions" / "test.csv")
    assert np.allclose(table["logit"], logits, atol=1e-6)
    logged = curve(output, "test/auroc").iloc[0]
    assert logged == pytest.approx(roc_auc_score(table["target"], logits), abs=1e-6)


def test_where_another_process_dies_the_run_ends_as_failed(place: Place) -> None:
    done = place.run(*TWO, SPY_FILE=str(place.folder / "spy"), SPY_CRASH="1 2")
    assert done.returncode == 1
    assert "a cable came loose" in done.stderr
    (run,) = place.store.client().search_runs(["1"])
    assert run.info.status == "FAILED"
    assert "process 1 of 2 ended with status 1" in run.data.tags["cxrlab.error"]
    assert not children(place)


def test_ctrl_c_stops_both_after_the_same_step_with_a_checkpoint(
    place: Place,
) -> None:
    spy = {"SPY_FILE": str(place.folder / "spy")}
    process = place.start(*TWO, "trainer.max_epochs=200", **spy)
    deadline = time.monotonic() + 200
    while len(place.spied()) < 12 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (last,) = place.folder.rglob("last.ckpt")
    saved = torch.load(last, map_location="cpu", weights_only=False)
    steps = place.spied().groupby("rank").size()
    assert steps[0] == steps[1]
    assert saved["global_step"] in (steps[0], steps[0] - 1)
    (run,) = place.store.client().search_runs(["1"])
    assert run.info.status == "KILLED"
    assert not children(place)


def test_slurms_processes_make_one_run_and_a_requeued_job_goes_on_with_it(place: Place) -> None:
    """SLURM's part is played: its variables, and a scontrol that notes what it is asked."""
    programs = place.folder / "bin"
    programs.mkdir()
    scontrol = programs / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {place.folder}/scontrol\n")
    scontrol.chmod(0o755)
    job = {
        "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NNODES": "1",
        "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1",
        "SLURM_STEP_NODELIST": "127.0.0.1", "MASTER_ADDR": "127.0.0.1",
        "PATH": f"{programs}:{os.environ['PATH']}", "SPY_FILE": str(place.folder / "spy"),
    }  # fmt: skip
    options = ("trainer=slurm", "trainer.nodes=1", *TWO[1:])

    def start(*more: str, restarts: int) -> list[subprocess.Popen[str]]:
        return [
            place.start(
                *options, *more, **job, SLURM_RESTART_COUNT=str(restarts),
                SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank),
            )
            for rank in range(2)
        ]  # fmt: skip

    first = start("trainer.max_epochs=6", restarts=0)
    deadline = time.monotonic() + 200
    while len(place.spied()) < 12 and time.monotonic() < deadline:
        time.sleep(0.05)
    first[1].send_signal(signal.SIGUSR1)  # to one of them alone
    errors = [process.communicate(timeout=100)[1] for process in first]
    assert [process.returncode for process in first] == [130, 130], errors
    assert (place.folder / "scontrol").read_text().split() == ["requeue", "77"]
    (run,) = place.store.client().search_runs(["1"])
    assert run.info.status == "KILLED"

    second = start("trainer.max_epochs=6", restarts=1)
    ends = [process.communicate(timeout=200) for process in second]
    assert [process.returncode for process in second] == [0, 0], ends
    assert ends[0][0].strip().splitlines()[-1] == f"run: {run.info.run_id}"
    (again,) = place.store.client().search_runs(["1"])
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert [d.name for d in place.folder.glob("outputs/*")] == ["slurm-77"]
    seen = place.spied().groupby(["rank", "epoch", "batch"]).size()
    assert seen.eq(1).all() or seen.sum() - len(seen) <= 2, "at most the step in hand is repeated"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.batch_size=9"], "can't share it equally"),
        (["data.batch_size=8", "trainer.devices=8"], "8 processes and only"),
        (["trainer.nodes=2"], "take trainer=slurm"),
        (["trainer.overfit_batches=1"], "one process"),
    ],
)
def test_what_processes_cannot_share_is_refused(
    place: Place, overrides: list[str], words: str
) -> None:
    done = place.run(*TWO[:2], *overrides)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not place.store.client().search_runs(["1"])
