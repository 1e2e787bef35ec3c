"""Which of how many processes this one is; known before torch is imported."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrlab.errors import UserError

if TYPE_CHECKING:
    from cxrlab.config.schema import Config, TrainerConfig
    from cxrlab.data.manifest import Manifest

RANK, PORT = "CXRLAB_RANK", "CXRLAB_PORT"  # set for the processes that the first one starts


@dataclass(frozen=True)
class Ranks:
    """The place of a process among those that train one model.

    Attributes:
        rank: its number; process 0 alone evaluates, explains, writes and talks to MLflow.
        count: how many there are, on all machines.
        local: its number on its machine, which is that of its GPU.
    """

    rank: int = 0
    count: int = 1
    local: int = 0


def ranks_of(config: TrainerConfig) -> Ranks:
    """The place of this process.

    Raises:
        UserError: SLURM started another number of processes, or none.
    """
    count = config.nodes * config.devices
    if config.cluster == "slurm":
        return _slurm_ranks(config, count)
    if config.nodes > 1:
        raise UserError(
            f"trainer.nodes={config.nodes}: nothing starts processes on other machines; "
            "take trainer=slurm, or trainer.nodes=1"
        )
    rank = int(os.environ.get(RANK, "0"))
    return Ranks(rank, count, rank)


def check_shares(config: Config, manifest: Manifest, ranks: Ranks) -> None:
    """Refuse data that can't be divided among the processes.

    Raises:
        UserError: there are more processes than training batches, or than validation images.
    """
    if ranks.count == 1:
        return
    images = len(manifest.split("train"))
    batches = images // min(config.data.batch_size, images)
    if batches < ranks.count:
        raise UserError(
            f"trainer.devices: {ranks.count} processes and only {batches} batches an epoch "
            f"({images} training images, data.batch_size={config.data.batch_size}); take fewer "
            "processes or a smaller data.batch_size"
        )
    if len(manifest.split("val")) < ranks.count:
        raise UserError(
            f"trainer.devices: {ranks.count} processes and only "
            f"{len(manifest.split('val'))} validation images; take fewer processes"
        )


def _slurm_ranks(config: TrainerConfig, count: int) -> Ranks:
    found = os.environ.get("SLURM_NTASKS")
    if found is None or "SLURM_PROCID" not in os.environ:
        raise UserError(
            "trainer=slurm: this process was not started by srun; in a batch script write "
            f"srun --nodes={config.nodes} --ntasks-per-node={config.devices} "
            "python -m cxrlab.train trainer=slurm"
        )
    if int(found) != count:
        raise UserError(
            f"trainer=slurm: srun started {found} processes, and trainer.nodes={config.nodes} "
            f"times trainer.devices={config.devices} is {count}; make them equal"
        )
    return Ranks(int(os.environ["SLURM_PROCID"]), count, int(os.environ.get("SLURM_LOCALID", "0")))
