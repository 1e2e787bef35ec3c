"""Can the class be told without the lungs? Probes of the file, the exposure, the rim, 8 x 8 pixels.

A network takes the easiest way there is: Zech et al., Variable generalization performance of a
deep learning model to detect pneumonia in chest radiographs, PLOS Medicine 2018; DeGrave et al.,
AI for radiographic COVID-19 detection selects shortcuts over signal, Nature Machine Intelligence
2021. A probe here sees nothing but the suspect, on training images alone, and is scored on
patients that it was not fitted on.

The alarm is the lower end of the AUROC's 95 % interval, at 0.60. Measured on 10 cohorts of 800
phantoms each (`scripts/measure_audit.py shortcuts`), with the marker of `data.shortcut` in a
corner, the border's lower end was

    strength 0      0.36 to 0.45   no alarm
    strength 0.25   0.41 to 0.52   no alarm
    strength 0.50   0.55 to 0.66   alarm in 7 of 10
    strength 0.75   0.75 to 0.81   alarm in all
    strength 0.95   0.87 to 0.90   alarm in all

so the figure itself tells marked from clean cohorts at an AUROC of 1.00 from strength 0.5 on. 8 x 8
pixels hold a part of the disease too (lower end 0.57 to 0.67 without a marker), so they alarm at
0.90 only; below that their AUROC is the floor that a network has to beat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.data.audit import features
from cxrlab.data.audit.findings import ITEMS, Finding
from cxrlab.data.audit.probe import Area, feature_area, held_out_area, linear_model, tree_model
from cxrlab.data.prepare import PreparedData

ALARM, COARSE_ALARM = 0.60, 0.90

_IMAGES = 4000
_CLASSES = 20
_FEWEST_PATIENTS = 20  # of a class and of its rest; an interval of fewer says nothing
_TOGETHER = "all together"


@dataclass(frozen=True)
class Sample:
    """Training images that the probes see.

    Attributes:
        rows: (S,) of the manifest.
        thumbs: (S, 64, 64).
        facts: S rows.
        patient: (S,) number of the patient.
        classes: names and (S,) membership, 1, 0 or NaN.
    """

    rows: NDArray[np.int64]
    thumbs: NDArray[np.uint8]
    facts: pd.DataFrame
    patient: NDArray[np.int64]
    classes: list[tuple[str, NDArray[np.float32]]]

    def questions(self) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.int64]]]:
        """Each class with enough patients: name, membership, and the rows where it is known."""
        for name, member in self.classes:
            known = np.flatnonzero(~np.isnan(member))
            belongs = member[known] == 1
            sides = (self.patient[known[belongs]], self.patient[known[~belongs]])
            if min(len(np.unique(side)) for side in sides) >= _FEWEST_PATIENTS:
                yield name, belongs, known


def find_shortcuts(data: PreparedData) -> list[Finding]:
    """Probe at most 4,000 training images; one finding a suspect, information below its alarm."""
    sample = draw_sample(data)
    if not any(True for _ in sample.questions()):
        return []
    return [
        _finding(
            "shortcut_metadata",
            _table_areas(sample, features.metadata(sample.facts)),
            "the file alone ({feature})",
            "save all classes in one size and format, from the same devices",
        ),
        _finding(
            "shortcut_exposure",
            _table_areas(sample, features.exposure(sample.thumbs)),
            "the gray values alone ({feature})",
            "try data.preprocess.percentiles=[0.5,99.5] or a stronger augmentation",
        ),
        _finding(
            "shortcut_border",
            _areas(sample, features.border(sample.thumbs), "outer ring"),
            "the rim alone (outer eighth)",
            "look for letters, markers and collimation there, and crop or mask them",
        ),
        _finding(
            "shortcut_thumbnail",
            _areas(sample, features.coarse(sample.thumbs), "8 x 8 pixels"),
            "8 x 8 pixels alone",
            "framing and exposure differ between the classes; test on data from elsewhere",
            COARSE_ALARM,
        ),
    ]


def draw_sample(data: PreparedData) -> Sample:
    """The training images, or 4,000 of them by chance, the same ones each time."""
    rows = np.flatnonzero((data.manifest.table["split"] == "train").to_numpy())
    if len(rows) > _IMAGES:
        rows = np.sort(np.random.default_rng(0).choice(rows, _IMAGES, replace=False))
    table = data.manifest.table.iloc[rows]
    classes = list(data.manifest.task.memberships(table))
    if data.manifest.task.kind == "binary":
        classes = classes[1:]  # the other one is the same question
    classes.sort(key=lambda pair: -float(np.nansum(pair[1])))
    return Sample(
        rows=rows,
        thumbs=np.asarray(data.thumbs[data.rows[rows]]),
        facts=data.facts.iloc[rows],
        patient=np.asarray(pd.factorize(table["patient_id"])[0], np.int64),
        classes=classes[:_CLASSES],
    )


def _table_areas(sample: Sample, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Each column alone, and a tree of all of them."""
    found = []
    for name, member, known in sample.questions():
        patient, values = sample.patient[known], table.iloc[known]
        found += [
            _item(column, name, feature_area(member, values[column].to_numpy(float), patient))
            for column in table
        ]
        if table.shape[1] > 1:
            together = held_out_area(values.to_numpy(float), member, patient, tree_model)
            found.append(_item(_TOGETHER, name, together))
    return found


def _areas(sample: Sample, values: NDArray[np.float64], feature: str) -> list[dict[str, Any]]:
    found = []
    for name, member, known in sample.questions():
        held_out = held_out_area(values[known], member, sample.patient[known], linear_model)
        found.append(_item(feature, name, held_out))
    return found


def _item(feature: Any, name: str, found: Area) -> dict[str, Any]:
    ends = {"auroc": found.auroc, "low": found.low, "high": found.high}
    return {"feature": str(feature), "class": name, **{k: round(v, 4) for k, v in ends.items()}}


def _finding(
    check: str, items: list[dict[str, Any]], suspect: str, remedy: str, alarm: float = ALARM
) -> Finding:
    items.sort(key=lambda item: (-item["low"], item["feature"], item["class"]))
    if not items:
        same = "the training files do not differ in size, depth or format"
        return Finding.of(check, "info", same, [])
    best = items[0]
    alarms = sum(item["low"] >= alarm for item in items)
    found = Area(best["auroc"], best["low"], best["high"])
    source = suspect.format(feature=best["feature"])
    if not alarms:
        message = f"no alarm for {source}, which tells {best['class']} with {found}"
        return Finding(check, "info", 0, message, items[:ITEMS])
    message = (
        f"{best['class']} can be told from {source}: {found} on training images; a network may "
        f"learn it in place of disease: {remedy}"
    )
    return Finding(check, "warning", alarms, message, items[:ITEMS])
