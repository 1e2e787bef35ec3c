"""Finished runs, as comparisons read and name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrlab.errors import UserError
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.files import read_yaml
from cxrlab.layout import CONFIG_FILE, OVERRIDES_FILE
from cxrlab.tracking.derived import run_label

_ID_LENGTH = 32  # of an MLflow run id
_NEEDED = {"seed", "threshold", "model"}
# Overrides that say nothing of a model, or that its backbone says already.
_UNTOLD = ("seed", "resume", "tracking", "hydra", "data.root", "data.cache", "model=")


@dataclass(frozen=True)
class ComparedRun:
    """A run that is compared.

    Attributes:
        label: its MLflow id, or its folder's name.
        evaluation: its predictions and its operating point.
        config: what it was configured as; None where its folder holds none, as that of another
            dataset's evaluation.
        overrides: what its user typed.
    """

    label: str
    evaluation: Evaluation
    config: Mapping[str, Any] | None
    overrides: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> ComparedRun:
        """Read a run's folder.

        Raises:
            UserError: it holds no evaluation, or a damaged one.
        """
        config, overrides = (read_yaml(folder / name) for name in (CONFIG_FILE, OVERRIDES_FILE))
        if config is not None and not (isinstance(config, dict) and config.keys() >= _NEEDED):
            raise UserError(f"{folder / CONFIG_FILE} is damaged; choose another run")
        label = Path(run_label(folder)).name  # a run without MLflow is its folder
        return cls(label, Evaluation.read(folder), config, tuple(overrides or ()))

    @property
    def seed(self) -> int | None:
        """What the run drew its weights and order by; None where nothing says it."""
        return None if self.config is None else self.config["seed"]


def system_names(groups: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """A name a system: the backbone and what its user changed, unless all changed it alike."""
    shared = set.intersection(*(set(group[0].overrides) for group in groups))
    names = [_name(group[0], shared) for group in groups]
    for marks in (map(_seed_mark, groups), map(_label_mark, groups), range(1, len(groups) + 1)):
        again = [names.count(name) > 1 for name in names]
        marked = zip(names, marks, again, strict=True)
        names = [f"{name} {mark}" if more else name for name, mark, more in marked]
    return names


def _name(run: ComparedRun, shared: set[str]) -> str:
    if run.config is None:
        return run.label
    told = [o.lstrip("+~") for o in run.overrides if o not in shared]
    parts = [o.partition("=") for o in told if not o.startswith(_UNTOLD)]
    changes = [f"{key.rpartition('.')[2]}={value}" for key, _, value in parts]
    return " ".join([str(run.config["model"]["backbone"]), *changes])


def _seed_mark(group: Sequence[ComparedRun]) -> str:
    if len(group) > 1:
        return f"ensemble of {len(group)}"
    return _label_mark(group) if group[0].seed is None else f"seed={group[0].seed}"


def _label_mark(group: Sequence[ComparedRun]) -> str:
    label = group[0].label
    return label[:8] if len(label) == _ID_LENGTH else label
