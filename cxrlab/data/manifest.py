"""The one thing that a dataset has to produce: a table with a row an image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.errors import UserError, warn
from cxrlab.task import Task

SPLITS = ("train", "val", "test")
UNASSIGNED = ""
COLUMNS = ("path", "label", "patient_id", "split")
NO_FINDING, UNKNOWN = "none", "unknown"


@dataclass(frozen=True)
class Manifest:
    """Images, what they show, whose they are and what they are used for.

    Attributes:
        name: the dataset's name.
        root: the folder that `path`, `mask` and `marker` are relative to.
        task: what is predicted.
        table: a row an image: `path` (posix), the task's target columns, `label` (what a person
            reads: the class name, or the findings joined by `|`), `patient_id` (str), `split`,
            optionally `mask` and `marker` (paths of masks of the lesion and of what was planted,
            or ""), and the reporting columns. `split` is
            train, val or test; as a source delivers it, that is the dataset's official split or
            "" where it has none, and `train` may still be cut.
        report_columns: names of the columns that results are reported by, such as `pathogen`.
        stratify: column of kinds within a class that a cut keeps in proportion, as it does classes.
    """

    name: str
    root: Path
    task: Task
    table: pd.DataFrame
    report_columns: tuple[str, ...] = ()
    stratify: str | None = None

    def __post_init__(self) -> None:
        needed = (*COLUMNS, *self.task.target_columns, *self.report_columns)
        missing = [c for c in needed if c not in self.table]
        if missing:
            raise ValueError(f"manifest of {self.name}: no column {', '.join(missing)}")
        if self.table["path"].duplicated().any():
            first = self.table.loc[self.table["path"].duplicated(), "path"].iloc[0]
            raise UserError(f"{self.root}: {first} is listed twice in the manifest; keep one row")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, at the index of their target."""
        return self.task.classes

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, in the manifest's order."""
        return self.table[self.table["split"] == name].reset_index(drop=True)

    def with_table(self, table: pd.DataFrame) -> Manifest:
        """The same dataset with other rows or splits."""
        return replace(self, table=table.reset_index(drop=True))

    def strata(self) -> NDArray[np.int64]:
        """The class of each row that sampling has to keep: of several findings the rarest.

        Returns:
            (N,) class index; K for rows without a finding that is known to be present.
        """
        targets = self.task.targets(self.table)
        if self.task.kind != "multilabel":
            return targets.astype(np.int64)
        present = targets == 1
        by_rarity = np.argsort(present.sum(axis=0), kind="stable")
        first = present[:, by_rarity].argmax(axis=1)
        return np.where(present.any(axis=1), by_rarity[first], len(self.classes))

    def limited(self, limits: dict[str, int], seed: int) -> Manifest:
        """At most some images of each split named, spread over the classes as the whole is.

        Args:
            limits: images by split; splits that are not named keep all.
            seed: chooses which ones.
        """
        rng = np.random.default_rng(seed)
        strata, splits = self.strata(), self.table["split"].to_numpy()
        kept = np.ones(len(self), dtype=bool)
        for split, limit in limits.items():
            rows = np.flatnonzero(splits == split)
            kept[rows] = False
            kept[_sample(rows, strata[rows], limit, rng)] = True
        return self.with_table(self.table[kept])

    def check(self, needed: Sequence[str] = SPLITS) -> None:
        """Say no to a manifest that can't be trained or evaluated on.

        Of several findings, one that a split lacks is only warned of: the others can be learned.

        Raises:
            UserError: a split is empty, or lacks a class or every finding.
        """
        for split in needed:
            rows = self.split(split)
            if rows.empty:
                raise UserError(f"{self.root}: no image in split {split!r} of {self.name}")
            several = self.task.kind == "multilabel"
            lacking = [
                label
                for label, member in self.task.memberships(rows)
                if not (member == 1).any() or (several and not (member == 0).any())
            ]
            if not lacking:
                continue
            where = f"in split {split!r} of {self.name} ({len(rows)} images there)"
            if not several or len(lacking) == len(self.classes):
                raise UserError(
                    f"{self.root}: class {lacking[0]} has no image {where}; "
                    "add images or change the split"
                )
            warn(
                f"{', '.join(lacking)}: never or always present {where}, so nothing can be "
                "learned or measured of them there; use more images or fewer findings"
            )

    def counts(self) -> pd.DataFrame:
        """Images and patients by split and class: columns split, label, images, patients."""
        found = []
        for split in SPLITS:
            rows = self.split(split)
            for label, member in self.task.memberships(rows):
                patients = rows["patient_id"][member == 1].nunique()
                found.append((split, label, int((member == 1).sum()), patients))
        return pd.DataFrame(found, columns=["split", "label", "images", "patients"])

    def split_hash(self) -> str:
        """Digest of which image is in which split with which label, whatever the row order."""
        return self._digest(self.table)

    def digest(self, split: str) -> str:
        """Digest of the images and labels of one split."""
        return self._digest(self.split(split))

    def _digest(self, table: pd.DataFrame) -> str:
        rows = table[["path", *self.task.target_columns, "split"]].sort_values("path")
        return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()[:16]


def join_findings(task: Task, targets: NDArray[np.float32]) -> list[str]:
    """What a person reads of (N, K) findings: those present, `none`, or `unknown`."""
    # A few hundred combinations make up all rows of a large dataset.
    combinations, which = np.unique(np.nan_to_num(targets, nan=-1), axis=0, return_inverse=True)
    labels = [_join(task, row) for row in combinations]
    return [labels[place] for place in which.ravel()]


def _join(task: Task, known: NDArray[np.float32]) -> str:
    names = [name for name, value in zip(task.classes, known, strict=True) if value == 1]
    return "|".join(names) or (UNKNOWN if (known == -1).all() else NO_FINDING)


def data_fingerprint(paths: Sequence[str], digests: Sequence[str], labels: Sequence[str]) -> str:
    """Digest of the images' contents and labels, whatever the folder or the row order.

    Args:
        paths: paths relative to the dataset's root.
        digests: content digest of each image file.
        labels: of each image.
    """
    rows = ["\x1f".join(row) for row in sorted(zip(paths, digests, labels, strict=True))]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _sample(
    rows: NDArray[np.int64], strata: NDArray[np.int64], limit: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    if len(rows) <= limit:
        return rows
    order = rng.permutation(len(rows))
    shuffled = pd.Series(strata[order])
    # Each image's place within its class, as a share: taking the smallest keeps proportions,
    # and the first image of every class comes before the second of any.
    place = shuffled.groupby(shuffled).cumcount().to_numpy()
    share = place / shuffled.groupby(shuffled).transform("size").to_numpy()
    return rows[order[np.lexsort((share, place > 0))[:limit]]]
