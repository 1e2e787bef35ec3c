"""A table of the user's own: a CSV file with a row an image.

Population, labels, caveats: as they are. One label column holds class names, of which an image
has one; two or more hold findings: 1 present, 0 absent, -1 or empty unknown.

Patients: `data.patient_column`; without it every image counts as its own patient, and no leak
can be seen. Split: `data.split_column`, else none official.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.datasets import CsvData
from cxrlab.config.validate import nearest
from cxrlab.data.manifest import UNASSIGNED, Manifest, join_findings
from cxrlab.data.sources.folders import SPLIT_NAMES
from cxrlab.data.sources.relative import relative_paths
from cxrlab.data.sources.roots import given_path
from cxrlab.data.sources.tables import check_columns, read_table, row_number
from cxrlab.errors import UserError, warn
from cxrlab.task import Task

_OURS = ("path", "label", "target", "patient_id", "split", "mask")
_CELLS = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "-1": np.nan, "-1.0": np.nan, "": np.nan}


def load(config: CsvData) -> Manifest:
    """Read the table with the columns that the configuration names.

    Raises:
        UserError: the table can't be read, lacks a column, lists an image twice, or has a path,
            label or split that can't be used; the message names the row.
    """
    file = given_path(config.table, "csv: data.table", "of the CSV file")
    root = Path(config.root).expanduser().absolute() if config.root else file.parent
    cells = read_table(file)
    check_columns(cells, _columns(config), file)
    cells = cells.apply(lambda column: column.str.strip())
    table = pd.DataFrame({"path": relative_paths(cells[config.path_column], root, file)})
    _check_once(table["path"], file)
    table["patient_id"] = _patients(config, cells, table["path"], file)
    table["split"] = _splits(config, cells, file)
    if config.mask_column is not None:
        masks = cells[config.mask_column]
        table["mask"] = relative_paths(masks, root, file, optional=True)
    for name in _kept(config, cells):
        table[name] = cells[name] if name == config.site_column else _numbers_if_all(cells[name])
    labels = cells[config.label_columns]
    task, table = _with_labels(config, table, labels, file)
    return Manifest(config.name, root, task, table, tuple(config.report_columns))


def _columns(config: CsvData) -> list[str]:
    optional = (config.patient_column, config.split_column, config.mask_column)
    named = [c for c in optional if c is not None]
    return [config.path_column, *config.label_columns, *named, *config.report_columns]


def _kept(config: CsvData, cells: pd.DataFrame) -> list[str]:
    """Columns to report by, and the one that `data.split=site` needs."""
    for name in config.report_columns:
        if name in _OURS or name.startswith("target_"):
            raise UserError(
                f"data.report_columns: {name!r} is a name that the manifest uses itself; "
                "rename that column of the table"
            )
    sites = [config.site_column] if config.split == "site" and config.site_column in cells else []
    return list(dict.fromkeys([*config.report_columns, *sites]))


def _check_once(paths: pd.Series, file: Path) -> None:
    if paths.duplicated().any():
        second = int(paths.index[paths.duplicated()][0])
        first = int(paths.index[paths == paths[second]][0])
        raise UserError(
            f"{file}: {paths[second]} is in row {row_number(first)} and again in row "
            f"{row_number(second)}; keep one row an image"
        )


def _patients(config: CsvData, cells: pd.DataFrame, paths: pd.Series, file: Path) -> pd.Series:
    if config.patient_column is None:
        warn(
            f"{file}: patients are not known, so every image counts as its own patient and images "
            "of one patient may train and test unseen; give data.patient_column=NAME"
        )
        return paths
    patients = cells[config.patient_column]
    if (patients == "").any():
        warn(
            f"{file}: {int((patients == '').sum())} rows have no {config.patient_column}; each of "
            "them counts as its own patient; fill them in"
        )
    return patients.where(patients != "", paths)


def _splits(config: CsvData, cells: pd.DataFrame, file: Path) -> pd.Series:
    if config.split_column is None:
        return pd.Series(UNASSIGNED, index=cells.index)
    written = cells[config.split_column].str.lower()
    splits = written.map({**SPLIT_NAMES, "": UNASSIGNED})
    if splits.isna().any():
        index = int(splits.index[splits.isna()][0])
        value = cells[config.split_column][index]
        raise UserError(
            f"{file}: row {row_number(index)}: split {value!r}; {nearest(value, SPLIT_NAMES)}"
        )
    return splits


def _with_labels(
    config: CsvData, table: pd.DataFrame, labels: pd.DataFrame, file: Path
) -> tuple[Task, pd.DataFrame]:
    if len(config.label_columns) > 1:
        task = Task.multilabel(config.label_columns)
        targets = _finding_cells(labels, file)
        columns = dict(zip(task.target_columns, targets.T, strict=True))
        return task, table.assign(**columns, label=join_findings(task, targets))
    written = labels.iloc[:, 0]
    if (written == "").any():
        warn(
            f"{file}: {int((written == '').sum())} of {len(written)} rows have no "
            f"{config.label_columns[0]} and are left out; fill them in to use them"
        )
    table, written = table[written != ""], written[written != ""]
    task = _exclusive(config, written, file)
    target = written.map(task.classes.index).astype("int64")
    return task, table.assign(target=target, label=written)


def _exclusive(config: CsvData, written: pd.Series, file: Path) -> Task:
    found = sorted(written.unique(), key=_numbers_first)
    classes = list(dict.fromkeys(config.classes)) if config.classes is not None else found
    if unknown := [name for name in found if name not in classes]:
        index = int(written.index[written == unknown[0]][0])
        raise UserError(
            f"{file}: row {row_number(index)}: label {unknown[0]!r} is not in data.classes; "
            f"{nearest(unknown[0], classes)}"
        )
    if len(classes) < 2:
        raise UserError(
            f"{file}: column {config.label_columns[0]!r} holds {len(classes)} classes "
            f"({', '.join(classes) or 'none'}); two or more are needed"
        )
    return Task.exclusive(classes)


def _finding_cells(labels: pd.DataFrame, file: Path) -> NDArray[np.float32]:
    for name in labels:
        strange = ~labels[name].isin(list(_CELLS))
        if strange.any():
            index = int(labels.index[strange][0])
            raise UserError(
                f"{file}: row {row_number(index)}: {name} is {labels[name][index]!r}; findings are "
                "1 present, 0 absent, -1 or empty unknown (one label column holds class names)"
            )
    return labels.apply(lambda column: column.map(_CELLS)).to_numpy(np.float32)


def _numbers_if_all(cells: pd.Series) -> pd.Series:
    """Numbers where every cell is one or empty, such as ages; text for codes such as 007."""
    is_number = cells.str.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?")
    if is_number.any() and (is_number | (cells == "")).all():
        return pd.to_numeric(cells.where(is_number))
    return cells


def _numbers_first(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
