"""What a sweep and its trials leave on disk: `sweep.json`, and `trial.json` in each trial's folder.

The files are how trials that run elsewhere, in other processes or on other machines, hear of their
sweep and answer to it, and what an interrupted sweep goes on from.
"""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from cxrlab.files import write_atomically
from cxrlab.layout import ID_FILE, METRICS_FILE

SWEEP_FILE, TRIAL_FILE = "sweep.json", "trial.json"
# Held while the trial, or its sweep, runs; the system lets go of a dead process's.
LOCK_FILE = ".sweep.lock"
# Of the sweep itself, so no part of the run that a trial is.
_OWN_KEYS = ("sweep", "evaluation.test")

_LABEL_LENGTH = 90  # the UI shows a name in one line

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED", "PRUNED"]


@dataclass(frozen=True)
class Sweep:
    """What all trials of a sweep share.

    Attributes:
        name: of its folder and of its study.
        session: of the process that runs it, by which its trials know whether it still does.
        kind: grid, seeds, folds or optuna.
        parent: MLflow id of the run above the trials; None without MLflow.
        fixed: overrides that every trial has.
        varies: keys in which trials differ.
        objective: the metrics that decide.
        direction: `maximize` or `minimize`, of each.
        space: of a search, where it draws each key from.
        prune: whether trials may be ended early.
    """

    name: str
    session: str
    kind: str
    parent: str | None
    fixed: tuple[str, ...]
    varies: tuple[str, ...]
    objective: tuple[str, ...]
    direction: tuple[str, ...]
    space: dict[str, str]
    prune: bool

    def write(self, folder: Path) -> None:
        """Write `sweep.json`."""
        write_atomically(folder / SWEEP_FILE, json.dumps(asdict(self), indent=2))

    def short(self, key: str) -> str:
        """A varied key without its sections, unless two varied keys would look the same."""
        leaf = key.rpartition(".")[2]
        alike = [k for k in self.varies if k.rpartition(".")[2] == leaf]
        return leaf if len(alike) <= 1 else key

    def label(self, overrides: Iterable[str]) -> str:
        """What varies, as `lr=1e-4 augmentation=light`."""
        values = chosen(overrides, self.varies)
        return " ".join(f"{self.short(key)}={shown(text)}" for key, text in values.items())

    def trial_name(self, overrides: Iterable[str], number: int) -> str:
        """The run name of a trial: its number is there, however much varies."""
        label = self.label(overrides)
        if len(label) > _LABEL_LENGTH:
            label = f"{label[: _LABEL_LENGTH - 1]}…"
        return f"{label} #{number}".strip()


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: its place in the sweep and the name of its folder.
        overrides: of its run.
        status: MLflow's words, and PRUNED.
        started: seconds since 1970.
        seconds: how long it took; None while it runs.
        error: one line; None where there is none.
        folder: where it wrote.
    """

    number: int
    overrides: tuple[str, ...]
    status: Status
    started: float
    folder: Path
    seconds: float | None = None
    error: str | None = None

    def write(self) -> None:
        """Write `trial.json`."""
        content = asdict(self)
        del content["folder"]
        write_atomically(self.folder / TRIAL_FILE, json.dumps(content, indent=2))

    def ended(self, status: Status, error: str | None, seconds: float | None) -> TrialRecord:
        """The same trial at its end."""
        return replace(self, status=status, error=error, seconds=seconds)

    @property
    def run_id(self) -> str | None:
        """MLflow id of its run; None where it came to none."""
        file = self.folder / ID_FILE
        text = file.read_text().strip() if file.is_file() else ""
        return text if text and "/" not in text else None

    def note_run(self, run_id: str) -> None:
        """Keep the id of the run that stands for this trial."""
        write_atomically(self.folder / ID_FILE, run_id)

    def values(self) -> dict[str, float]:
        """The last value of each metric of the run; empty before there is one."""
        file = self.folder / METRICS_FILE
        if not file.is_file():
            return {}
        with file.open(encoding="utf-8", newline="") as lines:
            return {row["name"]: float(row["value"]) for row in csv.DictReader(lines)}


def read_sweep(folder: Path) -> Sweep | None:
    """The sweep that a folder is of; None where there is none."""
    file = folder / SWEEP_FILE
    if not file.is_file():
        return None
    raw = json.loads(file.read_text(encoding="utf-8"))
    lists = {key: tuple(value) for key, value in raw.items() if isinstance(value, list)}
    return Sweep(**{**raw, **lists})


def read_trials(folder: Path) -> list[TrialRecord]:
    """All trials that began, by number."""
    records = []
    for file in folder.glob(f"*/{TRIAL_FILE}"):
        raw = json.loads(file.read_text(encoding="utf-8"))
        raw["overrides"] = tuple(raw["overrides"])
        records.append(TrialRecord(**raw, folder=file.parent))
    return sorted(records, key=lambda record: record.number)


def same_run(overrides: Iterable[str]) -> frozenset[str]:
    """What two trials have in common that would train the same."""
    return frozenset(repeatable(overrides))


def without_repeated(sweep: Sweep, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials but for those that were run anew, under a later number.

    A trial that was cut off is, and one that failed unless in a search, where it counts.
    """
    again = ("KILLED",) if sweep.kind == "optuna" else ("KILLED", "FAILED")
    last = {same_run(record.overrides): record.number for record in records}
    return [
        record
        for record in records
        if record.status not in again or last[same_run(record.overrides)] == record.number
    ]


def chosen(overrides: Iterable[str], keys: Sequence[str]) -> dict[str, str]:
    """The values that a trial has for some keys, in the order of the keys."""
    given = dict(split_override(override) for override in overrides)
    return {key: given[key] for key in keys if key in given}


def split_override(override: str) -> tuple[str, str]:
    """Key and value of `key=value`, without the `+` of a key that is added."""
    key, _, value = override.lstrip("+").partition("=")
    return key, value


def repeatable(overrides: Iterable[str]) -> list[str]:
    """The overrides that make the same run outside the sweep."""
    return [
        override
        for override in overrides
        if not any(
            split_override(override)[0] == key or override.lstrip("+~").startswith(f"{key}.")
            for key in _OWN_KEYS
        )
    ]


def shown(text: str) -> str:
    """A value for people: numbers with many digits are rounded."""
    try:
        number = float(text)
    except ValueError:
        return text
    return f"{number:.3g}" if len(text) > 7 else text


def command_line(name: str) -> str:
    """The command that the user typed, with the sweep's name, by which it goes on."""
    named = [] if any(a.startswith("sweep.name=") for a in sys.argv) else [f"sweep.name={name}"]
    return shlex.join(["python", "-m", "cxrlab.train", *sys.argv[1:], *named])
