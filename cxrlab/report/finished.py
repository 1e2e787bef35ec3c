"""Everything that the report reads of a finished run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cxrlab.data.audit.findings import Audit
from cxrlab.data.manifest import Manifest
from cxrlab.errors import UserError
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.evaluation.metrics import Metrics
from cxrlab.files import damaged, read_yaml
from cxrlab.layout import (
    AUDIT_FILE,
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EVALUATION,
    MANIFEST_FILE,
    METRICS_FILE,
    OVERRIDES_FILE,
)
from cxrlab.task import Task

_TEXT = ("path", "label", "patient_id", "split", "mask", "marker")
_DERIVED_TEXT = ("column", "group", "class", "against", "absent", "point")
_GROUPS = ("column", "group", "images", "patients", "small")
_PREDICTIVE = ("point", "prevalence", "own", "ppv", "npv")
_HISTORY = ("name", "step", "value", "time")


@dataclass(frozen=True)
class Software:
    """What `config/environment.txt` tells.

    Attributes:
        python: version and implementation; None where the file says nothing.
        platform: operating system and processor.
        own: version of cxrlab.
        commit: of the checkout, or `unknown`.
        packages: version by distribution.
    """

    python: str | None = None
    platform: str | None = None
    own: str | None = None
    commit: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder, read. What the folder lacks is None or empty.

    Attributes:
        folder: the run's folder.
        run_id: of the tracking store, if any.
        tags: what only the tracking store keeps, such as `cxrlab.weights`.
        evaluation: tables, metrics and operating point.
        config: the resolved configuration.
        config_text: the same as it stands in the file.
        overrides: what the user typed.
        software: versions.
        audit: of the data.
        manifest: a row an image.
        history: columns name, step, value, time (milliseconds since 1970), in the order written.
        subgroups: by split, a row a group.
        predictive: by split, a row a prevalence.
    """

    folder: Path
    run_id: str | None
    tags: Mapping[str, str]
    evaluation: Evaluation
    config: Mapping[str, Any]
    config_text: str
    overrides: tuple[str, ...]
    software: Software
    audit: Audit | None
    manifest: pd.DataFrame | None
    history: pd.DataFrame
    subgroups: Mapping[str, pd.DataFrame]
    predictive: Mapping[str, pd.DataFrame]

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.evaluation.task

    @property
    def tested(self) -> bool:
        """Whether test was read."""
        return "test" in self.evaluation.metrics

    @property
    def split(self) -> str:
        """The split that the verdict is of: test, else the best there is."""
        splits = list(self.evaluation.metrics)
        return next((name for name in ("test", "val") if name in splits), splits[0])

    @property
    def metrics(self) -> Metrics:
        """Those of `split`."""
        return self.evaluation.metrics[self.split]

    @property
    def positive(self) -> str:
        """The class that a decision of two classes is for."""
        return self.task.classes[1]

    def patients(self, split: str) -> int:
        """Patients with a prediction."""
        return int(self.evaluation.tables[split]["patient_id"].nunique())

    def setting(self, key: str, default: Any = None) -> Any:
        """A value of the configuration by its dotted key."""
        found: Any = self.config
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return default
            found = found[part]
        return found

    def logged(self, name: str) -> float | None:
        """The last value of a metric in `metrics.csv`."""
        values = self.history.loc[self.history["name"] == name, "value"]
        return None if values.empty else float(values.iloc[-1])

    def split_hash(self) -> str | None:
        """Digest of which image is in which split, computed from the manifest."""
        if self.manifest is None:
            return None
        return Manifest("", self.folder, self.task, self.manifest).split_hash()


