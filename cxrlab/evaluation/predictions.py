"""The prediction table: one row an image, all that metrics and figures need, on disk as CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, softmax

from cxrlab.errors import UserError

FloatArray = npt.NDArray[np.float64]

SCORES = ("logit", "probability", "calibrated")
_TEXT = ("path", "patient_id", "split", "label")
_LEADING = ("path", "patient_id", "split", "target", "label")


def prediction_table(
    rows: pd.DataFrame,
    logits: npt.ArrayLike,
    classes: Sequence[str],
    *,
    temperature: float,
    threshold: float | None,
    report_columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Put a model's output beside what is known of each image.

    Args:
        rows: manifest rows in the order of the logits, with `path, patient_id, split, target,
            label` and the reporting columns.
        logits: (N,) for two classes, where class 1 is positive; (N, K) for K > 2.
        classes: names, at the index of their target.
        temperature: > 0; divides the logits for `calibrated`.
        threshold: in [0, 1]; `decision` is 1 where `probability` >= threshold. None for two
            classes leaves `decision` empty; for more it must be None: `decision` is the index
            of the most probable class.
        report_columns: columns of `rows` to carry along. Text that is a number becomes one, so
            that a table equals what is read back of its file.

    Returns:
        The table of the contract, index 0..N-1: `logit, probability, calibrated` (float64) for
        two classes, `logit_<class>, ...` for more.

    Raises:
        UserError: a logit is not finite; names the first such image.
        ValueError: shapes, threshold, temperature or reporting columns make no sense.
    """
    values = np.asarray(logits, dtype=np.float64)
    shape = (len(rows),) if len(classes) == 2 else (len(rows), len(classes))
    if values.shape != shape:
        raise ValueError(f"logits have shape {values.shape}, not {shape}")
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} is not above 0")
    if threshold is not None and len(classes) > 2:
        raise ValueError("more than two classes are decided by the most probable, not a threshold")
    _check_report_columns(report_columns)
    _check_finite(rows, values)
    probability = _probability(values)
    by_kind = {
        "logit": values,
        "probability": probability,
        "calibrated": _probability(values / temperature),
    }
    parts: dict[str, Any] = {name: _text(rows[name]) for name in _LEADING}
    parts["target"] = rows["target"].to_numpy(dtype=np.int64)
    for kind, score in by_kind.items():
        columns = score.reshape(len(rows), -1).T
        parts.update(zip(score_columns(classes, kind), columns, strict=True))
    parts["decision"] = _decision(probability, threshold)
    parts.update({name: _number_or_text(_text(rows[name])) for name in report_columns})
    return pd.DataFrame(parts)


def score_columns(classes: Sequence[str], kind: str) -> list[str]:
    """Names of the columns that hold one kind of score (`logit`, `probability`, `calibrated`)."""
    return [kind] if len(classes) == 2 else [f"{kind}_{name}" for name in classes]


def scores(table: pd.DataFrame, classes: Sequence[str], kind: str) -> FloatArray:
    """One kind of score: (N,) of the positive class for two classes, else (N, K), float64."""
    values = table[score_columns(classes, kind)].to_numpy(dtype=np.float64)
    return values[:, 0] if len(classes) == 2 else values


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

    Text columns stay text (`007` and `NA` too), scores are float64 (empty: NaN), `target` int64,
    `decision` int64 or, where it is empty, Int64. A reporting column is a number if each of its
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
    missing = [name for name in (*_LEADING, "decision") if name not in raw]
    if missing or not any(_is_score(str(name)) for name in raw):
        raise UserError(
            f"{path} is no table of predictions: it lacks {', '.join(missing) or 'probability'}; "
            "give a file from a run's predictions folder"
        )
    return pd.DataFrame({name: _typed(raw[name], path) for name in raw.columns})


def _typed(column: pd.Series, path: Path) -> pd.Series:
    name = str(column.name)
    if name in _TEXT:
        return column
    if name not in ("target", "decision") and not _is_score(name):
        return _number_or_text(column)
    try:
        if _is_score(name):
            return column.map(lambda text: float(text or "nan")).astype(np.float64)
        if name == "decision" and (column == "").any():
            return column.where(column != "", pd.NA).astype("Int64")
        return column.map(int).astype(np.int64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: column {name} holds no number ({error}); mend the file") from None


def _is_score(name: str) -> bool:
    return name in SCORES or name.startswith(tuple(f"{kind}_" for kind in SCORES))


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
    taken = {*_LEADING, "decision"}
    clash = [name for name in names if name in taken or _is_score(name)]
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


def _probability(logits: FloatArray) -> FloatArray:
    return np.asarray(expit(logits) if logits.ndim == 1 else softmax(logits, axis=1))


def _decision(probability: FloatArray, threshold: float | None) -> Any:
    if probability.ndim == 2:
        return probability.argmax(axis=1)
    if threshold is None:
        return pd.array([pd.NA] * probability.size, dtype="Int64")
    return (probability >= threshold).astype(np.int64)
