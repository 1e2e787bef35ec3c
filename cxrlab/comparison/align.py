"""The same images, in the same order, of the prediction tables of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

from cxrlab.errors import UserError, warn
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.task import Task


class Predicted(Protocol):
    """A run with predictions."""

    @property
    def label(self) -> str:
        """What messages call it."""

    @property
    def evaluation(self) -> Evaluation:
        """Its predictions."""


def common_images(runs: Sequence[Predicted], split: str) -> list[pd.DataFrame]:
    """Cut the runs' prediction tables of a split down to the images that all of them have.

    Images are the same where their path is. What only some runs have is left out with a warning,
    as is how the others group images into patients where they do so otherwise than the first.

    Args:
        runs: one or more.
        split: `val` or `test`.

    Returns:
        A table a run, in the order of the first one's images.

    Raises:
        UserError: a run lacks the split or names an image twice, the runs answer different
            questions, share no image, or an image's truth differs.
    """
    first = runs[0]
    for run in runs:
        _check_task(first, run)
        _check_table(run, split)
    tables = [run.evaluation.tables[split].set_index("path", drop=False) for run in runs]
    shared = [path for path in tables[0].index if all(path in table.index for table in tables)]
    if not shared:
        raise UserError(
            f"{first.label} and {', '.join(run.label for run in runs[1:])} have no image of "
            f"{split} in common; compare runs on the same dataset and split"
        )
    for run, table in zip(runs, tables, strict=True):
        if len(shared) < len(table):
            warn(
                f"{len(table) - len(shared)} of {len(table)} images of {split} of {run.label} are "
                "not in all runs and are left out; compare runs on the same data to use them"
            )
    chosen = [table.loc[shared].reset_index(drop=True) for table in tables]
    for run, table in zip(runs[1:], chosen[1:], strict=True):
        _check_truth(first, run, chosen[0], table)
        _compare_patients(first, run, chosen[0], table)
    return chosen


def _check_task(first: Predicted, run: Predicted) -> None:
    one, other = first.evaluation.task, run.evaluation.task
    if one == other:
        return
    raise UserError(
        f"{first.label} predicts {_shown(one)}, {run.label} {_shown(other)}; compare runs of the "
        "same classes in the same order"
    )


def _shown(task: Task) -> str:
    what = "findings" if task.kind == "multilabel" else "classes"
    return f"the {what} {', '.join(task.classes)}"


def _check_table(run: Predicted, split: str) -> None:
    table = run.evaluation.tables.get(split)
    if table is None:
        raise UserError(
            f"{run.label} has no predictions of {split}, only of "
            f"{', '.join(run.evaluation.tables)}; choose another run or split"
        )
    twice = table["path"].duplicated()
    if twice.any():
        raise UserError(
            f"{run.label} names {table.loc[twice, 'path'].iloc[0]} twice in predictions/"
            f"{split}.csv; keep one row an image"
        )


def _check_truth(
    first: Predicted, run: Predicted, table: pd.DataFrame, other: pd.DataFrame
) -> None:
    task = first.evaluation.task
    one, two = (task.targets(t).reshape(len(t), -1).astype(np.float64) for t in (table, other))
    differing = ~np.all((one == two) | (np.isnan(one) & np.isnan(two)), axis=1)
    if differing.any():
        path = table["path"].iloc[int(differing.argmax())]
        raise UserError(
            f"{int(differing.sum())} of {len(table)} images have another truth in {run.label} than "
            f"in {first.label}, first {path}; compare runs on the same labels"
        )


def _compare_patients(
    first: Predicted, run: Predicted, table: pd.DataFrame, other: pd.DataFrame
) -> None:
    """Ids may be hashed with another salt; what counts is which images belong together."""
    pairs = set(zip(table["patient_id"], other["patient_id"], strict=True))
    if not len(pairs) == table["patient_id"].nunique() == other["patient_id"].nunique():
        warn(
            f"{run.label} groups the images into other patients than {first.label}, whose groups "
            "are drawn in the bootstrap; if these are wrong, name the other run first"
        )
