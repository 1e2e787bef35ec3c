"""The images that `python -m cxrlab.explain` explains, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.validate import nearest
from cxrlab.data.manifest import Manifest
from cxrlab.data.masks import read_masks
from cxrlab.errors import UserError
from cxrlab.evaluation.predictions import scores
from cxrlab.explanation.selection import panel_explained, panel_indices
from cxrlab.task import Task

Wanted = int | Literal["all"] | Sequence[int | str]


@dataclass(frozen=True)
class Cases:
    """N images to explain.

    Attributes:
        task: what is predicted.
        table: N rows: `row` (of the predictions), `path`, `patient_id`, `explained` (index of the
            class or finding), its `probability`, and `target` and `decision` (class indices; of a
            finding 1 or 0, NaN where unknown).
        images: uint8 (N, S, S), as the network sees them.
        lesions: bool (N, S, S), True inside, of the images that truly have what is explained;
            empty where none is known; None where the dataset has no masks.
        markers: bool (N, S, S), the planted markers, in the same way.
    """

    task: Task
    table: pd.DataFrame
    images: NDArray[np.uint8]
    lesions: NDArray[np.bool_] | None
    markers: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def explained(self) -> NDArray[np.int64]:
        """(N,) class or finding whose logit is explained."""
        return np.array(self.table["explained"], dtype=np.int64)

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(N,) whether the decision is for what is explained."""
        decision = self.table["decision"].to_numpy(np.int64)
        if self.task.kind == "multiclass":
            return np.asarray(decision == self.explained)
        return decision == 1

    @property
    def patients(self) -> NDArray[np.str_]:
        """(N,) whose images they are."""
        return self.table["patient_id"].to_numpy(dtype=str)


def choose_rows(
    table: pd.DataFrame, strata: NDArray[np.int64], wanted: Wanted
) -> NDArray[np.int64]:
    """Rows of a prediction table.

    Args:
        table: N rows.
        strata: (N,) of each row, as `Manifest.strata` gives them.
        wanted: so many, of the strata in turn and each of another patient; `all`; or a list of
            rows and paths.

    Raises:
        UserError: a row or path is not in the table.
    """
    if wanted == "all":
        return np.arange(len(table))
    if isinstance(wanted, int):
        return np.array(panel_indices(table, strata, wanted), dtype=np.int64)
    row_of = {str(path): row for row, path in enumerate(table["path"])}
    return np.array([_row(case, row_of) for case in wanted], dtype=np.int64)


def _row(case: int | str, row_of: Mapping[str, int]) -> int:
    if isinstance(case, int):
        if not 0 <= case < len(row_of):
            raise UserError(f"cases: there is no row {case}; nearest valid: 0..{len(row_of) - 1}")
        return case
    if case not in row_of:
        raise UserError(
            f"cases: no image {case!r} among the {len(row_of)} predicted ones; "
            f"{nearest(case, row_of)}; give paths as in predictions.csv"
        )
    return row_of[case]


def case_table(rows: pd.DataFrame, task: Task, strata: NDArray[np.int64]) -> pd.DataFrame:
    """What is explained of some images: class 1 of two, the class decided for of more.

    Of findings, the rarest that is present, as the panel in training has it.

    Args:
        rows: N rows of a prediction table, with their row in its index.
        task: what is predicted.
        strata: (N,) of each row.

    Returns:
        The columns of `Cases.table`.
    """
    if task.kind == "multiclass":
        explained = rows["decision"].to_numpy(np.int64)
    else:
        explained = panel_explained(strata, task)
    chosen = np.arange(len(rows)), explained
    if task.kind == "multilabel":
        target = task.targets(rows)[chosen].astype(np.float64)
        decisions = rows[[f"decision_{name}" for name in task.classes]].to_numpy(np.int64)
        decision = decisions[chosen]
    else:
        target = task.targets(rows).astype(np.float64)
        decision = rows["decision"].to_numpy(np.int64)
    probability = scores(rows, task, "probability")
    return pd.DataFrame(
        {
            "row": rows.index.to_numpy(np.int64),
            "path": rows["path"].to_numpy(),
            "patient_id": rows["patient_id"].to_numpy(),
            "explained": explained,
            "probability": probability if probability.ndim == 1 else probability[chosen],
            "target": target,
            "decision": decision,
        }
    )


def known_masks(
    cases: pd.DataFrame, manifest: Manifest, size: int, preprocess: Mapping[str, Any]
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """Lesions and markers of `Cases`.

    Args:
        cases: the columns of `Cases.table`.
        manifest: holds a row for each of them.
        size: side S of the network's square, pixels.
        preprocess: how images became that square.
    """
    rows = manifest.table.set_index("path", drop=False).loc[cases["path"]].reset_index(drop=True)
    lesions = read_masks(manifest, rows, size, preprocess)
    if lesions is not None:
        # A mask outlines the disease, so that it is no answer to what speaks for another class.
        lesions &= _truly(cases, manifest.task)[:, None, None]
    return lesions, read_masks(manifest, rows, size, preprocess, "marker")


def _truly(cases: pd.DataFrame, task: Task) -> NDArray[np.bool_]:
    """(N,) whether what is explained is truly there, and is a disease."""
    target = cases["target"].to_numpy(np.float64)
    if task.kind == "multiclass":
        return np.asarray((target == cases["explained"].to_numpy()) & (target != 0))
    return np.asarray(target == 1)
