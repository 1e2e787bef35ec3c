"""Another dataset's labels, put as the answers that a model gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.data.manifest import NO_FINDING, Manifest, join_findings
from cxrlab.errors import UserError, warn
from cxrlab.task import Task

Mapped = dict[str, tuple[str, ...]]


def relabel(
    manifest: Manifest, task: Task, labels: Mapping[str, str | Sequence[str]] | None
) -> Manifest:
    """The dataset with the classes of a model in place of its own.

    Classes that exclude one another: an image is of the one class that its label, or one of its
    findings, belongs to; images of none or of several are left out, and counted in a warning. Of
    two classes, where the dataset has findings and nothing stands for the first class, that is
    the known absence of all that stands for the second.

    Findings: one is present where any that stands for it is, absent where all are known to be,
    and else unknown; so is one that nothing stands for.

    Args:
        manifest: any dataset.
        task: what the model answers.
        labels: for each class of the model the dataset's class or classes that stand for it;
            `none` is the absence of all findings. None: classes of the same name, whatever
            the case of its letters.

    Raises:
        UserError: a class is not the model's or not the dataset's, stands for two, or nothing
            stands for any.
    """
    mapped = _by_name(manifest.task, task) if labels is None else _checked(labels, manifest, task)
    if not any(mapped.values()):
        raise UserError(
            f"{manifest.name} has the classes {', '.join(manifest.classes)}, the model "
            f"{', '.join(task.classes)}: none has the same name; say which stands for which, "
            f"'labels={{{task.classes[-1]}: {manifest.classes[-1]}}}'"
        )
    present = {name: _any_of(manifest, sources) for name, sources in mapped.items()}
    if task.kind == "multilabel":
        targets = np.stack([present[name] for name in task.classes], axis=1)
        table = manifest.table.drop(columns=manifest.task.target_columns)
        table[task.target_columns] = targets.astype(np.float32)
        table["label"] = join_findings(task, targets.astype(np.float32))
        return replace(manifest, task=task, table=table, stratify=None)
    return _exclusive(manifest, task, mapped, present)


def _exclusive(
    manifest: Manifest, task: Task, mapped: Mapped, present: dict[str, NDArray[np.float32]]
) -> Manifest:
    first = task.classes[0]
    if task.kind == "binary" and not mapped[first] and manifest.task.kind == "multilabel":
        present[first] = 1 - present[task.classes[1]]  # unknown stays unknown
    member = np.stack([present[name] == 1 for name in task.classes], axis=1)
    one = member.sum(axis=1) == 1
    if not one.any():
        raise UserError(f"{manifest.root}: no image of {manifest.name} has one of these labels")
    if not one.all():
        warn(
            f"{int((~one).sum())} of {len(one)} images of {manifest.name} have none of the "
            "model's classes, or several, and are left out; labels={...} says what stands for what"
        )
    columns = [c for c in manifest.task.target_columns if c not in task.target_columns]
    target = member.argmax(axis=1)
    table = manifest.table.drop(columns=columns).assign(
        target=target, label=np.array(task.classes)[target]
    )
    return replace(manifest, task=task, table=table[one].reset_index(drop=True), stratify=None)


def _any_of(manifest: Manifest, sources: tuple[str, ...]) -> NDArray[np.float32]:
    """(N,) 1 where any of these classes is, 0 where all are known not to be, NaN where unknown."""
    if not sources:
        return np.full(len(manifest), np.nan, dtype=np.float32)
    memberships = dict(manifest.task.memberships(manifest.table))
    if manifest.task.kind == "multilabel":
        all_findings = np.stack(list(memberships.values()), axis=1)
        memberships[NO_FINDING] = 1 - _any(all_findings)
    return _any(np.stack([memberships[name] for name in sources], axis=1))


def _any(members: NDArray[np.float32]) -> NDArray[np.float32]:
    unknown = np.isnan(members).any(axis=1)
    found = (members == 1).any(axis=1)
    return np.where(found, 1, np.where(unknown, np.nan, 0)).astype(np.float32)


def _by_name(source: Task, task: Task) -> Mapped:
    return {
        name: tuple(other for other in source.classes if other.lower() == name.lower())
        for name in task.classes
    }


def _checked(labels: Mapping[str, str | Sequence[str]], manifest: Manifest, task: Task) -> Mapped:
    known = set(manifest.classes) | ({NO_FINDING} if manifest.task.kind == "multilabel" else set())
    mapped: Mapped = dict.fromkeys(task.classes, ())
    for name, sources in labels.items():
        if name not in mapped:
            raise UserError(f"labels: {name} is no class of the model ({', '.join(task.classes)})")
        mapped[name] = (sources,) if isinstance(sources, str) else tuple(sources)
        if missing := [source for source in mapped[name] if source not in known]:
            raise UserError(
                f"labels: {missing[0]} is no class of {manifest.name} ({', '.join(sorted(known))})"
            )
    counts = pd.Series([s for sources in mapped.values() for s in sources], dtype=str)
    if task.kind != "multilabel" and (twice := counts[counts.duplicated()].tolist()):
        raise UserError(f"labels: {twice[0]} stands for two classes of the model; keep one")
    return mapped
