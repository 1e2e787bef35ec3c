"""What pruning saves of a search, and what it costs: the same trials with and without it.

    python scripts/measure_pruning.py --trials 24 --seeds 3
    python scripts/measure_pruning.py data=chest_xray trainer.max_epochs=10

Heads are trained on features of a frozen backbone that are computed before the clock starts. The
first trials of two searches with one seed are the same; from the first pruned one on their samplers
have seen different values, so that several seeds are needed to tell what pruning does from luck.
Validation alone is read.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from cxrlab.console import new_table, print_table
from cxrlab.layout import METRICS_FILE
from cxrlab.sweeps.records import TrialRecord, read_sweep, read_trials
from cxrlab.sweeps.results import best_first, objectives

OPTIONS = (
    "model.freeze_backbone=true", "trainer.max_epochs=10", "trainer.early_stopping=null",
    "explanation=none", "tracking=none", "evaluation.bootstrap=0", "trainer.progress_bar=false",
)  # fmt: skip

PLACES = {"CXRLAB_DATA", "CXRLAB_WEIGHTS", "CXRLAB_CACHE"}


@dataclass(frozen=True)
class Measured:
    """One search.

    Attributes:
        seed: of the sampler and of every trial.
        prune: whether trials were ended early.
        trials: that ended, whole or pruned.
        pruned: how many of them early.
        epochs: of all trials together.
        seconds: from the search's start to its end, which other work on the machine lengthens.
        computing: seconds of processor time, which it hardly does.
        best: the best value of the objective on validation.
    """

    seed: int
    prune: bool
    trials: int
    pruned: int
    epochs: int
    seconds: float
    computing: float
    best: float


def main() -> None:
    """Read the command line, measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--trials", type=int, default=24, help="trials of each search")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each kind")
    parser.add_argument("overrides", nargs="*", help="of cxrlab.train, such as data=chest_xray")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        found = measure(arguments.trials, arguments.seeds, arguments.overrides, Path(folder))
    show(found)


def measure(trials: int, seeds: int, overrides: Sequence[str], folder: Path) -> list[Measured]:
    """Search with and without pruning, by each seed.

    Args:
        trials: of each search.
        seeds: how many, from 0 on.
        overrides: of `cxrlab.train`.
        folder: to work in.
    """
    # Decoded images and features, which all searches share.
    _train(["trainer.max_epochs=1", "evaluation.test=false"], overrides, folder)
    return [
        search(seed, prune, trials, overrides, folder)
        for seed in range(seeds)
        # In turn the first, so that a machine that slows down favours neither.
        for prune in ((False, True) if seed % 2 else (True, False))
    ]


def search(seed: int, prune: bool, trials: int, overrides: Sequence[str], folder: Path) -> Measured:
    """Run one search."""
    name = f"seed{seed}-{'pruned' if prune else 'whole'}"
    own = ["sweep=optuna", f"sweep.name={name}", f"sweep.trials={trials}", f"seed={seed}"]
    began, computed = time.perf_counter(), _computed()
    _train([*own, f"sweep.prune={str(prune).lower()}"], overrides, folder)
    seconds, computing = time.perf_counter() - began, _computed() - computed
    output = folder / "outputs" / "sweeps" / name
    sweep, records = read_sweep(output), read_trials(output)
    assert sweep is not None
    (best, *_) = objectives(sweep, best_first(sweep, records)[0]) or (float("nan"),)
    return Measured(
        seed=seed,
        prune=prune,
        trials=sum(record.status in ("FINISHED", "PRUNED") for record in records),
        pruned=sum(record.status == "PRUNED" for record in records),
        epochs=sum(map(_epochs, records)),
        seconds=seconds,
        computing=computing,
        best=best,
    )


def _computed() -> float:
    """Seconds of processor time of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _train(own: Sequence[str], overrides: Sequence[str], folder: Path) -> None:
    # Relative to where the user is, and not to the folder of the search.
    places = {name: str(Path(os.environ[name]).absolute()) for name in PLACES & os.environ.keys()}
    command = [sys.executable, "-m", "cxrlab.train", *OPTIONS, *own, *overrides]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | places, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")


def _epochs(record: TrialRecord) -> int:
    """Whole epochs of a trial, by the rate that is logged once in each."""
    file = record.folder / METRICS_FILE
    if not file.is_file():
        return 0
    with file.open(encoding="utf-8", newline="") as lines:
        return sum(row["name"] == "lr" for row in csv.DictReader(lines))


def show(found: Sequence[Measured]) -> None:
    """Print a row a search, in the order of seeds."""
    table = new_table("seed")
    for heading in ("pruning", "trials", "pruned", "epochs", "seconds", "CPU s", "best val/auroc"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in sorted(found, key=lambda measured: (measured.seed, measured.prune)):
        table.add_row(
            str(one.seed), "on" if one.prune else "off", str(one.trials), str(one.pruned),
            str(one.epochs), f"{one.seconds:.0f}", f"{one.computing:.0f}", f"{one.best:.4f}",
        )  # fmt: skip
    print_table("Pruning", table, Console())


if __name__ == "__main__":
    main()
