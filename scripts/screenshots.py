"""Pictures of the MLflow UI for the README, from small runs on phantoms.

    python scripts/screenshots.py --output docs/images

Trains four runs and a sweep of four trials into a store of its own in a temporary folder, opens
`python -m cxrlab.ui` in a headless Chromium, and writes `ui_runs.png`, `ui_compare.png`,
`ui_sweep.png`, `ui_run.png` and `ui_report.png`. It needs a Chromium and `pip install -e ".[dev]"`,
and takes some minutes on 2 cores. What it clicks is what the tests of the UI click.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrlab.tracking.store import Store, experiment_id, open_store

ROOT = Path(__file__).resolve().parents[1]

# What differs comes first, as it does in the names of the runs.
RUNS = ("augmentation=strong", "augmentation=none", "optimizer.lr=3e-4", "loss.label_smoothing=0.1")
SMALL = ("data.images=300", "data.image_size=64", "trainer.max_epochs=6", "model.weights=phantom")
SWEEP = (
    "-m", "optimizer.lr=3e-4,1e-3", "augmentation=none,light", "sweep.name=first",
    "data.images=300", "data.image_size=64", "trainer.max_epochs=3", "model.weights=phantom",
    "explanation=none",
)  # fmt: skip
WIDTH = 1600
SETTLE = 3000  # milliseconds that charts take to fit a window of another size
EVALUATED = "metrics.`test/auroc` >= 0"  # trials of a sweep are not


@dataclass(frozen=True)
class Trained:
    """What is in the store.

    Attributes:
        store: the store.
        experiment: MLflow's number of the experiment.
        runs: names of the runs.
        best: id of the run that is shown.
        sweep: name of the sweep's run.
        trials: names of its trials.
    """

    store: Store
    experiment: str
    runs: tuple[str, ...]
    best: str
    sweep: str
    trials: tuple[str, ...]


def main() -> None:
    """Train, look, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cxrlab-screenshots-") as temporary:
        folder = Path(temporary)
        trained = train_all(folder)
        for file in take_all(trained, folder, chosen.output):
            print(file)


def train_all(folder: Path) -> Trained:
    """The runs, then the sweep."""
    store = open_store(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}", folder)
    for override in RUNS:
        _train(folder, store, override, *SMALL)
    _train(folder, store, *SWEEP)
    return found(store)


def _train(folder: Path, store: Store, *overrides: str) -> None:
    command = [sys.executable, "-m", "cxrlab.train", *overrides, f"tracking.uri={store.uri}"]
    command.append("tracking.log_model=false")
    environment = os.environ | {"CXRLAB_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")


def found(store: Store) -> Trained:
    """Names and numbers of what was trained."""
    client = store.client()
    experiment = experiment_id(store, "cxrlab")
    runs = client.search_runs([experiment], order_by=["start_time"])
    by_kind: dict[str, list[str]] = {"run": [], "sweep": [], "trial": []}
    for run in runs:
        by_kind[run.data.tags.get("cxrlab.kind", "run")].append(run.info.run_name)
    plain = [run for run in runs if "cxrlab.kind" not in run.data.tags]
    best = max(plain, key=lambda run: run.data.metrics["val/auroc"])
    return Trained(
        store=store,
        experiment=experiment,
        runs=tuple(by_kind["run"]),
        best=best.info.run_id,
        sweep=by_kind["sweep"][0],
        trials=tuple(by_kind["trial"]),
    )


def take_all(trained: Trained, folder: Path, output: Path) -> Sequence[Path]:
    """Open the UI and write the pictures."""
    sys.path.append(str(ROOT / "tests"))
    from helpers import mlflow_ui  # type: ignore[import-not-found]
    from helpers.browser import browse, free_port, serve  # type: ignore[import-not-found]

    port = free_port()
    command = [sys.executable, "-m", "cxrlab.ui", f"port={port}"]
    command.append(f"tracking.uri={trained.store.uri}")
    place = trained.experiment, trained.best
    taken: list[Path] = []
    with (
        serve(command, os.environ, f"http://127.0.0.1:{port}", folder / "ui.log") as url,
        browse(mlflow_ui.STORAGE, width=WIDTH) as page,
    ):

        def take(name: str, height: int) -> None:
            page.set_viewport_size({"width": WIDTH, "height": height})
            page.wait_for_timeout(SETTLE)
            taken.append(output / f"ui_{name}.png")
            page.screenshot(path=taken[-1])

        mlflow_ui.check_view(page, url, trained.experiment, [*trained.runs, trained.sweep])
        take("runs", 600)
        search, runs = EVALUATED, trained.runs
        mlflow_ui.check_comparison(page, url, trained.experiment, search, runs, "val/auroc")
        take("compare", 1060)
        mlflow_ui.check_children(page, url, trained.experiment, trained.sweep, trained.trials)
        take("sweep", 700)
        mlflow_ui.check_overview(page, url, *place, ["The whole report", "Finished"])
        take("run", 900)
        mlflow_ui.check_artifact(page, url, *place, "report.html")
        take("report", 900)
    return taken


if __name__ == "__main__":
    main()
