"""Built-in synthetic frontal chest radiographs, drawn on first use.

Population: none; every patient is a set of random numbers. One to four images a patient.

Labels: NORMAL and PNEUMONIA. An opacity is lobar, patchy or interstitial (column `pattern`), and
its exact mask lies beside the image, as does that of a planted marker (column `marker`).

Caveats: a model that reads these reads nothing of real radiographs. They test the framework and
the explanations, and offline users start from them.

Licence: Apache-2.0, as the package.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlab.config.datasets import PhantomData
from cxrlab.cores import cores
from cxrlab.data.manifest import UNASSIGNED, Manifest
from cxrlab.data.phantom.cohort import Case, cohort, draw_case
from cxrlab.data.sources.generated import generated, key_of, write_png
from cxrlab.progress import track
from cxrlab.task import Task

CLASSES = ("NORMAL", "PNEUMONIA")
# A change of what is drawn and written needs another number, or old caches would be found.
RENDERER = 2

_TABLE = "cases.csv"
_MASKS = ("mask", "marker")


def load(config: PhantomData) -> Manifest:
    """Draw the phantoms, or find them drawn; they have no official split.

    Raises:
        UserError: the cache folder can't be written or the disk is full.
    """
    parameters = {
        "renderer": RENDERER,
        **config.model_dump(
            include={"images", "prevalence", "difficulty", "shortcut", "phantom_seed", "image_size"}
        ),
    }
    folder = generated(
        config.cache, "phantom", key_of(parameters), _TABLE, lambda empty: _draw(config, empty)
    )
    table = pd.read_csv(folder / _TABLE, dtype={"patient_id": str, **dict.fromkeys(_MASKS, str)})
    table[list(_MASKS)] = table[list(_MASKS)].fillna("")
    table["split"] = UNASSIGNED
    return Manifest(
        config.name,
        folder,
        Task.exclusive(CLASSES),
        table,
        ("pattern", "severity"),
        stratify="pattern",
    )


def _draw(config: PhantomData, folder: Path) -> None:
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
    for name in ("images", *_MASKS):
        (folder / name).mkdir()
    with ProcessPoolExecutor(cores()) as pool:
        sizes, folders = [config.image_size] * len(cases), [folder] * len(cases)
        drawn = pool.map(_write, cases, sizes, folders, chunksize=8)
        rows = list(track(drawn, total=len(cases), what="drawing phantoms"))
    pd.DataFrame(rows).to_csv(folder / _TABLE, index=False)


def _write(case: Case, size: int, folder: Path) -> dict[str, object]:
    phantom = case.render(size)
    name = f"p{case.patient:05d}_{case.image}.png"
    write_png(folder / "images" / name, phantom.image)
    masks = dict(zip(_MASKS, (phantom.lesion_mask, phantom.marker_mask), strict=True))
    known = {kind: f"{kind}/{name}" for kind, mask in masks.items() if mask.any()}
    for kind, path in known.items():
        write_png(folder / path, masks[kind].astype(np.uint8) * 255)
    target = int(case.kind != "none")
    return {
        "path": f"images/{name}",
        "target": target,
        "label": CLASSES[target],
        "patient_id": f"p{case.patient:05d}",
        **{kind: known.get(kind, "") for kind in _MASKS},
        "pattern": case.kind,
        "severity": round(case.severity, 3),
    }
