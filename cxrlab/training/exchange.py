"""What the processes that train one model tell each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def gathered(parts: Tensor) -> Tensor:
    """Tensors of one shape from every process, (B, ...), one after another, on every process."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return parts
    received = [torch.empty_like(parts) for _ in range(distributed.get_world_size())]
    distributed.all_gather(received, parts.contiguous())
    return torch.cat(received)


class Agreement:
    """A number on which all processes act at the same step."""

    def __init__(self) -> None:
        """Found a group of its own: over gloo, so that asking waits for no GPU."""
        self._group: Any = None
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            self._group = distributed.new_group(backend="gloo")

    def highest(self, value: int) -> int:
        """The greatest of what the processes say; every process has to ask at the same step."""
        if self._group is None:
            return value
        flag = torch.tensor([value])
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX, group=self._group)
        return int(flag.item())
