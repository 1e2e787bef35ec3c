"""From (N, K) findings to a task: all of them, some of them, or one, present or absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.validate import nearest
from cxrlab.data.manifest import join_findings
from cxrlab.errors import UserError, warn
from cxrlab.task import Task


def choose_target(
    name: str, target: str, findings: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> Task:
    """The task that `data.target` names: a group of findings, or one finding.

    Raises:
        UserError: it is neither; the message names the nearest one.
    """
    if target in groups:
        return Task.multilabel(groups[target])
    if target in findings:
        return Task.exclusive((absence(target), target))
    choices = [*groups, *findings]
    raise UserError(f"data.target={target}: {name} has no such finding; {nearest(target, choices)}")


def absence(finding: str) -> str:
    """The class of images without a finding: `No Edema`; of `No Finding` it is `Finding`."""
    return finding.removeprefix("No ") if finding.startswith("No ") else f"No {finding}"


def add_targets(
    table: pd.DataFrame,
    task: Task,
    values: Mapping[str, NDArray[np.float32]],
    *,
    remedy: str = "",
) -> pd.DataFrame:
    """Add the target columns and `label` of a task to a table.

    Args:
        table: a row an image, N rows.
        task: from `choose_target`.
        values: of each finding (N,) 1 present, 0 absent, NaN unknown.
        remedy: for the warning, where images are left out: what to do about it.

    Returns:
        A new table; for one finding without the images in which it is unknown.
    """
    if task.kind == "multilabel":
        targets = np.column_stack([values[name] for name in task.classes]).astype(np.float32)
        columns = dict(zip(task.target_columns, targets.T, strict=True))
        return table.assign(**columns, label=join_findings(task, targets))
    finding = task.classes[1]
    known = ~np.isnan(values[finding])
    if not known.all():
        warn(
            f"{int((~known).sum())} of {len(known)} images have no known label of {finding} and "
            f"are left out; {remedy}"
        )
    target = values[finding][known].astype(np.int64)
    names = np.array(task.classes, dtype=object)
    return table[known].assign(target=target, label=names[target])
