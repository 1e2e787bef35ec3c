"""Several processes that train one model: starting, watching and joining them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import (
    LightningEnvironment,
    find_free_network_port,
)
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.plugins import LayerSync
from torch import distributed, nn

from cxrlab.config.schema import TrainerConfig
from cxrlab.tracking.run import Run
from cxrlab.training.checkpoints import WholeCheckpoints
from cxrlab.training.ranks import PORT, RANK, Ranks

_GRACE = 20.0  # seconds for the first process to notice by itself that another one died
_POLL = 0.5
READY = "config/ready"
_log = logging.getLogger("cxrlab")


class ProcessDiedError(RuntimeError):
    """One of the processes ended in the middle of training; its own error is on stderr."""


class OwnProcesses(LightningEnvironment):
    """Processes of this machine that cxrlab started, which meet at a port of the first one.

    Lightning would start the same command again instead, with a second folder and a second run.
    """

    def __init__(self, ranks: Ranks, port: int) -> None:
        """Take a place; `port` is free on this machine."""
        super().__init__()
        self._ranks, self._port = ranks, port

    @property
    def creates_processes_externally(self) -> bool:
        """They exist when Lightning begins."""
        return True

    @property
    def main_address(self) -> str:
        """This machine."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Where the first process listens."""
        return self._port

    def local_rank(self) -> int:
        """Number of the process on this machine."""
        return self._ranks.local

    def node_rank(self) -> int:
        """The only machine."""
        return 0


class SyncBatchNormAct(LayerSync):
    """Batch norm over the images of all processes, also where timm fused an activation into it.

    Torch's own conversion would replace timm's layers and lose their activation.
    """

    def __init__(self) -> None:
        """Begin with nothing converted."""
        self._originals: dict[str, nn.Module] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the batch norms; weights and statistics are shared with the originals."""
        from timm.layers.norm_act import convert_sync_batchnorm

        batch_norm = nn.modules.batchnorm._BatchNorm
        self._originals = {n: m for n, m in model.named_modules() if isinstance(m, batch_norm)}
        converted: nn.Module = convert_sync_batchnorm(model)
        return converted

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the originals back, with the weights and statistics of now."""
        for name, original in self._originals.items():
            current = model.get_submodule(name)
            original.train(current.training)
            for kind in ("_parameters", "_buffers"):
                getattr(original, kind).update(getattr(current, kind))
            model.set_submodule(name, original)
        self._originals = {}
        return model


def environment(config: TrainerConfig, ranks: Ranks) -> ClusterEnvironment:
    """How the processes find each other."""
    if config.cluster == "slurm":
        # Requeued by us, after a checkpoint between two steps; Lightning's may fall into one.
        return SLURMEnvironment(auto_requeue=False)
    return OwnProcesses(ranks, int(os.environ[PORT]))


@contextmanager
def companions(config: TrainerConfig, ranks: Ranks, run: Run) -> Iterator[None]:
    """The other processes, alive within the `with` as far as this one is to start them.

    Where one dies, this process is told by its next exchange with it; where that hangs, the run
    is ended as FAILED and the process with it.

    Raises:
        ProcessDiedError: a process ended with an error.
    """
    if ranks.count == 1 or ranks.rank:
        with _leaving(ranks):
            yield
        return
    if config.cluster == "slurm":
        mark_ready(run.output)
        with _leaving(ranks):
            yield
        return
    started = _start(ranks, run.output)
    over = threading.Event()
    threading.Thread(target=_watch, args=(started, over, run), daemon=True).start()
    try:
        with _leaving(ranks):
            yield
    except RuntimeError as error:
        if died := _died(started, 5.0):
            raise ProcessDiedError(died) from error
        raise
    finally:
        over.set()
        _end(started)


def mark_ready(output: Path) -> None:
    """Tell the processes that SLURM started that data and configuration are there."""
    (output / READY).write_text(_attempt())


def wait_until_ready(output: Path) -> None:
    """Return when the first process of this attempt of a SLURM job has called `mark_ready`."""
    while True:
        try:
            if (output / READY).read_text() == _attempt():
                return
        except OSError:
            pass  # not there yet, or a network disk that has not seen it
        time.sleep(_POLL)


def _attempt() -> str:
    """What tells a job's first start from those after it was requeued, and its steps apart."""
    names = ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID")
    return ".".join(os.environ.get(name, "0") for name in names)


@contextmanager
def _leaving(ranks: Ranks) -> Iterator[None]:
    """Leave the group at the end, so that the next run of this process can found its own."""
    yield
    if ranks.count > 1 and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _start(ranks: Ranks, output: Path) -> list[subprocess.Popen[bytes]]:
    os.environ[PORT] = str(find_free_network_port())
    command = [sys.executable, "-m", "cxrlab.training.rank", str(output.absolute())]
    return [
        # Ctrl-C reaches the first process alone, which tells the others when to stop.
        subprocess.Popen(
            command, env={**os.environ, RANK: str(rank)}, start_new_session=True, stdout=2
        )
        for rank in range(1, ranks.count)
    ]


def _watch(started: list[subprocess.Popen[bytes]], over: threading.Event, run: Run) -> None:
    while not over.wait(_POLL):
        if (died := _died(started)) and not over.wait(_GRACE):
            _log.error("%s; the run ends", died)
            run.close("FAILED", ProcessDiedError(died))
            _end(started)
            os._exit(1)  # the main thread waits for the dead one in code that nothing interrupts


def _died(started: list[subprocess.Popen[bytes]], patience: float = 0.0) -> str:
    """What to say of the first process that ended with an error; empty if none did."""
    until = time.monotonic() + patience
    while True:
        for number, process in enumerate(started, 1):
            if process.poll():
                return (
                    f"process {number} of {len(started) + 1} ended with status "
                    f"{process.returncode}; its own error stands above"
                )
        if time.monotonic() >= until:
            return ""
        time.sleep(_POLL / 5)


def _end(started: list[subprocess.Popen[bytes]]) -> None:
    """Wait for the end of the others, and make it come where it does not."""
    for process in started:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def strategy(
    config: TrainerConfig, ranks: Ranks, before_checkpoint: Callable[[], None]
) -> dict[str, Any]:
    """Lightning's arguments on how processes work together and write checkpoints."""
    chosen: list[Any] = [WholeCheckpoints(before_checkpoint)]
    if ranks.count == 1:
        return {"plugins": chosen}
    chosen.append(environment(config, ranks))
    if config.sync_batchnorm:
        chosen.append(SyncBatchNormAct())
    return {"strategy": "ddp", "plugins": chosen, "num_nodes": config.nodes}
