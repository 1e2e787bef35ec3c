"""The prediction table: one row an image, all that metrics and figures need, on disk as CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxrlab.errors import UserError
from cxrlab.evaluation.calibration import Calibration, to_probability
from cxrlab.task import Task

FloatArray = npt.NDArray[np.float64]

SCORES = ("logit", "probability", "calibrated")
_TEXT = ("path", "patient_id", "split", "label")
_WHOLE = ("target", "decision")


def prediction_table(
    rows: pd.DataFrame,
    logits: npt.ArrayLike,
    task: Task,
    *,
    calibration: Calibration,
    thresholds: Sequence[float],
    report_columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Put a model's output beside what is known of each image.

    Args:
        rows: manifest rows in the order of the logits, with `path, patient_id, split, label`,
            the task's target columns and the reporting columns.
        logits: (N,) for two classes, where class 1 is positive; else (N, K).
        task: what is predicted.
        calibration: makes `calibrated` of the logits.
        thresholds: in [0, 1], one for two classes, or one a finding: `decision` (of a finding
            `decision_<class>`) is 1 where its `probability` >= threshold. None leave it empty.
            More than two classes take none: `decision` is the index of the most probable one.
        report_columns: columns of `rows` to carry along. Text that is a number becomes one, so
            that a table equals what is read back of its file.

    Returns:
        The table of the contract, index 0..N-1: `logit, probability, calibrated` (float64) for
        two classes, else `logit_<class>, ...`. The truth is `target` (int64), or of each finding
        `target_<class>`: 1, 0 or empty (Int64 where any is).

    Raises:
        UserError: a logit is not finite; names the first such image.
        ValueError: shapes, thresholds or reporting columns make no sense.
    """
    values = np.asarray(logits, dtype=np.float64)
    shape = (len(rows),) if task.kind == "binary" else (len(rows), task.outputs)
    if values.shape != shape:
        raise ValueError(f"logits have shape {values.shape}, not {shape}")
    check_thresholds(task, thresholds)
    _check_report_columns(report_columns)
    _check_finite(rows, values)
    probability = to_probability(values, task)
    by_kind = {
        "logit": values,
        "probability": probability,
        "calibrated": calibration.probability(values, task),
    }
    parts: dict[str, Any] = {name: _text(rows[name]) for name in ("path", "patient_id", "split")}
    parts |= _truth(rows, task)
    parts["label"] = _text(rows["label"])
    for kind, score in by_kind.items():
        columns = score.reshape(-1, task.outputs).T
        parts.update(zip(score_columns(task, kind), columns, strict=True))
    parts |= _decisions(probability, task, thresholds)
    parts.update({name: _number_or_text(_text(rows[name])) for name in report_columns})
    return pd.DataFrame(parts)


def check_thresholds(task: Task, thresholds: Sequence[float]) -> None:
    """Refuse thresholds that the task has no use for.

    Raises:
        ValueError: any for more than two classes; neither none nor one a logit for the others.
    """
    if task.kind == "multiclass" and thresholds:
        raise ValueError("more than two classes are decided by the most probable, not a threshold")
    if len(thresholds) not in (0, task.outputs):
        raise ValueError(f"{len(thresholds)} thresholds, where the task has {task.outputs} logits")


def score_columns(task: Task, kind: str) -> list[str]:
    """Names of the columns that hold one kind of score (`logit`, `probability`, `calibrated`)."""
    return [kind] if task.kind == "binary" else [f"{kind}_{name}" for name in task.classes]


def scores(table: pd.DataFrame, task: Task, kind: str) -> FloatArray:
    """One kind of score: (N,) of the positive class for two classes, else (N, K), float64."""
    values = table[score_columns(task, kind)].to_numpy(dtype=np.float64)
    return values[:, 0] if task.kind == "binary" else values


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV: the whole file or none, every float with all its digits.

    Raises:
        UserError: the folder can't be written to, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            table.to_csv(temporary, index=False, lineterminator="\n")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"can't write {path}: {error.strerror}; free some space or choose another folder"
        ) from error


