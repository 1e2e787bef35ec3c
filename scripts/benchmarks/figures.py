"""Every figure of the speed table, by its name: what competes, and how a number is made of it."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.turns import Figure, ratio, seconds_of, speeds, started

QUALITY = 0.985  # validation AUROC
_TRAIN = (sys.executable, "-m", "cxrlab.train")
_SCRIPTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Bench:
    """What all measurements share.

    Attributes:
        data: folder of `chest_xray/` and `chest_xray_originals/`.
        work: folder for caches, runs and logs.
        rounds: turns of each contestant.
        steps: pieces of work a turn.
        wanted: names of figures; None: all.
    """

    data: Path
    work: Path
    rounds: int
    steps: int
    wanted: frozenset[str] | None = None

    @property
    def real(self) -> tuple[str, ...]:
        """Overrides that choose the real dataset."""
        return ("data=chest_xray", f"data.root={self.data / 'chest_xray'}")

    @property
    def originals(self) -> Path:
        """Full-size files; 60 of them under many names, so that an epoch has some length."""
        folder = self.work / "originals"
        for file in sorted((self.data / "chest_xray_originals").rglob("*.jpeg")):
            for copy in range(20):
                link = folder / file.parent.name / f"{copy:02}_{file.name}"
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(file.resolve())
        return folder

    def race(
        self,
        contestants: dict[str, tuple[str, ...]],
        *,
        pieces: int | None = None,
        warm_up: int = 10,
    ) -> dict[str, list[float]]:
        """Units a second of each contestant, a value a round."""
        with started(contestants, self.work / "logs", warm_up) as running:
            found = speeds(running, pieces or self.steps, self.rounds)
        for name, values in found.items():
            print(f"  {name}: {statistics.median(values):.2f} a second", flush=True)
        return found


Figures = dict[str, Figure]


def training(bench: Bench) -> Figures:
    """The 224-pixel files: plain, cxrlab, and the step alone."""
    overrides = (*bench.real, "augmentation=standard", "explanation=none")
    files = str(bench.data / "chest_xray" / "train")
    contestants: dict[str, tuple[str, ...]] = {
        "cxrlab": ("cxrlab_training", *overrides),
        "limit": ("bare_training", *overrides),
    }
    beside_plain = bench.wanted is None or "training_over_plain" in bench.wanted
    if beside_plain:
        contestants["plain"] = ("plain_training", files, "0")
        contestants["plain, 2 workers"] = ("plain_training", files, "2")
    found = bench.race(contestants)
    figures = {"training_over_limit": ratio(found["cxrlab"], found["limit"])}
    if beside_plain:
        best_plain = _best(found["plain"], found["plain, 2 workers"])
        figures["training_over_plain"] = ratio(found["cxrlab"], best_plain)
    return figures


def training_originals(bench: Bench) -> Figures:
    """Full-size files, from the second epoch on: the first decodes, and is no turn."""
    folder = bench.originals
    found = bench.race(
        {
            "plain": ("plain_training", str(folder), "0"),
            "plain, 2 workers": ("plain_training", str(folder), "2"),
            "cxrlab": (
                "cxrlab_training", "data=image_folder", f"data.root={folder}", "audit=warn",
                "augmentation=standard", "explanation=none",
            ),
        }
    )  # fmt: skip
    best_plain = _best(found["plain"], found["plain, 2 workers"])
    return {"training_over_plain_originals": ratio(found["cxrlab"], best_plain)}


def time_to_quality(bench: Bench) -> Figures:
    """From the command to a validation AUROC of 0.985, each on the same split."""
    fast_seconds, plain_seconds = [], []
    for seed in range(max(1, bench.rounds // 3)):
        output = bench.work / f"fast_{seed}"
        start = time.time()
        _run(
            [*_TRAIN, "experiment=fast", *bench.real, "evaluation.test=false", f"seed={seed}",
             f"hydra.run.dir={output}", f"tracking.uri=sqlite:///{bench.work}/mlflow.db"]
        )  # fmt: skip
        fast_seconds.append(_reached(output / "metrics.csv") - start)
        script = _SCRIPTS / "benchmarks" / "plain_quality.py"
        shown = _run(
            [sys.executable, str(script), str(output / "data" / "manifest.csv"),
             str(bench.data / "chest_xray"), str(QUALITY), str(seed)]
        )  # fmt: skip
        plain_seconds.append(float(shown.split()[-1]))
        print(f"  fast {fast_seconds[-1]:.0f} s, plain {plain_seconds[-1]:.0f} s", flush=True)
    return {"time_to_quality_plain_over_fast": ratio(plain_seconds, fast_seconds)}


def _reached(metrics: Path) -> float:
    with metrics.open() as stream:
        for row in csv.DictReader(stream):
            if row["name"] == "val/auroc" and float(row["value"]) >= QUALITY:
                return float(row["time"]) / 1000
    raise RuntimeError(f"{metrics}: validation AUROC never reached {QUALITY}")


def head_trial(bench: Bench) -> Figures:
    """An epoch of plain against a whole trial of a head on features that are there."""
    overrides = (
        *bench.real, "explanation=none", "evaluation.test=false", "data.batch_size=256",
        "trainer.max_epochs=10", "tracking.log_model=false",
        # One store for all, as in a sweep; making one takes a second.
        f"tracking.uri=sqlite:///{bench.work}/mlflow.db",
    )  # fmt: skip
    found = bench.race(
        {
            "plain": ("plain_training", str(bench.data / "chest_xray" / "train"), "0"),
            "trials": ("head_trials", *overrides),
        },
        warm_up=2,
    )
    # Both train on what validation, a tenth, leaves.
    images = 0.9 * len(list((bench.data / "chest_xray" / "train").rglob("*.jpeg")))
    epochs = [images / speed for speed in found["plain"]]
    print(f"  a trial: {1 / statistics.median(found['trials']):.2f} s", flush=True)
    return {"plain_epoch_over_head_trial": ratio(found["trials"], [1 / s for s in epochs])}


def features(bench: Bench) -> Figures:
    """Features of a frozen backbone against the bare forward pass."""
    overrides = (*bench.real, "model.freeze_backbone=true")
    found = bench.race(
        {
            "features": ("cxrlab_features", *overrides),
            "limit": ("bare_inference", *overrides),
        }
    )
    return {"features_over_limit": ratio(found["features"], found["limit"])}


def attribution(bench: Bench) -> Figures:
    """Integrated Gradients of the same images by the same model."""
    checkpoint = str(_model(bench))
    found = bench.race(
        {
            "cxrlab": ("cxrlab_attribution", checkpoint, *bench.real),
            "captum": ("captum_attribution", checkpoint, "plain", *bench.real),
            "captum, best": ("captum_attribution", checkpoint, "best", *bench.real),
        },
        pieces=1 if bench.steps < 8 else 2,
        warm_up=1,
    )
    errors = {name: _errors(bench, name) for name in ("cxrlab", "captum")}
    for name, values in errors.items():
        print(f"  {name}: median completeness error {statistics.median(values):.4f}", flush=True)
    share = statistics.median(errors["cxrlab"]) / statistics.median(errors["captum"])
    return {
        "attribution_over_captum": ratio(found["cxrlab"], found["captum"]),
        "attribution_over_captum_best": ratio(found["cxrlab"], found["captum, best"]),
        "attribution_error_over_captum": Figure(share, share, share, 1),
    }


def _errors(bench: Bench, name: str) -> list[float]:
    lines = (bench.work / "logs" / f"{name}.log").read_text().splitlines()
    return [float(v) for line in lines if line.startswith("errors ") for v in line.split()[1:]]


def prediction(bench: Bench) -> Figures:
    """Full-size JPEG files to predictions.csv."""
    folder = bench.data / "chest_xray_originals"
    found = bench.race(
        {
            "cxrlab": ("cxrlab_prediction", str(_model(bench)), str(folder)),
            "plain": ("plain_prediction", str(folder), "0"),
            "plain, 2 workers": ("plain_prediction", str(folder), "2"),
        },
        pieces=2,
        warm_up=1,
    )
    best_plain = _best(found["plain"], found["plain, 2 workers"])
    return {"prediction_over_plain": ratio(found["cxrlab"], best_plain)}


def start_up(bench: Bench) -> Figures:
    """Seconds until help, until an error, and until the first step begins."""
    first = [
        sys.executable, str(_SCRIPTS / "benchmarks" / "first_step.py"), *bench.real,
        f"tracking.uri=sqlite:///{bench.work}/mlflow.db",
        f"hydra.run.dir={bench.work}/first", "trainer.progress_bar=false",
    ]  # fmt: skip
    return {
        "help_seconds": seconds_of([*_TRAIN, "--help"], bench.rounds),
        "config_error_seconds": seconds_of([*_TRAIN, "optimizer.lr=-1"], bench.rounds, status=2),
        "first_step_seconds": seconds_of(first, bench.rounds),
    }


def tracking(bench: Bench) -> Figures:
    """The share of the epochs in callbacks and logging, explanations on, by Lightning's hooks."""
    script = _SCRIPTS / "benchmarks" / "tracking_share.py"
    command = [sys.executable, str(script), *bench.real]
    # A run is two whole epochs: more of them would take longer than all the rest.
    shares = [float(_run(command).split()[-1]) for _ in range(min(3, bench.rounds))]
    return {"tracking_share": Figure.of(shares)}


