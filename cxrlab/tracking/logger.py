"""Lightning's metrics, sent to a run that somebody else opened and will close."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from cxrlab.tracking.run import Run


class RunLogger(Logger):
    """Hands metrics of the first process to a run; those of other processes are dropped."""

    def __init__(self, run: Run) -> None:
        """Log to an open run."""
        super().__init__()
        self.run = run

    @property
    def name(self) -> str:
        """A fixed name: the run has its own."""
        return "cxrlab"

    @property
    def version(self) -> str:
        """The run's id."""
        return self.run.run_id

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.run.output)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record one step's values, without the epoch that Lightning adds to each."""
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        if values:
            self.run.log_metrics(values, step or 0)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing to do: the resolved configuration was logged when the run began."""

    @rank_zero_only
    def save(self) -> None:
        """Nothing to do: Lightning asks at every step, and the run knows when a batch is due."""

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:
        """Write and send what is buffered: a run that goes on from here does not repeat it."""
        self.run.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write and send what is buffered; a run that failed is for its owner to end."""
        if status == "success":
            self.run.flush()
