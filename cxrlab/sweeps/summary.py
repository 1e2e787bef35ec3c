"""What a sweep shows at its end: a table, the best trial as a command, `sweep.csv`, figures."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cxrlab.files import write_atomically
from cxrlab.layout import FIGURES
from cxrlab.sweeps.note import CSV_FILE, sweep_note
from cxrlab.sweeps.records import Sweep, TrialRecord, chosen, repeatable, shown, split_override
from cxrlab.sweeps.results import REPEATED, Repeats, best, best_first, objectives, repeats
from cxrlab.tracking.run import Run
from cxrlab.tracking.views import NOTE_TAG

_MOST_COMMANDS = 5
_DPI = 120
_ABSENT = "-"
_FILE_WIDTH = 200


def summarise(
    sweep: Sweep, records: Sequence[TrialRecord], run: Run, console: Console | None = None
) -> None:
    """Print the summary, write it into the sweep's folder, and store it in the sweep's run.

    Args:
        sweep: what the trials share.
        records: all trials.
        run: the sweep's own run.
        console: where to print; default: standard output.
    """
    from cxrlab.sweeps.figures import draw_figures

    console = console or _console()
    write_atomically(run.output / CSV_FILE, _csv(sweep, records))
    groups = repeats(sweep, records) if sweep.kind in REPEATED else []
    _print(f"Sweep {sweep.name}", _trials_table(sweep, records), console)
    if groups:
        _print(f"Over {sweep.kind}", _repeats_table(sweep, groups), console)
    commands = _commands(sweep, records, groups)
    for line in [*_problems(records), *commands]:
        console.print(Text(line))
    folder = run.output / FIGURES
    for name, figure in draw_figures(sweep, records, run.output).items():
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=_DPI)
    run.log_metrics(_metrics(sweep, records, groups))
    run.set_tags({NOTE_TAG: sweep_note(sweep, records, groups, commands)})
    run.flush()
    for name in (CSV_FILE, FIGURES):
        if (run.output / name).exists():
            run.upload(name)


def _console() -> Console:
    """Standard output: as wide as the terminal, and in a file as wide as rows need."""
    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(soft_wrap=True, width=_FILE_WIDTH)


def _print(heading: str, table: Table, console: Console) -> None:
    console.print(Text(f"\n{heading}", style="bold"))
    console.print(table, crop=False)


def _trials_table(sweep: Sweep, records: Sequence[TrialRecord]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("trial", *map(sweep.short, sweep.varies)):
        table.add_column(heading, overflow="fold")
    for heading in (*sweep.objective, "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status")
    ranked = best_first(sweep, records)
    for record in [*ranked, *(r for r in records if r not in ranked)]:
        values = chosen(record.overrides, sweep.varies)
        logged = record.values() if record.status == "FINISHED" else {}
        table.add_row(
            str(record.number),
            *(Text(shown(values.get(key, _ABSENT))) for key in sweep.varies),
            *(f"{logged[m]:.4f}" if m in logged else _ABSENT for m in sweep.objective),
            _ABSENT if record.seconds is None else f"{record.seconds:.0f}",
            record.status.lower(),
            style="bold" if ranked and record is ranked[0] else None,
        )
    return table


def _repeats_table(sweep: Sweep, groups: Sequence[Repeats]) -> Table:
    """Mean, SD and interval: of one configuration, every metric; of several, the objective."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    single = len(groups) == 1
    keys = [] if single else list(groups[0].values)
    for heading in ("metric",) if single else map(sweep.short, keys):
        table.add_column(heading)
    for heading in ("n", "mean", "SD", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        metrics = [n.removesuffix("_mean") for n in group.metrics if n.endswith("_mean")]
        for metric in metrics if single else sweep.objective:
            parts = [group.metrics.get(f"{metric}_{p}") for p in ("mean", "sd", "low", "high")]
            mean, sd, low, high = (_ABSENT if p is None else f"{p:.4f}" for p in parts)
            first = [metric] if single else [Text(shown(group.values[key])) for key in keys]
            table.add_row(*first, str(len(group.records)), mean, sd, f"{low} to {high}")
    return table


def _problems(records: Sequence[TrialRecord]) -> list[str]:
    return [
        f"trial {record.number} {record.status.lower()}: {record.error}"
        for record in records
        if record.status in ("FAILED", "KILLED") and record.error
    ]


def _commands(sweep: Sweep, records: Sequence[TrialRecord], groups: Sequence[Repeats]) -> list[str]:
    """Commands to copy; over seeds or folds alone there is nothing to choose."""
    if groups:
        if len(groups) == 1:
            return []
        chosen_trials = [groups[0].records[0]]
    else:
        chosen_trials = best(sweep, records)[:_MOST_COMMANDS]
    several = "trials that no other beats in both" if len(sweep.objective) > 1 else "best trial"
    heading = f"The {'best configuration' if groups else several}, evaluated on test:"
    lines = [command(sweep, record) for record in chosen_trials]
    return ["", heading, *lines] if lines else []


def command(sweep: Sweep, record: TrialRecord) -> str:
    """The command that trains a trial's configuration again and evaluates it on test."""
    own = REPEATED.get(sweep.kind)
    kept = [o for o in repeatable(record.overrides) if split_override(o)[0] != own]
    return shlex.join(["python", "-m", "cxrlab.train", *kept, "evaluation.test=true"])


def _metrics(
    sweep: Sweep, records: Sequence[TrialRecord], groups: Sequence[Repeats]
) -> dict[str, float]:
    """Of the sweep's run: the best objective, or of the best configuration the aggregates."""
    counts = {
        f"sweep/{status.lower()}": float(sum(r.status == status for r in records))
        for status in ("FINISHED", "FAILED", "PRUNED", "KILLED")
    }
    if groups:
        return counts | groups[0].metrics
    ranked = best_first(sweep, records)
    values = objectives(sweep, ranked[0]) if ranked else None
    if len(sweep.objective) > 1 or values is None:
        return counts
    return counts | {f"{sweep.objective[0]}_best": values[0]}


def _csv(sweep: Sweep, records: Sequence[TrialRecord]) -> str:
    """A row a trial: what varies, the objectives, then the other metrics of validation."""
    logged = {record.number: record.values() for record in records}
    names = {n for values in logged.values() for n in values if n.startswith("val/")}
    metrics = [*sweep.objective, *sorted(names - set(sweep.objective))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *sweep.varies, "status", "seconds", "run_id", "error", *metrics])
    for record in records:
        values = chosen(record.overrides, sweep.varies)
        numbers = logged[record.number]
        seconds = "" if record.seconds is None else f"{record.seconds:.1f}"
        end = (record.status, seconds, record.run_id or "", record.error or "")
        own = (values.get(key, "") for key in sweep.varies)
        writer.writerow([record.number, *own, *end, *(numbers.get(m, "") for m in metrics)])
    return text.getvalue()