def read_run(
    folder: Path, run_id: str | None = None, tags: Mapping[str, str] | None = None
) -> FinishedRun:
    """Read a run's folder.

    Raises:
        UserError: the run has not finished, or a file of its is damaged.
    """
    evaluation = Evaluation.read(folder)
    if not evaluation.metrics:
        raise UserError(f"{folder} holds no evaluated split; choose another run")
    config_text = _text(folder / CONFIG_FILE) or ""
    return FinishedRun(
        folder=folder,
        run_id=run_id,
        tags=dict(tags or {}),
        evaluation=evaluation,
        config=_yaml(folder / CONFIG_FILE, dict),
        config_text=config_text,
        overrides=tuple(map(str, _yaml(folder / OVERRIDES_FILE, list))),
        software=_software(_text(folder / ENVIRONMENT_FILE) or ""),
        audit=_audit(folder / AUDIT_FILE),
        manifest=_manifest(folder / MANIFEST_FILE, evaluation.task),
        history=_history(folder / METRICS_FILE),
        subgroups=_by_split(folder, "subgroups", evaluation, _GROUPS),
        predictive=_by_split(folder, "predictive_values", evaluation, _PREDICTIVE),
    )


def _text(file: Path) -> str | None:
    if not file.is_file():
        return None
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(file, error) from error


def _yaml(file: Path, kind: type) -> Any:
    found = read_yaml(file)
    if found is None:
        return kind()
    if not isinstance(found, kind):
        raise damaged(file, ValueError(f"holds no {kind.__name__}"))
    return found


def _audit(file: Path) -> Audit | None:
    text = _text(file)
    if text is None:
        return None
    try:
        return Audit.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(file, error) from error


def _manifest(file: Path, task: Task) -> pd.DataFrame | None:
    table = _table(file, _TEXT)
    if table is None:
        return None
    needed = ("path", "label", "patient_id", "split", *task.target_columns)
    _check_columns(file, table, needed)
    return table


def _history(file: Path) -> pd.DataFrame:
    table = _table(file, ("name",))
    if table is None:
        return pd.DataFrame({name: [] for name in _HISTORY}).astype({"name": str})
    _check_columns(file, table, _HISTORY)
    return table


def _by_split(
    folder: Path, name: str, evaluation: Evaluation, needed: tuple[str, ...]
) -> dict[str, pd.DataFrame]:
    """The tables `evaluation/<name>_<split>.csv`, as far as they are there."""
    found = {}
    for split in evaluation.metrics:
        file = folder / EVALUATION / f"{name}_{split}.csv"
        table = _table(file, _DERIVED_TEXT)
        if table is not None:
            _check_columns(file, table, needed)
            found[split] = table
    return found


def _table(file: Path, texts: tuple[str, ...]) -> pd.DataFrame | None:
    """A CSV file; in the columns `texts`, `NA` and `007` stay what they are and nothing is ""."""
    if not file.is_file():
        return None
    try:
        columns = [str(name) for name in pd.read_csv(file, nrows=0)]
        return pd.read_csv(
            file,
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={name: ["", "nan", "NaN"] for name in columns if name not in texts},
        )
    except (OSError, ValueError) as error:
        raise damaged(file, error) from error


def _check_columns(file: Path, table: pd.DataFrame, needed: tuple[str, ...]) -> None:
    lacking = [name for name in needed if name not in table]
    if lacking:
        raise damaged(file, ValueError(f"lacks the column {lacking[0]}"))


def _software(text: str) -> Software:
    """Read a requirements file whose first comments are Python, the platform and cxrlab."""
    comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    pins = [line.partition("==") for line in text.splitlines() if "==" in line]
    packages = {name.strip(): version.strip() for name, _, version in pins}
    own = next((c for c in comments if c.startswith("cxrlab ")), "")
    version, _, commit = own.removeprefix("cxrlab ").partition(", commit ")
    rest = [c for c in comments if c != own]
    python = next((c.removeprefix("Python ") for c in rest if c.startswith("Python ")), None)
    platform = next((c for c in rest if not c.startswith("Python ")), None)
    return Software(python, platform, version or None, commit or None, packages)
