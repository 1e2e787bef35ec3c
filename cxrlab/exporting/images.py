"""The images that an exported file is checked on: the run's own, or phantoms."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from cxrlab.config.datasets import DataConfig
from cxrlab.cores import cores
from cxrlab.data.images import UnreadableImageError, read_file
from cxrlab.data.phantom.cohort import stream
from cxrlab.data.sources import load_manifest
from cxrlab.errors import UserError, warn
from cxrlab.report.finished import FinishedRun
from cxrlab.serving.predictor import Predictor

FEWEST = 100
_SEED = 0


@dataclass(frozen=True)
class Images:
    """Decoded images, and what is known of them.

    Attributes:
        pixels: uint8 (N, S, S).
        rows: the manifest's rows of the first of them; phantoms, of which nothing is known, follow.
    """

    pixels: NDArray[np.uint8]
    rows: pd.DataFrame


def checking_images(run: FinishedRun, predictor: Predictor, most: int) -> Images:
    """Validation images of the run where its dataset is at hand, phantoms up to 100.

    Args:
        run: whose images.
        predictor: of the run; decodes as it does.
        most: so many validation images at most, drawn evenly.
    """
    try:
        found = split_images(run, predictor, "val", most)
    except UserError as error:
        warn(
            f"the run's validation images are not at hand ({error}), so exported files are "
            "checked on phantoms alone; bring the dataset back for its own images"
        )
        size = predictor.image_size
        found = Images(np.empty((0, size, size), np.uint8), pd.DataFrame())
    lacking = FEWEST - len(found.pixels)
    if lacking <= 0:
        return found
    return Images(np.concatenate([found.pixels, phantoms(predictor, lacking)]), found.rows)


def split_images(run: FinishedRun, predictor: Predictor, split: str, most: int) -> Images:
    """Images of a split of the run's dataset that can be read, drawn evenly.

    Raises:
        UserError: the dataset is not at hand, or none of its images.
    """
    root = _root(run)
    assert run.manifest is not None  # or there would be no root
    rows = run.manifest[run.manifest["split"] == split]
    rows = rows.sample(min(most, len(rows)), random_state=_SEED).sort_index()
    files = [root / path for path in rows["path"]]
    with ThreadPoolExecutor(cores()) as pool:
        decoded = list(pool.map(lambda file: _square(file, predictor), files))
    readable = [square is not None for square in decoded]
    squares = [square for square in decoded if square is not None]
    if not squares:
        raise UserError(f"{root} holds none of the run's {split} images")
    return Images(np.stack(squares), rows[readable].reset_index(drop=True))


def phantoms(predictor: Predictor, count: int) -> NDArray[np.uint8]:
    """Phantom radiographs, through the run's preprocessing: uint8 (count, S, S)."""
    drawn = [
        predictor.square(_png(case.render(predictor.image_size).image))
        for case in islice(stream(_SEED), count)
    ]
    return np.stack(drawn)


def _root(run: FinishedRun) -> Path:
    """The folder of the run's dataset; nothing is downloaded for it."""
    if run.manifest is None or "data" not in run.config:
        raise UserError(f"{run.folder} names no dataset; choose a run of this version")
    plain = dict(run.config["data"])
    if "download" in plain:
        plain["download"] = False
    try:
        config: DataConfig = TypeAdapter(DataConfig).validate_python(plain)
    except ValidationError as error:
        raise UserError(
            f"{run.folder}: its dataset is configured for another version of cxrlab"
        ) from error
    return load_manifest(config).root


def _square(file: Path, predictor: Predictor) -> NDArray[np.uint8] | None:
    try:
        return predictor.square(read_file(file), file.name)
    except UnreadableImageError:
        return None


def _png(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()
