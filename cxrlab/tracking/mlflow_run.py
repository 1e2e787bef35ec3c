"""A run in MLflow, through a client of its own and without MLflow's global state."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cxrlab.errors import UserError, warn
from cxrlab.layout import METRICS_FILE
from cxrlab.tracking.background import Background, Job
from cxrlab.tracking.metrics import MetricBuffer, Point, read_points
from cxrlab.tracking.params import PARAM_LENGTH, TAG_LENGTH, allowed_name, cut
from cxrlab.tracking.store import Store, experiment_id, one_line_errors

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from mlflow.entities import Dataset
    from mlflow.tracking import MlflowClient
    from numpy.typing import NDArray

_BATCH = 100  # mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH
_ERROR_LENGTH = 500
_DIGEST_LENGTH = 36  # mlflow.utils.validation.MAX_DATASET_DIGEST_SIZE
_CONTEXTS = {"val": "validation"}
_COLUMN_TYPES = {"i": "long", "u": "long", "f": "double", "b": "boolean"}


class TrackedRun:
    """A run in MLflow, made by `create_run` or `reopen_run`.

    What is logged goes to the store in a thread of its own, in the order in which it was given, so
    that training waits for no disk and no server. Where the store fails, the next call raises its
    UserError, at the latest `close`.
    """

    def __init__(self, store: Store, run_id: str, output: Path) -> None:
        """Write to an existing, running run of the store and to the folder `output`."""
        self.run_id = run_id
        self.uri = store.uri
        self.output = output
        self._store = store
        self._client: MlflowClient = store.client()
        self._background = Background()
        self._metrics = MetricBuffer(output / METRICS_FILE, self._send, self._background.submit)

    def defer(self, work: Job) -> None:
        """Do it after everything that was logged before, while the caller goes on."""
        self._background.submit(work)

    def wait(self) -> None:
        """Return when everything that was given so far is stored."""
        self._background.wait()

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record one step's values; MLflow keeps NaN, and infinities as the largest float."""
        self._metrics.add(values, step)

    def flush(self) -> None:
        """Write what is buffered, and send it."""
        self._metrics.flush()

    def _send(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(allowed_name(p.name), p.value, p.time, p.step) for p in points]
        with one_line_errors(self._store):
            self._client.log_batch(self.run_id, metrics=metrics)

    def catch_up(self) -> None:
        """Level `metrics.csv` and the store, where the process that wrote both was killed."""
        names = {point.name for point in read_points(self.output / METRICS_FILE)}
        kept = {allowed_name(name): name for name in names}
        with one_line_errors(self._store):
            latest = self._client.get_run(self.run_id).data.metrics
            points = [
                Point(kept.get(key, key), m.step, m.value, m.timestamp)
                for key in latest
                for m in self._client.get_metric_history(self.run_id, key)
            ]
        self._metrics.catch_up([(p.name, p.step) for p in points], points)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags, or change them; values are cut at MLflow's 8,000 characters."""
        self.defer(partial(self._set_tags, dict(tags)))

    def _set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        rows = [RunTag(allowed_name(key), cut(text, TAG_LENGTH)) for key, text in tags.items()]
        with one_line_errors(self._store):
            for start in range(0, len(rows), _BATCH):
                self._client.log_batch(self.run_id, tags=rows[start : start + _BATCH])

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Add params at once; values are cut at MLflow's 6,000 characters."""
        from mlflow.entities import Param

        rows = [Param(key, text) for key, text in _as_params(params).items()]
        with one_line_errors(self._store):
            for start in range(0, len(rows), _BATCH):
                self._client.log_batch(self.run_id, params=rows[start : start + _BATCH])

    def upload(self, relative: str | Path) -> None:
        """Store a file or folder of `output` as an artifact of the same path.

        It may be written by work deferred before; there being none is an error like the store's,
        a FileNotFoundError.

        Raises:
            ValueError: The path leads out of the output folder.
        """
        path = self.output / relative
        place = PurePosixPath(path.resolve().relative_to(self.output.resolve()))
        self.defer(partial(self._upload, path, place))

    def _upload(self, path: Path, place: PurePosixPath) -> None:
        if not path.exists():
            raise FileNotFoundError(f"nothing to upload at {path}")
        with one_line_errors(self._store):
            if path.is_dir():
                target = None if place == PurePosixPath() else str(place)
                self._client.log_artifacts(self.run_id, str(path), target)
            else:
                parent = None if place.parent == PurePosixPath() else str(place.parent)
                self._client.log_artifact(self.run_id, str(path), parent)

    def log_image(self, array: NDArray[np.uint8], key: str, step: int) -> None:
        """Show an image, (H, W) or (H, W, 3) RGB, in the image grid: a row a key, over steps."""
        key = re.sub(r"[^a-zA-Z0-9_./ -]", "_", key)
        self.defer(partial(self._log_image, array, key, step))

    def _log_image(self, array: NDArray[np.uint8], key: str, step: int) -> None:
        with one_line_errors(self._store):
            self._client.log_image(self.run_id, array, key=key, step=step)

    def log_dataset(
        self, table: pd.DataFrame, *, name: str, split: str, digest: str, source: str
    ) -> None:
        """Record that the run used a split: its columns and size, not its rows.

        Args:
            table: The split's part of the manifest.
            name: The dataset's name; the split is appended.
            split: `train`, `val` or `test`, shown as the context train, validation or test.
            digest: Hash of the split's content, cut at 36 characters.
            source: Folder or address that the images came from.
        """
        # mlflow.data.from_pandas would guess the source's kind, warn of integers and read rows.
        from mlflow.entities import Dataset

        columns = [
            {"name": str(label), "type": _COLUMN_TYPES.get(dtype.kind, "string"), "required": True}
            for label, dtype in table.dtypes.items()
        ]
        dataset = Dataset(
            # MLflow keeps one input a name and digest: equal splits would hide each other.
            name=f"{name}_{split}",
            digest=digest[:_DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": source}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": len(table), "num_elements": int(table.size)}),
        )
        self.defer(partial(self._log_dataset, dataset, _CONTEXTS.get(split, split)))

    def _log_dataset(self, dataset: Dataset, context: str) -> None:
        from mlflow.entities import DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        tag = InputTag("mlflow.data.context", context)
        with one_line_errors(self._store):
            try:
                self._client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])
            except MlflowException as error:
                # MLflow looks whether the dataset is known and then adds it; where another run
                # was faster between the two, the second try finds it.
                if "unique" not in str(error).lower():
                    raise
                self._client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])

    def close(self, status: str, error: BaseException | None = None) -> None:
        """Store what is left and end the run as `FINISHED`, `FAILED` or `KILLED`.

        Args:
            status: MLflow's word.
            error: What ended the run; its one line becomes the tag `cxrlab.error`. Failures of the
                store are then only warned of, so that they don't hide it.

        Raises:
            Exception: Something could not be stored, or deferred work failed, and there was no
                error before.
        """
        failures: list[Exception] = []

        def attempt(step: Job) -> None:
            try:
                step()
            except Exception as failure:
                failures.append(failure)

        for step in (self._background.close, self._metrics.write, self._metrics.send):
            attempt(step)
        status = "FAILED" if failures and error is None else status
        if cause := error or next(iter(failures), None):
            attempt(partial(self._set_tags, {"cxrlab.error": _one_line(cause)}))
        attempt(partial(self._terminate, status))
        if failures and error is None:
            raise failures[0]
        if failures and failures[0] is not error:
            warn(
                f"the end of run {self.run_id} is not in MLflow, only in its folder {self.output}: "
                f"{failures[0]}"
            )

    def _terminate(self, status: str) -> None:
        with one_line_errors(self._store):
            self._client.set_terminated(self.run_id, status)


