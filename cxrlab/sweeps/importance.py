"""How much each key of a sweep matters for its objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrlab.sweeps.records import Sweep, TrialRecord, chosen
from cxrlab.sweeps.results import objectives

FEWEST_TRIALS = 3


def importances(sweep: Sweep, records: Sequence[TrialRecord], folder: Path) -> dict[str, float]:
    """Share in [0, 1] of the first objective's variance that each varied key explains.

    Of a search, Optuna's estimate from a forest (fANOVA; Hutter, Hoos and Leyton-Brown 2014); of a
    grid, the share that a key explains alone. With fewer than three finished trials, or where
    all have one value, nothing can be said: empty.
    """
    values = {record: found[0] for record in records if (found := objectives(sweep, record))}
    if len(values) < FEWEST_TRIALS or len(set(values.values())) < 2:
        return {}
    if sweep.kind == "optuna":
        from cxrlab.sweeps.search import forest_importances

        return forest_importances(sweep, folder)
    numbers = list(values.values())
    keys = {key: [chosen(r.overrides, [key]).get(key, "") for r in values] for key in sweep.varies}
    shares = {key: share_alone(levels, numbers) for key, levels in keys.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def share_alone(levels: Sequence[str], values: Sequence[float]) -> float:
    """Sum of squares between the levels of one key over the total: eta squared, in [0, 1].

    It counts what the key explains by chance too: with as many levels as trials it is 1.
    """
    numbers = np.asarray(values, dtype=np.float64)
    total = float(((numbers - numbers.mean()) ** 2).sum())
    if total == 0:
        return 0.0
    between = 0.0
    for level in set(levels):
        own = numbers[[other == level for other in levels]]
        between += own.size * float((own.mean() - numbers.mean()) ** 2)
    return min(1.0, between / total)
