"""A finished run's predictions of a whole dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlab.config.datasets import DataBase
from cxrlab.config.paths import cache_dir
from cxrlab.data.cache import open_cache
from cxrlab.data.labels import relabel
from cxrlab.data.manifest import Manifest
from cxrlab.errors import UserError, warn
from cxrlab.evaluation.predictions import prediction_table
from cxrlab.layout import MANIFEST_FILE
from cxrlab.progress import progress
from cxrlab.serving.predictor import Predictor

_SEEN = ("train", "val")


def predict_dataset(
    predictor: Predictor, manifest: Manifest, known: frozenset[str], config: DataBase, batch: int
) -> pd.DataFrame:
    """The prediction table of a dataset, by the run's own preprocessing and operating point.

    Files that can't be read are left out, with a warning.

    Args:
        predictor: of the run.
        manifest: with the run's classes.
        known: SHA-256 of files to leave out, with a warning that counts them.
        config: where decoded images are kept.
        batch: images a forward pass.

    Raises:
        UserError: no image is left.
    """
    paths = manifest.table["path"].tolist()
    folder = cache_dir(config.cache)
    cache = open_cache(manifest.root, paths, predictor.image_size, predictor.preprocess, folder)
    readable = cache.rows >= 0
    seen = cache.facts["digest"].isin(known).to_numpy()
    if cache.bad:
        first, reason = next(iter(cache.bad.items()))
        warn(
            f"{len(cache.bad)} of {len(paths)} images of {manifest.name} can't be read and are "
            f"left out, first {first} ({reason}); replace or delete them"
        )
    if seen.any():
        warn(
            f"{int(seen.sum())} of {len(paths)} images of {manifest.name} were trained or "
            "validated on and are left out, for they would flatter the model; seen=keep takes them"
        )
    chosen = np.flatnonzero(readable & ~seen)
    if not chosen.size:
        raise UserError(
            f"{manifest.root}: of {len(paths)} images of {manifest.name} none is left to score: "
            f"{int((~readable).sum())} can't be read, {int(seen.sum())} are known to the run"
        )
    logits = []
    with progress(chosen.size, "predicting") as advance:
        for start in range(0, chosen.size, batch):
            rows = cache.rows[chosen[start : start + batch]]
            logits.append(predictor.logits(np.asarray(cache.pixels[rows])))
            advance(rows.size)
    return prediction_table(
        manifest.table.iloc[chosen].reset_index(drop=True),
        np.concatenate(logits),
        predictor.task,
        calibration=predictor.point.calibration,
        thresholds=predictor.point.cuts,
        report_columns=manifest.report_columns,
    )


def dataset_for(
    predictor: Predictor,
    manifest: Manifest,
    labels: Mapping[str, str | Sequence[str]] | None,
    split: str | None,
    config: DataBase,
) -> Manifest:
    """The images to score, as the split `test`, with the run's classes.

    Args:
        predictor: of the run.
        manifest: of the dataset.
        labels: as for `relabel`.
        split: of the dataset's own; None: all images.
        config: for `limit` and `split_seed`.

    Raises:
        UserError: the labels don't fit, or the dataset has no such split.
    """
    if split is not None:
        inside = manifest.table["split"] == split
        if not inside.any():
            names = sorted(set(manifest.table["split"]) - {""})
            raise UserError(
                f"split={split}: {manifest.name} has no such split of its own "
                f"({', '.join(names) or 'it has none'}); take split=null for all images"
            )
        manifest = manifest.with_table(manifest.table[inside])
    found = relabel(manifest, predictor.task, labels)
    found = found.with_table(found.table.assign(split="test"))
    return (
        found if config.limit is None else found.limited({"test": config.limit}, config.split_seed)
    )


def known_digests(output: Path) -> frozenset[str]:
    """SHA-256 of the files that a run was trained or validated on.

    Raises:
        UserError: the run's folder has no manifest, or one of an older version.
    """
    file = output / MANIFEST_FILE
    try:
        table = pd.read_csv(file, dtype=str, usecols=["split", "digest"])
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: can't tell which images the run was trained on ({error}); take seen=keep "
            "if the dataset shares none with it"
        ) from error
    return frozenset(table.loc[table["split"].isin(_SEEN), "digest"])
