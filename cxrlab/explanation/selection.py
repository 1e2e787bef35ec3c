"""Which images are worth a look: a fixed panel in training, the extreme cases afterwards."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.evaluation.predictions import score_columns
from cxrlab.task import Task


def panel_indices(
    rows: pd.DataFrame, strata: NDArray[np.int64], n: int, seed: int = 0
) -> list[int]:
    """Choose images that stay the same in every run on the same data.

    The strata take turns, each image is of another patient, and the order is that of a hash of
    the path, so that neither the order of the rows nor the random state matters.

    Args:
        rows: those of one split of a manifest, with `path` and `patient_id`.
        strata: (N,) of each row, as `Manifest.strata` gives them.
        n: images wanted.
        seed: another seed, another panel.

    Returns:
        At most `n` row positions (for `rows.iloc`), by stratum; fewer where there are not as
        many patients.
    """
    paths, patients = rows["path"].tolist(), rows["patient_id"].tolist()
    ordered = sorted(range(len(paths)), key=lambda row: _order(paths[row], seed))
    queues = {
        stratum: [row for row in ordered if strata[row] == stratum]
        for stratum in sorted(set(strata.tolist()))
    }
    chosen: list[int] = []
    seen: set[object] = set()
    while len(chosen) < n and any(queues.values()):
        for queue in queues.values():
            while queue and patients[queue[0]] in seen:
                queue.pop(0)
            if queue and len(chosen) < n:
                row = queue.pop(0)
                seen.add(patients[row])
                chosen.append(row)
    return sorted(chosen, key=lambda row: (strata[row], _order(paths[row], seed)))


def panel_explained(strata: NDArray[np.int64], task: Task) -> NDArray[np.int64]:
    """The class whose logit is explained of each image of a panel.

    Class 1 of two, the true class of more, of findings that for which the image was chosen; the
    first finding where none is known to be present.

    Args:
        strata: (N,) as `Manifest.strata` gives them.
        task: what is predicted.
    """
    if task.kind == "binary":
        return np.ones_like(strata)
    return np.where(strata < len(task.classes), strata, 0)


def gallery_cases(predictions: pd.DataFrame, task: Task, per_kind: int) -> dict[str, pd.DataFrame]:
    """Find the cases in which the model is surest, right and wrong.

    A case of findings is an image and one finding whose truth is known; an image is at most once
    in a kind.

    Args:
        predictions: a prediction table with decisions.
        task: what was predicted.
        per_kind: most cases of each kind.

    Returns:
        Most confident first; for more than two classes `correct` and `wrong`, else
        `true_positives`, `true_negatives`, `false_positives` and `false_negatives`. The columns
        are `path`, `explained` (class index whose logit says why: class 1 of two, the one
        decided for of more, the finding), its `probability`, and `target` and `decision` (of a
        finding 1 or 0). The index holds the row positions in `predictions`.
    """
    cases = _cases(predictions.reset_index(drop=True), task)
    right = cases["decision"] == cases["target"]
    if task.kind == "multiclass":
        confidence = cases["probability"]
        kinds = {"correct": right, "wrong": ~right}
    else:
        positive = cases["decision"] == 1
        confidence = cases["probability"].where(positive, 1 - cases["probability"])
        kinds = {
            "true_positives": right & positive,
            "true_negatives": right & ~positive,
            "false_positives": ~right & positive,
            "false_negatives": ~right & ~positive,
        }
    # The path settles ties, so that the gallery does not depend on the order of the rows.
    order = ["confidence", "path", "explained"]
    ranked = cases.assign(confidence=confidence)
    surest = {
        kind: ranked[members].sort_values(order, ascending=[False, True, True])
        for kind, members in kinds.items()
    }
    return {
        kind: rows.drop_duplicates("path").head(per_kind).drop(columns="confidence")
        for kind, rows in surest.items()
    }


def _cases(rows: pd.DataFrame, task: Task) -> pd.DataFrame:
    """A row for each question asked of an image whose answer is known."""
    if task.kind == "multilabel":
        each = [
            pd.DataFrame(
                {
                    "path": rows["path"],
                    "explained": index,
                    "probability": rows[f"probability_{name}"],
                    "target": rows[f"target_{name}"],
                    "decision": rows[f"decision_{name}"],
                }
            ).dropna(subset="target")
            for index, name in enumerate(task.classes)
        ]
        return pd.concat(each).astype({"target": np.int64, "decision": np.int64})
    explained = rows["decision"] if task.kind == "multiclass" else 1
    # Of more than two classes the one decided for is the most probable.
    probability = rows[score_columns(task, "probability")].max(axis=1)
    cases = rows[["path", "target", "decision"]]
    return cases.assign(explained=explained, probability=probability)


def _order(path: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{path}".encode()).digest()
