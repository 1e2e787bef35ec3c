"""What the run computes on, and in which numbers."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from cxrlab.config.schema import TrainerConfig
from cxrlab.errors import UserError, warn
from cxrlab.training.ranks import Ranks


@dataclass(frozen=True)
class Hardware:
    """A choice of device and precision.

    Attributes:
        accelerator: cpu or gpu, for Lightning.
        precision: Lightning's word for it.
        device: the torch device.
        description: what the user reads and the run's tag says.
    """

    accelerator: str
    precision: str
    device: torch.device
    description: str


def choose_hardware(
    config: TrainerConfig,
    ranks: Ranks = Ranks(),  # noqa: B008  immutable
) -> Hardware:
    """Pick a GPU where there is one and bfloat16 where the hardware multiplies it.

    Of several processes on a machine each takes the GPU of its number, and its share of the
    processor's threads.

    Raises:
        UserError: a GPU is asked for and there is none, or fewer than processes, or what only
            several GPUs have.
    """
    has_gpu = torch.cuda.is_available()
    if config.accelerator == "gpu" and not has_gpu:
        raise UserError(
            "trainer.accelerator=gpu: torch finds no GPU on this machine; "
            "take trainer=auto or trainer=cpu, or check the driver (nvidia-smi)"
        )
    on_gpu = has_gpu and config.accelerator != "cpu"
    if on_gpu and config.devices > max(1, torch.cuda.device_count()):
        raise UserError(
            f"trainer.devices={config.devices}: torch sees {torch.cuda.device_count()} GPUs on "
            f"this machine; nearest valid: trainer.devices={torch.cuda.device_count()}"
        )
    if config.sync_batchnorm and not (on_gpu and ranks.count > 1):
        raise UserError(
            "trainer.sync_batchnorm=true: only several processes on GPUs can have one batch norm; "
            "take trainer.sync_batchnorm=false"
        )
    if ranks.count > 1:
        _take_place(config, ranks, on_gpu=on_gpu)
    fast_bf16 = torch.cuda.is_bf16_supported() if on_gpu else _cpu_multiplies_bf16()
    precision = config.precision
    if precision == "auto":
        precision = "bf16-mixed" if fast_bf16 else "32-true"
    elif precision == "bf16-mixed" and not fast_bf16:
        warn(
            "trainer.precision=bf16-mixed: this hardware has no bfloat16 instructions, so training "
            "will be slower than in float32; take trainer.precision=auto"
        )
    name = torch.cuda.get_device_name() if on_gpu else _cpu_name()
    unit = "GPU" if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    if ranks.count > 1:
        unit = f"{ranks.count} processes, each on {unit}"
    layout = "channels_last" if config.channels_last else "channels_first"
    return Hardware(
        accelerator="gpu" if on_gpu else "cpu",
        precision=precision,
        device=torch.device("cuda" if on_gpu else "cpu"),
        description=f"{unit}: {name}; {precision}, {layout}",
    )


def _take_place(config: TrainerConfig, ranks: Ranks, *, on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.set_device(ranks.local)  # what `cuda` without a number means from here on
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // config.devices))


def _cpu_multiplies_bf16() -> bool:
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or f"{os.cpu_count()} cores"
