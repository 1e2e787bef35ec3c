"""One run, as the code that measures something sees it: with MLflow behind it or without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cxrlab.errors import PrunedError
from cxrlab.layout import METRICS_FILE
from cxrlab.tracking.metrics import MetricBuffer
from cxrlab.tracking.opening import create_run, reopen_run
from cxrlab.tracking.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


class Run(Protocol):
    """What code that measures something needs of a run.

    No method waits for a server or a database but `close`. Where what an earlier call
    began has failed, any later call may raise its error.
    """

    @property
    def run_id(self) -> str:
        """What `run=` takes to find this run again."""

    @property
    def uri(self) -> str:
        """Tracking URI; empty without MLflow."""

    @property
    def page(self) -> str:
        """Where the MLflow UI shows the run, without the server; empty without MLflow."""

    @property
    def output(self) -> Path:
        """The run's folder, laid out as its artifacts are."""

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record one step's values, in `metrics.csv` and in MLflow, batched."""

    def flush(self) -> None:
        """Write what is buffered, and send it."""

    def defer(self, work: Callable[[], None]) -> None:
        """Do some work, such as drawing what is then uploaded, while the caller goes on.

        It must not compute with torch: see `cxrlab.tracking.background`.
        """

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Add tags, or change them."""

    def upload(self, relative: str | Path) -> None:
        """Store a file or folder of `output` as an artifact of the same path."""

    def log_image(self, array: NDArray[np.uint8], key: str, step: int) -> None:
        """Show an image, (H, W) or (H, W, 3) RGB, in the image grid: a row a key, over steps."""

    def log_network(self, name: str) -> None:
        """Make the folder `name` of `output`, written by MLflow, a model of the run."""

    def log_dataset(
        self, table: pd.DataFrame, *, name: str, split: str, digest: str, source: str
    ) -> None:
        """Record that the run used a split: its columns and size, not its rows."""

    def close(self, status: str, error: BaseException | None = None) -> None:
        """Store what is left and end the run as `FINISHED`, `FAILED` or `KILLED`."""


class NullRun:
    """A run without MLflow: its folder and `metrics.csv` are all there is."""

    uri = page = ""

    def __init__(self, output: Path) -> None:
        """Write to the folder `output`."""
        self.output = output
        self._metrics = MetricBuffer(output / METRICS_FILE, send=lambda _: None)

    @property
    def run_id(self) -> str:
        """The folder, which `run=` takes as well."""
        return str(self.output)

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record one step's values in `metrics.csv`."""
        self._metrics.add(values, step)

    def flush(self) -> None:
        """Write what is buffered."""
        self._metrics.flush()

    def defer(self, work: Callable[[], None]) -> None:
        """Do it at once: there is no thread."""
        work()

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Nothing to do: tags are MLflow's."""

    def upload(self, relative: str | Path) -> None:
        """Nothing to do: the file is where it belongs."""

    def log_image(self, array: NDArray[np.uint8], key: str, step: int) -> None:
        """Nothing to do: the image grid is MLflow's."""

    def log_network(self, name: str) -> None:
        """Nothing to do: models are MLflow's."""

    def log_dataset(
        self, table: pd.DataFrame, *, name: str, split: str, digest: str, source: str
    ) -> None:
        """Nothing to do: dataset inputs are MLflow's."""

    def close(self, status: str, error: BaseException | None = None) -> None:
        """Write what is buffered; the status is MLflow's."""
        self.flush()


@contextmanager
def start_run(
    store: Store | None,
    *,
    experiment: str,
    name: str,
    output: Path,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    grace: float,
    description: str | None = None,
    run_id: str | None = None,
) -> Iterator[Run]:
    """A run that is RUNNING inside the `with` and ends with it, however that ends.

    No exception: FINISHED. Ctrl-C or SIGTERM (as KeyboardInterrupt, or the SystemExit that
    Lightning makes of them) and pruning: KILLED. Any other: FAILED. The exception goes on.

    Args:
        store: From `open_store`; None for no MLflow.
        experiment: MLflow experiment, created if need be.
        name: Run name.
        output: The run's folder; `metrics.csv` is written there.
        tags: Tags of the run.
        params: Flat mapping (see `flatten`).
        grace: Seconds that the begin and the end of the run wait for a server without an answer.
        description: Markdown at the head of the run's page.
        run_id: A run to reopen in place of a new one. Its params stay as they were, since MLflow
            changes none; new ones are added.

    Raises:
        UserError: The store fails, or has no such run.
    """
    run: Run
    if store is None:
        run = NullRun(output)
    elif run_id is None:
        run = create_run(store, experiment, name, output, tags, params, description, grace)
    else:
        run = reopen_run(store, run_id, output, tags, params, description, grace)
    try:
        yield run
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt | SystemExit | PrunedError)
        run.close("KILLED" if killed else "FAILED", error)
        raise
    run.close("FINISHED")
