"""Which images are worth a look: a fixed panel in training, the extreme cases afterwards."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd


def panel_indices(table: pd.DataFrame, n: int, seed: int = 0) -> list[int]:
    """Choose validation images that stay the same in every run on the same data.

    The classes take turns, each image is of another patient, and the order is that of a hash of
    the path, so that neither the order of the rows nor the random state matters.

    Args:
        table: a manifest's table with `path`, `patient_id`, `split` and `target`.
        n: images wanted.
        seed: another seed, another panel.

    Returns:
        At most `n` row positions (for `table.iloc`) of the split `val`, by class; fewer if it
        has not as many patients.
    """
    paths, patients = table["path"].tolist(), table["patient_id"].tolist()
    targets = table["target"].to_numpy()
    rows = np.flatnonzero((table["split"] == "val").to_numpy())
    ordered = sorted(rows.tolist(), key=lambda row: _order(paths[row], seed))
    queues = {
        target: [row for row in ordered if targets[row] == target]
        for target in sorted(set(targets[rows].tolist()))
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
    return sorted(chosen, key=lambda row: (targets[row], _order(paths[row], seed)))


def gallery_cases(predictions: pd.DataFrame, per_kind: int) -> dict[str, pd.DataFrame]:
    """Find the cases in which the model is surest, right and wrong.

    Args:
        predictions: a prediction table; one with the column `probability` is binary, any other
            has one column `probability_<class>` a class.
        per_kind: most cases of each kind.

    Returns:
        Most confident first, for two classes `true_positives`, `true_negatives`,
        `false_positives` and `false_negatives` by `decision` against `target`, else `correct`
        and `wrong`. Each table's index holds the row positions in `predictions`.
    """
    rows = predictions.reset_index(drop=True)
    right = rows["decision"] == rows["target"]
    if "probability" in rows:
        decided = rows["decision"] == 1
        confidence = rows["probability"].where(decided, 1 - rows["probability"])
        kinds = {
            "true_positives": right & decided,
            "true_negatives": right & ~decided,
            "false_positives": ~right & decided,
            "false_negatives": ~right & ~decided,
        }
    else:
        confidence = rows.filter(regex="^probability_").max(axis=1)
        kinds = {"correct": right, "wrong": ~right}
    # The path settles ties, so that the gallery does not depend on the order of the rows.
    ranked = rows.assign(_confidence=confidence).sort_values(
        ["_confidence", "path"], ascending=[False, True]
    )
    ranked = ranked.drop(columns="_confidence")
    return {
        kind: ranked[members.loc[ranked.index]].head(per_kind) for kind, members in kinds.items()
    }


def _order(path: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{path}".encode()).digest()
