"""The one thing that a dataset has to produce: a table with a row an image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlab.errors import UserError

SPLITS = ("train", "val", "test")
COLUMNS = ("path", "target", "label", "patient_id", "split")


@dataclass(frozen=True)
class Manifest:
    """Images, what they show, whose they are and what they are used for.

    Attributes:
        name: the dataset's name.
        root: the folder that `path` and `mask` are relative to.
        classes: class names; the index of a name is its `target`.
        table: a row an image: `path` (posix), `target` (int64 class index), `label` (class name),
            `patient_id` (str), `split` (train, val or test), optionally `mask` (path of a lesion
            mask or ""), and the reporting columns.
        report_columns: names of the columns that results are reported by, such as `pathogen`.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    table: pd.DataFrame
    report_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [c for c in (*COLUMNS, *self.report_columns) if c not in self.table]
        if missing:
            raise ValueError(f"manifest of {self.name}: no column {', '.join(missing)}")
        if self.table["path"].duplicated().any():
            first = self.table.loc[self.table["path"].duplicated(), "path"].iloc[0]
            raise UserError(f"{self.root}: {first} is listed twice in the manifest; keep one row")

    def __len__(self) -> int:
        return len(self.table)

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, in the manifest's order."""
        return self.table[self.table["split"] == name].reset_index(drop=True)

    def with_table(self, table: pd.DataFrame) -> Manifest:
        """The same dataset with other rows or splits."""
        return replace(self, table=table.reset_index(drop=True))

    def limited(self, limit: int | None, seed: int) -> Manifest:
        """At most `limit` images a split, spread over the classes as the whole is.

        Args:
            limit: images a split; None keeps all.
            seed: chooses which ones.
        """
        if limit is None:
            return self
        rng = np.random.default_rng(seed)
        kept = [self._sample(self.table[self.table["split"] == s], limit, rng) for s in SPLITS]
        return self.with_table(pd.concat(kept).sort_index())

    @staticmethod
    def _sample(rows: pd.DataFrame, limit: int, rng: np.random.Generator) -> pd.DataFrame:
        if len(rows) <= limit:
            return rows
        shuffled = rows.iloc[rng.permutation(len(rows))]
        # Each image's place within its class, as a share: taking the smallest keeps proportions,
        # and the first image of every class comes before the second of any.
        place = shuffled.groupby("target").cumcount()
        share = place / shuffled.groupby("target")["path"].transform("size")
        first = (place > 0).astype(int)
        order = np.lexsort((share.to_numpy(), first.to_numpy()))
        return shuffled.iloc[order[:limit]]

    def check(self, needed: Sequence[str] = SPLITS) -> None:
        """Say no to a manifest that can't be trained or evaluated on.

        Raises:
            UserError: a split is empty or lacks a class.
        """
        for split in needed:
            rows = self.split(split)
            if rows.empty:
                raise UserError(f"{self.root}: no image in split {split!r} of {self.name}")
            present = set(rows["target"])
            for target, label in enumerate(self.classes):
                if target not in present:
                    raise UserError(
                        f"{self.root}: class {label} has no image in split {split!r} of "
                        f"{self.name} ({len(rows)} images there); add images or change the split"
                    )

    def counts(self) -> pd.DataFrame:
        """Images and patients by split and class: columns split, label, images, patients."""
        grouped = self.table.groupby(["split", "label"], sort=False)
        counted = grouped.agg(images=("path", "size"), patients=("patient_id", "nunique"))
        order = {s: i for i, s in enumerate(SPLITS)}
        return counted.reset_index().sort_values("split", key=lambda s: s.map(order))

    def split_hash(self) -> str:
        """Digest of which image is in which split with which label, whatever the row order."""
        return _row_digest(self.table)

    def digest(self, split: str) -> str:
        """Digest of the images and labels of one split."""
        return _row_digest(self.split(split))


def data_fingerprint(paths: Sequence[str], digests: Sequence[str], targets: Sequence[int]) -> str:
    """Digest of the images' contents and labels, whatever the folder or the row order.

    Args:
        paths: paths relative to the dataset's root.
        digests: content digest of each image file.
        targets: class index of each image.
    """
    rows = sorted(zip(paths, digests, (str(t) for t in targets), strict=True))
    return _digest("\x1f".join(row) for row in rows)


def _row_digest(table: pd.DataFrame) -> str:
    rows = table[["path", "target", "split"]].sort_values("path")
    return _digest("\x1f".join(map(str, row)) for row in rows.itertuples(index=False))


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:16]