def create_run(
    store: Store,
    experiment: str,
    name: str,
    output: Path,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    description: str | None,
) -> TrackedRun:
    """A new, running run; the arguments are those of `cxrlab.tracking.run.start_run`."""
    number = experiment_id(store, experiment)
    first = _with_columns(tags, description)
    with one_line_errors(store):
        run_id = store.client().create_run(number, tags=first, run_name=name).info.run_id
    run = TrackedRun(store, run_id, output)
    run.log_params(params)
    return run


def reopen_run(
    store: Store,
    run_id: str,
    output: Path,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    description: str | None,
) -> TrackedRun:
    """An earlier run, RUNNING again; the arguments are those of `start_run`."""
    added = _new_params(store, run_id, params)
    with one_line_errors(store):
        store.client().update_run(run_id, status="RUNNING")
    run = TrackedRun(store, run_id, output)
    run.log_params(added)
    run.catch_up()
    run.set_tags(_with_columns(tags, description))
    run.wait()
    return run


def _new_params(store: Store, run_id: str, params: Mapping[str, Any]) -> dict[str, str]:
    """The params that a run to be reopened doesn't have yet."""
    from mlflow.exceptions import MlflowException

    try:
        kept = store.client().get_run(run_id).data.params
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            with one_line_errors(store):
                raise
        raise UserError(
            f"run {run_id} is not in the tracking store {store.shown}: give its own store with "
            "tracking.uri, or another run"
        ) from error
    given = _as_params(params)
    changed = [key for key, text in given.items() if kept.get(key, text) != text]
    if changed:
        warn(
            f"params of run {run_id} changed since it began ({', '.join(sorted(changed))}): MLflow "
            "keeps the first values; config/config.yaml in its artifacts has the new ones"
        )
    return {key: text for key, text in given.items() if key not in kept}


def _as_params(params: Mapping[str, Any]) -> dict[str, str]:
    return {allowed_name(key): cut(str(value), PARAM_LENGTH) for key, value in params.items()}


def _with_columns(tags: Mapping[str, str], description: str | None) -> dict[str, str]:
    """The tags, with those that fill the columns User, Source and Version of the MLflow UI."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password table
        user = "unknown"
    filled = {"mlflow.user": user, "mlflow.source.type": "LOCAL"}
    own = {
        "mlflow.source.name": tags.get("cxrlab.command"),
        "mlflow.source.git.commit": tags.get("cxrlab.git_commit"),
        "mlflow.note.content": description,
    }
    filled |= {key: text for key, text in own.items() if text}
    return {allowed_name(key): cut(text, TAG_LENGTH) for key, text in {**filled, **tags}.items()}


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return cut(f"{kind}: {text}" if text else kind, _ERROR_LENGTH)
