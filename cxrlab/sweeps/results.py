"""What finished trials say: which is best, and the same configuration over seeds or folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cxrlab.sweeps.records import Sweep, TrialRecord, chosen

REPEATED = {"seeds": "seed", "folds": "data.fold"}


@dataclass(frozen=True)
class Repeats:
    """One configuration, run several times.

    Attributes:
        values: what of it varies in the sweep, apart from the seed or fold.
        records: its finished trials.
        metrics: mean, SD and the ends of the 95 % interval of each validation metric; with fewer
            than two trials the mean alone.
    """

    values: dict[str, str]
    records: tuple[TrialRecord, ...]
    metrics: dict[str, float]


def objectives(sweep: Sweep, record: TrialRecord) -> tuple[float, ...] | None:
    """The values that decide; None where the trial did not come to one, or to a number."""
    logged = record.values()
    if record.status != "FINISHED" or not all(name in logged for name in sweep.objective):
        return None
    values = tuple(logged[name] for name in sweep.objective)
    return values if all(map(math.isfinite, values)) else None


def best_first(sweep: Sweep, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Finished trials by their first objective; those that are equal, by number."""
    sign = -1 if sweep.direction[0] == "maximize" else 1
    scored = [(values[0] * sign, r.number, r) for r in records if (values := objectives(sweep, r))]
    return [record for _, _, record in sorted(scored, key=lambda item: item[:2])]


def best(sweep: Sweep, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The best trial; of two objectives, those that no other trial beats in both."""
    ranked = best_first(sweep, records)
    if len(sweep.objective) == 1:
        return ranked[:1]
    signs = [-1 if direction == "maximize" else 1 for direction in sweep.direction]

    def costs(record: TrialRecord) -> tuple[float, ...]:
        values = objectives(sweep, record) or ()
        return tuple(sign * value for sign, value in zip(signs, values, strict=True))

    return [
        record
        for record in ranked
        if not any(
            costs(other) != costs(record)
            and all(a <= b for a, b in zip(costs(other), costs(record), strict=True))
            for other in ranked
        )
    ]


def repeats(sweep: Sweep, records: Sequence[TrialRecord]) -> list[Repeats]:
    """The configurations of a sweep over seeds or folds, best mean objective first."""
    keys = [key for key in sweep.varies if key != REPEATED[sweep.kind]]
    groups: dict[tuple[tuple[str, str], ...], list[TrialRecord]] = {}
    for record in records:
        if record.status == "FINISHED":
            values = tuple(chosen(record.overrides, keys).items())
            groups.setdefault(values, []).append(record)
    found = [
        Repeats(dict(values), tuple(group), _aggregate(group, folds=sweep.kind == "folds"))
        for values, group in groups.items()
    ]
    sign = -1 if sweep.direction[0] == "maximize" else 1
    mean = f"{sweep.objective[0]}_mean"
    return sorted(found, key=lambda one: sign * one.metrics.get(mean, -sign * math.inf))


def _aggregate(records: Sequence[TrialRecord], *, folds: bool) -> dict[str, float]:
    logged = [record.values() for record in records]
    shared = [name for name in logged[0] if all(name in values for values in logged)]
    metrics: dict[str, float] = {}
    for name in shared:
        if name.startswith("val/") and not name.endswith(("_low", "_high")):
            told = mean_interval([values[name] for values in logged], folds=folds)
            metrics |= {f"{name}_{part}": value for part, value in told.items()}
    return metrics


def mean_interval(values: Sequence[float], *, folds: bool = False) -> dict[str, float]:
    """Mean, SD (n - 1) and the 95 % t-interval of the mean of some runs.

    The training sets of K folds overlap, so that the usual variance of the mean, SD^2 / K, is too
    small; for folds it is SD^2 (1 / K + n_val / n_train), with n_val / n_train = 1 / (K - 1), after
    Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52, 2003. Over seeds
    the interval is about the luck of the seed, on these images, not about other patients.

    Args:
        values: one a run.
        folds: whether they are those of K folds.

    Returns:
        `mean`, and with two values at least `sd`, `low` and `high`.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return {"mean": mean}
    from scipy.stats import t

    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    variance = sd**2 * (1 / count + (1 / (count - 1) if folds else 0))
    half = float(t.ppf(0.975, count - 1)) * math.sqrt(variance)
    return {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half}
