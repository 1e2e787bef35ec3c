"""A run in MLflow, through a client of its own and without MLflow's global state."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cxrlab.errors import warn
from cxrlab.layout import METRICS_FILE
from cxrlab.tracking.background import Background, Job
from cxrlab.tracking.metrics import MetricBuffer, read_points
from cxrlab.tracking.outbox import Outbox
from cxrlab.tracking.params import allowed_name, cut
from cxrlab.tracking.parcels import (
    DatasetUse,
    End,
    Metrics,
    Network,
    Params,
    Parcel,
    Tags,
    Upload,
)
from cxrlab.tracking.sender import Sender
from cxrlab.tracking.spool import Spool
from cxrlab.tracking.store import Store, reason

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_ERROR_LENGTH = 500
_DIGEST_LENGTH = 36  # mlflow.utils.validation.MAX_DATASET_DIGEST_SIZE
_THUMBNAIL = 256  # mlflow.tracking.multimedia.COMPRESSED_IMAGE_SIZE
_CONTEXTS = {"val": "validation"}
_COLUMN_TYPES = {"i": "long", "u": "long", "f": "double", "b": "boolean"}


class TrackedRun:
    """A run in MLflow, made by `cxrlab.tracking.opening`.

    What is logged goes to the store in a thread of its own, in the order in which it was given, so
    that training waits for no disk and no server. Where an embedded store fails, the next call
    raises its UserError, at the latest `close`. A server that is slow, restarts or is gone raises
    nothing: what it did not take is tried again until `close`, and then left in the run's folder
    for `python -m cxrlab.sync`.
    """

    def __init__(
        self, store: Store, experiment: str, run_id: str, output: Path, grace: float
    ) -> None:
        """Write to an existing, running run of the store and to the folder `output`."""
        self.run_id = run_id
        self.page = f"#/experiments/{experiment}/runs/{run_id}"
        self.uri = store.uri
        self.output = output
        self._store = store
        self._sender = Sender(store, run_id, output)
        self._background = Background()
        self._outbox = Outbox(self._deliver, store.shown, grace) if store.remote else None
        self._metrics = MetricBuffer(
            output / METRICS_FILE, self._sender.send_points, lambda _: self._give(Metrics())
        )

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

    def _give(self, parcel: Parcel) -> None:
        """Send it after everything that was given or deferred before."""
        self._background.submit(partial(self._hand_on, parcel))

    def _hand_on(self, parcel: Parcel) -> None:
        if self._outbox is None:
            self._deliver(parcel)
        else:
            self._outbox.put(parcel)

    def _deliver(self, parcel: Parcel) -> None:
        if isinstance(parcel, Metrics):
            self._metrics.send()
        else:
            self._sender.send(parcel)

    def catch_up(self) -> None:
        """Level `metrics.csv` and the store, where the process that wrote both was killed."""
        names = {point.name for point in read_points(self.output / METRICS_FILE)}
        kept = {allowed_name(name): name for name in names}
        points = [p._replace(name=kept.get(p.name, p.name)) for p in self._sender.points()]
        self._metrics.catch_up([(p.name, p.step) for p in points], points)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags, or change them; values are cut at MLflow's 8,000 characters."""
        self._give(Tags.of(tags))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Add params; values are cut at MLflow's 6,000 characters."""
        self._give(Params.of(params))

    def upload(self, relative: str | Path) -> None:
        """Store a file or folder of `output` as an artifact of the same path.

        It may be written by work deferred before; there being none is an error like the store's,
        a FileNotFoundError.

        Raises:
            ValueError: The path leads out of the output folder.
        """
        path = self.output / relative
        path.resolve().relative_to(self.output.resolve())
        self.defer(partial(self._upload, path))

    def _upload(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(f"nothing to upload at {path}")
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                place = file.resolve().relative_to(self.output.resolve())
                self._hand_on(Upload(str(PurePosixPath(place))))

    def log_image(self, array: NDArray[np.uint8], key: str, step: int) -> None:
        """Show an image, (H, W) or (H, W, 3) RGB, in the image grid: a row a key, over steps.

        It is kept in `images/` of the run's folder, under the name by which MLflow's page finds it
        (`MlflowClient.log_image`, which would make another image of each new try).
        """
        name = re.sub(r"[^a-zA-Z0-9_./ -]", "_", key).replace("/", "~")
        stem = f"images/{name}+step+{step}+timestamp+{now()}+{uuid.uuid4()}"
        self.defer(partial(self._log_image, array, stem))

    def _log_image(self, array: NDArray[np.uint8], stem: str) -> None:
        from PIL import Image

        image = Image.fromarray(array)
        small = image.copy()
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        (self.output / "images").mkdir(parents=True, exist_ok=True)
        for name, picture in ((f"{stem}.png", image), (f"{stem}+compressed.webp", small)):
            picture.save(self.output / name)
            self._hand_on(Upload(name))
        self._hand_on(Tags({"mlflow.loggedImages": "True"}))

    def log_network(self, name: str) -> None:
        """Make the folder `name` of `output`, written by MLflow, a model of the run."""
        self._give(Network(name))

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
        columns = [
            {"name": str(label), "type": _COLUMN_TYPES.get(dtype.kind, "string"), "required": True}
            for label, dtype in table.dtypes.items()
        ]
        used = DatasetUse(
            # MLflow keeps one input a name and digest: equal splits would hide each other.
            name=f"{name}_{split}",
            digest=digest[:_DIGEST_LENGTH],
            source=json.dumps({"uri": source}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": len(table), "num_elements": int(table.size)}),
            context=_CONTEXTS.get(split, split),
        )
        self._give(used)

    def give_left(self) -> None:
        """Give what an earlier process of this run could not send; how that ended is over."""
        spool = Spool.read(self.output)
        for parcel in spool.parcels if spool else ():
            if not isinstance(parcel, End):
                self._give(parcel)
        if self._outbox is None:  # else it stays until `close`, in case this process dies too
            self.wait()
            Spool.remove(self.output)

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

        attempt(self._background.close)
        attempt(self._metrics.write)
        attempt(partial(self._hand_on, Metrics()))
        status = "FAILED" if failures and error is None else status
        if cause := error or next(iter(failures), None):
            attempt(partial(self._hand_on, Tags.of({"cxrlab.error": _error_line(cause)})))
        attempt(partial(self._hand_on, End(status, now())))
        if self._outbox is not None:
            attempt(self._leave_unsent)
        if failures and error is None:
            raise failures[0]
        if failures and failures[0] is not error:
            warn(
                f"the end of run {self.run_id} is not in MLflow, only in its folder {self.output}: "
                f"{failures[0]}"
            )

    def _leave_unsent(self) -> None:
        """Wait for the server, and keep what it does not take for another day."""
        assert self._outbox is not None
        # Before the wait, which a second Ctrl-C or the end of a SLURM job may cut short.
        Spool.of(self.run_id, self._store.shown, self._outbox.waiting()).write(self.output)
        left = self._outbox.close()
        if not left:
            Spool.remove(self.output)
            return
        Spool.of(self.run_id, self._store.shown, left).write(self.output)
        why = reason(self._outbox.error) if self._outbox.error else "it is too slow"
        warn(
            f"tracking server {self._store.shown} did not take all of run {self.run_id} ({why}); "
            f"it is whole in {self.output}; send the rest, when the server is back, with: "
            f"python -m cxrlab.sync run={self.output}"
        )


def _error_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return cut(f"{kind}: {text}" if text else kind, _ERROR_LENGTH)


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
