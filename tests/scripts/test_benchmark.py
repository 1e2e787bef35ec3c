"""The benchmark's machinery; its figures are measured by hand, and guarded in CI."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import TARGETS, too_slow
from benchmarks import turns
from benchmarks.figures import MEASUREMENTS
from benchmarks.turns import Figure, ratio, speeds, started
from cxrlab.config.paths import conf_dir

SCRIPTS = conf_dir().parent / "scripts"

WORKER = """
import sys, time
while True:
    time.sleep(float(sys.argv[2]))
    print("a line of its own")
    print("mark", time.monotonic(), 10, flush=True)
"""
CONTRACT = {
    "training_over_plain", "training_over_plain_originals", "training_over_limit",
    "time_to_quality_plain_over_fast", "plain_epoch_over_head_trial", "features_over_limit",
    "attribution_over_captum", "prediction_over_plain", "help_seconds", "config_error_seconds",
    "first_step_seconds", "tracking_share", "resident_megabytes_100k",
}  # fmt: skip


@pytest.fixture
def _workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(turns, "CONTESTANTS", script)


@pytest.mark.usefixtures("_workers")
def test_the_faster_contestant_is_found_and_nobody_works_out_of_turn(tmp_path: Path) -> None:
    contestants = {"fast": ("work", "0.02"), "slow": ("work", "0.08")}
    with started(contestants, tmp_path / "logs", 1) as running:
        found = speeds(running, 5, 3)
        for contestant in running.values():
            time.sleep(0.3)
            resumed = time.monotonic()
            contestant._signal(signal.SIGCONT)
            contestant.mark()  # the piece that was under way may have been done
            assert contestant.mark()[0] > resumed
    assert 2 < ratio(found["fast"], found["slow"]).median < 5
    assert all(len(values) == 3 for values in found.values())


@pytest.mark.usefixtures("_workers")
def test_a_contestant_that_dies_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"work ended early; see .*broken.log"),
        started({"broken": ("work", "no number")}, tmp_path, 1),
    ):
        pass


def test_a_figure_is_the_median_of_ratios_of_a_round() -> None:
    found = ratio([2, 8, 3], [1, 2, 1])
    assert found == Figure(median=3, low=2, high=4, runs=3)


def test_every_figure_of_the_contract_has_a_measurement_and_a_target() -> None:
    measured = {name for names in MEASUREMENTS.values() for name in names}
    assert measured >= CONTRACT
    assert measured == set(TARGETS)


def test_the_guard_eases_targets_in_their_own_direction() -> None:
    found = {
        "training_over_plain": Figure(1.5, 1.5, 1.5, 1),
        "help_seconds": Figure(1.2, 1.2, 1.2, 1),
    }
    assert too_slow(found, 1.0) == ["training_over_plain", "help_seconds"]
    assert too_slow(found, 0.8) == []


def test_an_unknown_figure_is_named() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "benchmark.py"), "--only", "speed"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no figure ['speed']" in done.stderr


def test_a_time_counts_only_of_a_command_that_ends_as_it_should() -> None:
    command = [sys.executable, "-c", "raise SystemExit(2)"]
    assert turns.seconds_of(command, 1, status=2).median > 0
    with pytest.raises(RuntimeError, match="status 2"):
        turns.seconds_of(command, 1)


TINY = (
    "data=phantom", "data.images=60", "data.image_size=32", "data.batch_size=8",
    "model.weights=none", "explanation.panel_images=2", "explanation.steps=4",
    "explanation.max_steps=8",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("cxrlab_training", ("explanation=none",)),
        ("bare_training", ()),
        ("head_trials", ("explanation=none", "trainer.max_epochs=1")),
        ("cxrlab_features", ("model.freeze_backbone=true",)),
        ("bare_inference", ("model.freeze_backbone=true",)),
    ],
)
def test_contestants_of_the_package_work(name: str, more: tuple[str, ...], tmp_path: Path) -> None:
    overrides = [o for o in (*TINY, *more) if "explanation=none" not in more or "steps" not in o]
    overrides = [o for o in overrides if "explanation=none" not in more or "panel" not in o]
    with started({name: (name, *overrides)}, tmp_path / "logs", 1) as running:
        assert running[name].turn(2) > 0


@pytest.mark.slow
def test_the_first_step_and_the_share_of_tracking_are_found(tmp_path: Path) -> None:
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    script = str(SCRIPTS / "benchmarks" / "first_step.py")
    assert turns.seconds_of([sys.executable, script, *TINY, store], 1).median > 0
    assert not list((tmp_path / "outputs").rglob("test.csv"))
    script = str(SCRIPTS / "benchmarks" / "tracking_share.py")
    done = subprocess.run(
        [sys.executable, script, *TINY], capture_output=True, text=True, check=True
    )
    assert 0 < float(done.stdout.split()[-1]) < 1