def read_predictions(path: Path) -> pd.DataFrame:
    """Read what `write_predictions` wrote, bit for bit.

    Text columns stay text (`007` and `NA` too), scores are float64 (empty: NaN), targets and
    decisions int64 or, where any is empty, Int64. A reporting column is a number if each of its
    entries is written as Python writes that number.

    Raises:
        UserError: no such file, not a prediction table, or a score or target that is no number.
    """
    path = Path(path)
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    except OSError as error:
        raise UserError(
            f"can't read predictions {path}: {error.strerror}; give a run with predictions"
        ) from error
    except ValueError as error:  # pandas' own parser and empty-file errors are ValueErrors
        raise UserError(f"{path} is no table of predictions: {error}") from error
    columns = [str(name) for name in raw]
    missing = [name for name in _TEXT if name not in columns]
    kinds = {"target": ("target",), "decision": ("decision",), "probability": SCORES}
    missing += [what for what, kind in kinds.items() if not any(_is(c, kind) for c in columns)]
    if missing:
        raise UserError(
            f"{path} is no table of predictions: it lacks {', '.join(missing)}; "
            "give a file from a run's predictions folder"
        )
    return pd.DataFrame({name: _typed(raw[name], path) for name in raw.columns})


def _typed(column: pd.Series, path: Path) -> pd.Series:
    name = str(column.name)
    if name in _TEXT:
        return column
    try:
        if _is(name, SCORES):
            return column.map(lambda text: float(text or "nan")).astype(np.float64)
        if not _is(name, _WHOLE):
            return _number_or_text(column)
        if name != "target" and (column == "").any():
            return column.where(column != "", pd.NA).astype("Int64")
        return column.map(int).astype(np.int64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: column {name} holds no number ({error}); mend the file") from None


def _is(name: str, kinds: tuple[str, ...]) -> bool:
    """Whether a column is of one of these kinds, as a whole or of one class."""
    return name in kinds or name.startswith(tuple(f"{kind}_" for kind in kinds))


def _text(column: pd.Series) -> pd.Series:
    """As text without index; missing is the empty text, as in a CSV file."""
    values = ["" if pd.isna(value) else str(value) for value in column]
    return pd.Series(values, dtype="str")


def _number_or_text(text: pd.Series) -> pd.Series:
    """Numbers where that loses nothing, else text; the empty text is missing in both."""
    present = text[text != ""]
    for kind in (int, float):
        try:
            numbers = [kind(entry) for entry in present]
        except ValueError:
            continue
        exact = all(str(n) == t and abs(n) < 2**53 for n, t in zip(numbers, present, strict=True))
        if exact and numbers:
            whole = kind is int and len(present) == len(text)
            dtype = np.int64 if whole else np.float64
            return pd.Series(numbers, present.index, dtype=dtype).reindex(text.index)
    return text.where(text != "")


def _check_report_columns(names: Sequence[str]) -> None:
    clash = [name for name in names if name in _TEXT or _is(name, (*_WHOLE, *SCORES))]
    if clash:
        raise ValueError(f"reporting column {clash[0]!r} is a name of the prediction table itself")


def _check_finite(rows: pd.DataFrame, values: FloatArray) -> None:
    bad = ~np.isfinite(values.reshape(len(rows), -1)).all(axis=1)
    if bad.any():
        first = int(bad.argmax())
        raise UserError(
            f"the model's output is not a finite number for {int(bad.sum())} of {len(rows)} "
            f"images, first {rows['path'].iloc[first]}: training diverged or the weights are "
            "damaged; lower optimizer.lr or set trainer.precision=32-true"
        )


def _truth(rows: pd.DataFrame, task: Task) -> dict[str, Any]:
    columns = task.targets(rows).reshape(len(rows), len(task.target_columns)).T
    whole = [pd.Series(column).astype("Int64") for column in columns]
    truth = [column if column.isna().any() else column.astype(np.int64) for column in whole]
    return dict(zip(task.target_columns, truth, strict=True))


def _decisions(probability: FloatArray, task: Task, thresholds: Sequence[float]) -> dict[str, Any]:
    if task.kind == "multiclass":
        return {"decision": probability.argmax(axis=1)}
    names = [name.replace("target", "decision", 1) for name in task.target_columns]
    if not thresholds:
        return {name: pd.array([pd.NA] * len(probability), dtype="Int64") for name in names}
    decided = (probability >= np.array(thresholds)).astype(np.int64)
    return dict(zip(names, decided.reshape(-1, task.outputs).T, strict=True))
