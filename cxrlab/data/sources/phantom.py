"""Built-in synthetic frontal chest radiographs, drawn on first use.

Population: none; every patient is a set of random numbers. One to four images a patient.

Labels: NORMAL and PNEUMONIA. An opacity is lobar, patchy or interstitial (column `pattern`), and
its exact mask lies beside the image.

Caveats: a model that reads these reads nothing of real radiographs. They test the framework and
the explanations, and offline users start from them.

Licence: Apache-2.0, as the package.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock

from cxrlab.config.paths import cache_dir
from cxrlab.config.schema import PhantomData
from cxrlab.data.manifest import Manifest
from cxrlab.data.phantom.cohort import Case, cohort, draw_case
from cxrlab.data.split import assign, holdout
from cxrlab.errors import UserError
from cxrlab.progress import track

CLASSES = ("NORMAL", "PNEUMONIA")
# A change of the renderer's pictures needs another number, or old caches would be found.
RENDERER = 1

_TABLE = "cases.csv"


def load(config: PhantomData) -> Manifest:
    """Draw the phantoms, or find them drawn, and split them by patient.

    Raises:
        UserError: the cache folder can't be written or the disk is full.
    """
    folder = _drawn(config)
    table = pd.read_csv(folder / _TABLE, dtype={"patient_id": str, "mask": str})
    table["mask"] = table["mask"].fillna("")
    table["split"] = "train"
    held_out = holdout(table, config.test_fraction, config.split_seed, stratify="pattern")
    table.loc[held_out, "split"] = "test"
    table = assign(
        table,
        fraction=config.val_fraction,
        folds=config.folds,
        which=config.fold,
        seed=config.split_seed,
        stratify="pattern",
    )
    return Manifest(config.name, folder, CLASSES, table, ("pattern", "severity"))


def _drawn(config: PhantomData) -> Path:
    parameters = {
        "renderer": RENDERER,
        **config.model_dump(
            include={"images", "prevalence", "difficulty", "shortcut", "phantom_seed", "image_size"}
        ),
    }
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir(config.cache) / "phantom" / key
    if not (folder / _TABLE).is_file():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                if not (folder / _TABLE).is_file():
                    _draw(config, folder)
        except OSError as error:
            problem = "the disk is full" if error.errno == errno.ENOSPC else "can't be written"
            raise UserError(
                f"{folder.parent}: {problem} ({error.strerror}); "
                "name another folder with data.cache=PATH or CXRLAB_CACHE"
            ) from error
    return folder


def _draw(config: PhantomData, folder: Path) -> None:
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    cases = [
        draw_case(
            config.phantom_seed,
            patient,
            image,
            prevalence=config.prevalence,
            difficulty=config.difficulty,
            shortcut=config.shortcut,
        )
        for patient, image in cohort(config.phantom_seed, config.images)
    ]
    try:
        for name in ("images", "masks"):
            (building / name).mkdir()
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(
                _write,
                cases,
                [config.image_size] * len(cases),
                [building] * len(cases),
                chunksize=8,
            )
            rows = list(track(drawn, total=len(cases), what="drawing phantoms"))
        pd.DataFrame(rows).to_csv(building / _TABLE, index=False)
        building.replace(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write(case: Case, size: int, folder: Path) -> dict[str, object]:
    phantom = case.render(size)
    name = f"p{case.patient:05d}_{case.image}.png"
    _save(folder / "images" / name, phantom.image)
    has_lesion = bool(phantom.lesion_mask.any())
    if has_lesion:
        _save(folder / "masks" / name, phantom.lesion_mask.astype(np.uint8) * 255)
    target = int(case.kind != "none")
    return {
        "path": f"images/{name}",
        "target": target,
        "label": CLASSES[target],
        "patient_id": f"p{case.patient:05d}",
        "mask": f"masks/{name}" if has_lesion else "",
        "pattern": case.kind,
        "severity": round(case.severity, 3),
    }


def _save(path: Path, pixels: np.ndarray) -> None:
    # imwrite returns False on a full disk; writing the bytes ourselves raises the reason.
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
