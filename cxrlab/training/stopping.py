"""Stopping when asked to, between two steps and on all processes at once."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from cxrlab.data.batches import Batch
from cxrlab.errors import warn
from cxrlab.training.exchange import Agreement

_GO_ON, _STOP, _QUEUE = 0, 1, 2
_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGUSR1: "SIGUSR1"}


class Stopped(KeyboardInterrupt):
    """All processes stop after the same step."""


class Preempted(Stopped):
    """The cluster wants its machine back; the job is to be queued again."""


class LastCheckpoint(ModelCheckpoint):
    """The state to go on from: of every epoch's end, and of the step at which training stopped."""

    def __init__(self, folder: Path, name: str) -> None:
        """Write to `<folder>/<name>.ckpt`."""
        super().__init__(folder, name, save_on_exception=True, enable_version_counter=False)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save, unless the other processes know nothing of the error: all must meet for that."""
        if trainer.world_size == 1 or isinstance(exception, Stopped):
            super().on_exception(trainer, pl_module, exception)


class Patience(EarlyStopping):
    """Early stopping that, where it had stopped a run already, does not let it train on."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop a run that goes on from its last checkpoint; Lightning keeps no note of that."""
        super().on_train_start(trainer, pl_module)
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class GracefulStop(pl.Callback):
    """Let an interruption wait for the end of the step, so that a resumed run misses nothing.

    Ctrl-C and SIGTERM do, and on a cluster SIGUSR1, which announces the end of the time allowed
    and has the job queued again. A second one stops at once. Where several processes train,
    all stop after the same step, whichever of them was asked.
    """

    def __init__(self, cluster: Literal["slurm"] | None = None) -> None:
        """Begin without a wish to stop.

        Args:
            cluster: what sends SIGUSR1; None leaves that signal alone.
        """
        self._signals = [signal.SIGTERM, *([signal.SIGUSR1] if cluster else [])]
        self._wish = _GO_ON
        self._agreement: Agreement | None = None
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over Ctrl-C, unless somebody has it ignored."""
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._take(signal.SIGINT)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the others from Lightning, which takes them just before."""
        self._agreement = Agreement()
        for number in self._signals:
            self._take(number)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back; Lightning leaves Ctrl-C ignored after an interruption."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        self._agreement = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Stop if asked to: the last step is complete and logged, the next not begun.

        Raises:
            Stopped: as asked.
            Preempted: asked by a cluster.
        """
        assert self._agreement is not None
        if batch_idx > 0 and (wish := self._agreement.highest(self._wish)):
            raise Preempted if wish == _QUEUE else Stopped

    def _take(self, number: signal.Signals) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._wish:
            raise KeyboardInterrupt
        self._wish = _QUEUE if number == signal.SIGUSR1 else _STOP
        name = _NAMES[signal.Signals(number)]
        warn(f"{name}: stopping after this step, with a checkpoint; once more stops at once")
