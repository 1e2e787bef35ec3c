"""What the run computes on, and in which numbers."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from cxrlab.config.schema import TrainerConfig
from cxrlab.errors import UserError, warn


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


def choose_hardware(config: TrainerConfig) -> Hardware:
    """Pick a GPU where there is one and bfloat16 where the hardware multiplies it.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if config.accelerator == "gpu" and not has_gpu:
        raise UserError(
            "trainer.accelerator=gpu: torch finds no GPU on this machine; "
            "take trainer=auto or trainer=cpu, or check the driver (nvidia-smi)"
        )
    on_gpu = has_gpu and config.accelerator != "cpu"
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
    layout = "channels_last" if config.channels_last else "channels_first"
    return Hardware(
        accelerator="gpu" if on_gpu else "cpu",
        precision=precision,
        device=torch.device("cuda" if on_gpu else "cpu"),
        description=f"{unit}: {name}; {precision}, {layout}",
    )


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