def memory(bench: Bench) -> Figures:
    """Own memory and speed of training on 100,000 cached images, beside 5,000."""
    folder = bench.work / "noise"
    folder.mkdir(parents=True, exist_ok=True)
    resident: dict[str, list[float]] = {"5000": [], "100000": []}
    contestants = {count: ("cached_training", count, str(folder)) for count in resident}
    with started(contestants, bench.work / "logs", 5) as running:
        found = speeds(running, bench.steps, bench.rounds)
        for count, contestant in running.items():
            resident[count].append(contestant.resident_megabytes())
    (folder / "noise_100000.u8").unlink()
    print(f"  own megabytes: {resident}", flush=True)
    return {
        "resident_megabytes_100k": Figure.of(resident["100000"]),
        "resident_100k_over_5k": ratio(resident["100000"], resident["5000"]),
        "speed_100k_over_5k": ratio(found["100000"], found["5000"]),
    }


def _best(*contestants: list[float]) -> list[float]:
    """The contestant whose median is the highest."""
    return max(contestants, key=statistics.median)


def _model(bench: Bench) -> Path:
    """A trained model, made by `experiment=fast` where none is there yet."""
    output = bench.work / "fast_0"
    if not (output / "checkpoints" / "best.ckpt").is_file():
        _run(
            [*_TRAIN, "experiment=fast", *bench.real, "evaluation.test=false",
             f"hydra.run.dir={output}", f"tracking.uri=sqlite:///{bench.work}/mlflow.db"]
        )  # fmt: skip
    return output / "checkpoints" / "best.ckpt"


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout


MEASUREMENTS: dict[Callable[[Bench], Figures], tuple[str, ...]] = {
    start_up: ("help_seconds", "config_error_seconds", "first_step_seconds"),
    training: ("training_over_plain", "training_over_limit"),
    training_originals: ("training_over_plain_originals",),
    features: ("features_over_limit",),
    head_trial: ("plain_epoch_over_head_trial",),
    time_to_quality: ("time_to_quality_plain_over_fast",),
    attribution: (
        "attribution_over_captum", "attribution_over_captum_best", "attribution_error_over_captum",
    ),
    prediction: ("prediction_over_plain",),
    memory: ("resident_megabytes_100k", "resident_100k_over_5k", "speed_100k_over_5k"),
    tracking: ("tracking_share",),
}  # fmt: skip
