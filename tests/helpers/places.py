"""Places in which whole runs train in processes of their own, by the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cxrlab.tracking.store import Store, open_store

# Layer norm and no random changes: nothing but rounding tells two processes from one.
REPEATABLE = (
    "model.backbone=test_convnext", "augmentation=none", "model.dropout=0", "trainer.max_epochs=3",
    "optimizer=sgd", "optimizer.lr=0.01", "trainer.precision=32-true",
)  # fmt: skip
TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
# Imported by every process: notes what each trains on, and lets one die where asked to.
SPY = """
import os
if os.environ.get("SPY_FILE"):
    from cxrlab.training.callbacks import SeededSteps
    step = SeededSteps.on_train_batch_start
    def spied(self, trainer, module, batch, number):
        with open(f"{os.environ['SPY_FILE']}.{trainer.global_rank}", "a") as file:
            file.write(f"{trainer.current_epoch},{number},{batch['seed']},"
                       + " ".join(map(str, batch["index"].tolist())) + "\\n")
        if os.environ.get("SPY_CRASH") == f"{trainer.global_rank} {trainer.global_step}":
            raise ValueError("a cable came loose")
        return step(self, trainer, module, batch, number)
    SeededSteps.on_train_batch_start = spied
"""


@dataclass(frozen=True)
class Place:
    """A folder with a store, and how to train in it."""

    folder: Path
    store: Store
    start: Callable[..., subprocess.Popen[str]]

    def run(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*options, **variables)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(options, process.returncode, out, err)

    def spied(self) -> pd.DataFrame:
        """What each process trained on: rank, epoch, batch, seed, index."""
        rows = []
        for file in sorted(self.folder.glob("spy.*")):
            for line in file.read_text().splitlines():
                epoch, batch, seed, index = line.split(",")
                numbers = [int(i) for i in index.split()]
                rows.append((int(file.suffix[1:]), int(epoch), int(batch), int(seed), numbers))
        return pd.DataFrame(rows, columns=["rank", "epoch", "batch", "seed", "index"])


def make_place(folder: Path, replica: Path, cache: Path) -> Place:
    store = open_store(None, folder / "mlruns")
    (folder / "sitecustomize.py").write_text(SPY)
    options = [
        f"tracking.uri={store.uri}", "data=chest_xray", f"data.root={replica}",
        "data.image_size=32", "data.batch_size=8", "model.weights=none", "explanation=none",
        "tracking.log_model=false", "trainer.log_every_n_steps=1", "trainer.early_stopping=null",
        "evaluation.bootstrap=0",
    ]  # fmt: skip

    def start(*more: str, **variables: str) -> subprocess.Popen[str]:
        given = [] if any(o.startswith("resume=") for o in more) else options
        return subprocess.Popen(
            [sys.executable, "-m", "cxrlab.train", options[0], *given[1:], *more],
            cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={
                **os.environ, "CXRLAB_CACHE": str(cache), "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(folder), **variables,
            },
        )  # fmt: skip

    return Place(folder, store, start)


def children(place: Place) -> Sequence[str]:
    """Processes of this place that are still there."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [
        line
        for line in listed.stdout.splitlines()
        if str(place.folder) in line and "python" in line
    ]


def curve(output: Path, name: str) -> pd.Series:
    """A metric by step."""
    table = pd.read_csv(output / "metrics.csv")
    return table[table["name"] == name].set_index("step")["value"]
