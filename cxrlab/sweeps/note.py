"""A sweep in a few lines of Markdown, for the head of its page in MLflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cxrlab.layout import FIGURES
from cxrlab.sweeps.records import Sweep, TrialRecord, shown
from cxrlab.sweeps.results import Repeats, best_first

CSV_FILE = "sweep.csv"


def sweep_note(
    sweep: Sweep,
    records: Sequence[TrialRecord],
    groups: Sequence[Repeats],
    commands: Sequence[str],
) -> str:
    """What came of a sweep, and where to look; MLflow folds a note after its first lines.

    Args:
        sweep: what the trials share.
        records: all trials.
        groups: over seeds or folds, best first; empty where a trial stands for itself.
        commands: what to type next, under a heading; may be empty.
    """
    counts = Counter(record.status.lower() for record in records)
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    varied = ", ".join(map(sweep.short, sweep.varies)) or "nothing"
    lines = [f"**{len(records)} trials** over {varied}: {told}."]
    if groups:
        lines += [_aggregate(sweep, groups[0])]
    elif len(sweep.objective) == 1 and (ranked := best_first(sweep, records)):
        lines += [_best(sweep, ranked[0])]
    lines.append(f"Artifacts: every trial in `{CSV_FILE}`, pictures in `{FIGURES}`.")
    code = [line for line in commands if line]
    if code:
        lines += [code[0], "\n".join(f"    {line}" for line in code[1:])]
    return "\n\n".join(lines)


def _best(sweep: Sweep, record: TrialRecord) -> str:
    name = sweep.objective[0]
    reached = f"{name} {record.values()[name]:.4f}"
    return f"Best: trial {record.number}, {reached}: `{sweep.label(record.overrides)}`."


def _aggregate(sweep: Sweep, group: Repeats) -> str:
    parts = []
    for name in sweep.objective:
        mean, sd = (group.metrics.get(f"{name}_{part}") for part in ("mean", "sd"))
        if mean is not None:
            parts.append(f"{name} {mean:.4f}" + ("" if sd is None else f", SD {sd:.4f}"))
    own = " ".join(f"{sweep.short(key)}={shown(text)}" for key, text in group.values.items())
    of = f" of `{own}`" if own else ""
    return f"Mean{of} over {len(group.records)} {sweep.kind}: {'; '.join(parts) or 'none'}."
