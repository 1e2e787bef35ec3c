"""One run's way into MLflow: each thing sent once, also where an answer was lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, assert_never

from cxrlab.errors import warn
from cxrlab.tracking.metrics import Point
from cxrlab.tracking.params import allowed_name
from cxrlab.tracking.parcels import (
    DatasetUse,
    End,
    Kept,
    Network,
    Params,
    Tags,
    Upload,
)
from cxrlab.tracking.store import Store, one_line_errors

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, LoggedModel, Metric
    from mlflow.tracking import MlflowClient

_BATCH = 100  # mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH


class Sender:
    """Sends to a run that exists.

    Everything may be sent again after it failed. Params, tags, files, datasets and the status are
    then what they were. Of metrics the store is asked for what it holds, and gets the rest; a
    request that was given up and is carried out all the same, later, adds nothing, since a point's
    key, step, time and value are its primary key in MLflow's databases.
    """

    def __init__(self, store: Store, run_id: str, output: Path) -> None:
        """Send to a run of the store what lies in the folder `output`."""
        self._store = store
        self._client: MlflowClient = store.client()
        self._run_id = run_id
        self._output = output
        # Files of a model that arrived before another one failed: over a bad line all of them
        # would not come through in one try.
        self._uploaded: set[Path] = set()
        self._unsure = False  # whether the store may hold points of which it did not say so

    def send(self, parcel: Kept) -> None:
        """Send one parcel.

        Raises:
            StoreError: it failed; the parcel may or may not be in the store.
        """
        with one_line_errors(self._store):
            match parcel:
                case Params(values):
                    self._send_params(values)
                case Tags(values):
                    self._send_tags(values)
                case Upload(path):
                    self._upload(PurePosixPath(path))
                case DatasetUse():
                    self._send_dataset(parcel)
                case Network(name):
                    self._send_network(name)
                case End(status, time):
                    self._client.set_terminated(self._run_id, status, end_time=time)
                case _:
                    assert_never(parcel)

    def send_points(self, points: Sequence[Point]) -> None:
        """Send at most 1,000 points that were not sent before, as far as anybody knows.

        Raises:
            StoreError: it failed; some may be in the store, and the next call looks for them.
        """
        from mlflow.entities import Metric

        with one_line_errors(self._store):
            if self._unsure:
                held = self._held({allowed_name(point.name) for point in points})
                points = [p for p in points if (allowed_name(p.name), p.step) not in held]
            self._unsure = True
            metrics = [Metric(allowed_name(p.name), p.value, p.time, p.step) for p in points]
            if metrics:
                self._client.log_batch(self._run_id, metrics=metrics)
            self._unsure = False

    def points(self) -> list[Point]:
        """All points that the store holds, under MLflow's names.

        Raises:
            StoreError: it failed.
        """
        with one_line_errors(self._store):
            names = self._client.get_run(self._run_id).data.metrics
            return [
                Point(name, m.step, m.value, m.timestamp)
                for name in names
                for m in self._history(name)
            ]

    def _held(self, names: set[str]) -> set[tuple[str, int]]:
        return {(name, metric.step) for name in names for metric in self._history(name)}

    def _history(self, name: str) -> list[Metric]:
        return list(self._client.get_metric_history(self._run_id, name))

    def _send_params(self, values: dict[str, str]) -> None:
        from mlflow.entities import Param

        rows = [Param(key, text) for key, text in values.items()]
        for start in range(0, len(rows), _BATCH):
            self._client.log_batch(self._run_id, params=rows[start : start + _BATCH])

    def _send_tags(self, values: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        rows = [RunTag(key, text) for key, text in values.items()]
        for start in range(0, len(rows), _BATCH):
            self._client.log_batch(self._run_id, tags=rows[start : start + _BATCH])

    def _upload(self, place: PurePosixPath) -> None:
        path = self._output / place
        if not path.is_file():
            warn(
                f"{path} was deleted before it could be sent, so MLflow does not have it; if it is "
                f"needed, restore it: mlflow artifacts log-artifact --run-id {self._run_id}"
            )
            return
        parent = None if place.parent == PurePosixPath() else str(place.parent)
        self._client.log_artifact(self._run_id, str(path), parent)

    def _send_dataset(self, used: DatasetUse) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        dataset = Dataset(
            name=used.name,
            digest=used.digest,
            source_type="local",
            source=used.source,
            schema=used.schema,
            profile=used.profile,
        )
        inputs: list[DatasetInput] = [
            DatasetInput(dataset, [InputTag("mlflow.data.context", used.context)])
        ]
        try:
            self._client.log_inputs(self._run_id, inputs)
        except MlflowException as error:
            # MLflow looks whether the dataset is known and then adds it; where another run
            # was faster between the two, the second try finds it.
            if "unique" not in str(error).lower():
                raise
            self._client.log_inputs(self._run_id, inputs)

    def _send_network(self, name: str) -> None:
        """Make the folder `name` the run's model, or the model that an earlier try began."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus
        from mlflow.models import Model

        run = self._client.get_run(self._run_id)
        model = self._known_network(name, run.info.experiment_id)
        if model is None:
            model = self._client.create_logged_model(
                run.info.experiment_id, name, source_run_id=self._run_id, params=run.data.params
            )
        outputs = run.outputs.model_outputs if run.outputs else []
        if all(output.model_id != model.model_id for output in outputs):
            output = LoggedModelOutput(model.model_id, step=0)
            self._client.log_outputs(self._run_id, [output])
        folder = self._output / name
        described = Model.load(str(folder))
        described.model_id, described.run_id = model.model_id, self._run_id
        described.artifact_path = model.artifact_location
        described.save(str(folder / "MLmodel"))
        self._upload_model(model.model_id, folder)
        if model.status != LoggedModelStatus.READY:
            self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def _upload_model(self, model_id: str, folder: Path) -> None:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            if file not in self._uploaded:
                place = file.parent.relative_to(folder).as_posix()
                self._client.log_model_artifact(
                    model_id, str(file), None if place == "." else place
                )
                self._uploaded.add(file)
        self._uploaded.clear()

    def _known_network(self, name: str, experiment: str) -> LoggedModel | None:
        found = self._client.search_logged_models(
            [experiment], f"source_run_id = '{self._run_id}' AND name = '{name}'"
        )
        return found[0] if found else None
