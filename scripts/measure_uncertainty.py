"""Which signal ranks a run's errors best: the share of images that has to be reviewed for them.

    python scripts/measure_uncertainty.py outputs/RUN
    python scripts/measure_uncertainty.py outputs/RUN outputs/RUN2 outputs/RUN3 --split test

For each image of a split: how near the decision is to the threshold, how far the looks of the run
(windows, mirror images) lie apart, and with several runs how far these do. Each signal orders the
images; printed are the area under the curve of risk over coverage (AURC, Geifman and El-Yaniv
2017; less is better, the least possible is that of an oracle), the share of errors among the
tenth that is least certain, and the error of the rest. Two classes alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

import cxrlab
from cxrlab.config.paths import cache_dir
from cxrlab.console import new_table, print_table
from cxrlab.data.cache import open_cache
from cxrlab.errors import UserError
from cxrlab.model.views import Views
from cxrlab.progress import progress
from cxrlab.serving.own import own_images
from cxrlab.serving.predictor import Predictor

FloatArray = NDArray[np.float64]
BATCH = 64
REVIEWED = 0.1


def main() -> None:
    """Score the images by every look of every run, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", help="a run's folder, id, prefix of one, or latest")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    options = parser.parse_args()
    runs = [cxrlab.load_run(run) for run in options.runs]
    predictors = [run.predictor for run in runs]
    if any(predictor.task.kind != "binary" for predictor in predictors):
        raise UserError("only runs of two classes have one threshold to be near to")
    pixels, target = images_of(runs[0].folder, options.split, predictors[0])
    looks = np.stack([looks_of(predictor, pixels) for predictor in predictors])
    table = new_table("signal")
    for heading in ("AURC", f"errors in {REVIEWED:.0%}", "error of the rest"):
        table.add_column(heading, justify="right")
    wrong, found = signals(looks, target, [p.point.cuts[0] for p in predictors])
    for name, certainty in {**found, "oracle": -wrong.astype(float)}.items():
        area, caught, rest = measure(wrong, certainty)
        table.add_row(name, f"{area:.4f}", f"{caught:.2f}", f"{rest:.4f}")
    share = f"{wrong.sum()} errors in {len(wrong)} images of {options.split}"
    print_table(f"{share}, {len(predictors)} runs", table, Console())


def images_of(
    folder: Path, split: str, predictor: Predictor
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Decoded images (N, S, S) of a run's split, and their classes (N,)."""
    config, manifest = own_images(folder, split)
    paths = manifest.table["path"].tolist()
    size, where = predictor.image_size, cache_dir(config.cache)
    cache = open_cache(manifest.root, paths, size, predictor.preprocess, where)
    read = np.flatnonzero(cache.rows >= 0)
    target = manifest.table["target"].to_numpy(np.int64)[read]
    return np.asarray(cache.pixels[cache.rows[read]]), target


@torch.inference_mode()
def looks_of(predictor: Predictor, pixels: NDArray[np.uint8]) -> FloatArray:
    """Logits (L, N) of every look that the run takes."""
    network = predictor.network
    if not isinstance(network, Views):
        return predictor.logits(pixels)[None]
    sides = (False, True) if network.mirror else (False,)
    ways = [(window, mirror) for window in network.windows for mirror in sides]
    alone = [Views(network.network, (w,), mirror=False).eval() for w, _ in ways]
    parts: list[list[FloatArray]] = [[] for _ in ways]
    with progress(len(pixels), "looking") as advance:
        for start in range(0, len(pixels), BATCH):
            taken = torch.from_numpy(pixels[start : start + BATCH]).to(predictor.device)
            batch = taken[:, None].float() / 255
            for way, (_, mirror) in enumerate(ways):
                seen = batch.flip(-1) if mirror else batch
                parts[way].append(alone[way](seen).double().cpu().numpy())
            advance(len(batch))
    return np.stack([np.concatenate(part) for part in parts])


def signals(
    looks: FloatArray, target: NDArray[np.int64], cuts: Sequence[float]
) -> tuple[NDArray[np.bool_], Mapping[str, FloatArray]]:
    """Which images are decided wrongly, and how certain each signal is of each.

    Args:
        looks: logits (R, L, N) by run and look.
        target: (N,) 0 or 1.
        cuts: threshold of each run, a probability.
    """
    cut = float(np.mean([np.log(c / (1 - c)) for c in cuts]))
    mean = looks.mean(axis=(0, 1))
    found = {"distance from the threshold": np.abs(mean - cut)}
    if looks.shape[1] > 1:
        found["spread of the looks"] = -looks.std(axis=1).mean(axis=0)
    if looks.shape[0] > 1:
        found["spread of the runs"] = -looks.mean(axis=1).std(axis=0)
    if looks.shape[0] * looks.shape[1] > 1:
        spread = looks.reshape(-1, looks.shape[2]).std(axis=0)
        found["distance over spread"] = np.abs(mean - cut) / (spread + 0.1)
    return (mean >= cut) != (target == 1), found


def measure(wrong: NDArray[np.bool_], certainty: FloatArray) -> tuple[float, float, float]:
    """AURC, the share of errors among the least certain tenth, and the error of the others."""
    ordered = wrong[np.argsort(-certainty, kind="stable")]
    risks = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    kept = len(ordered) - int(REVIEWED * len(ordered))
    caught = ordered[kept:].sum() / max(1, ordered.sum())
    return float(risks.mean()), float(caught), float(ordered[:kept].mean())


if __name__ == "__main__":
    main()
