"""ReLU6 that keeps for its gradient what the next layer keeps anyway."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def replace_relu6(net: nn.Module) -> None:
    """Put `InPlaceReLU6` where a ReLU6 may overwrite its input."""
    for name, module in list(net.named_modules()):
        if type(module) is nn.ReLU6 and module.inplace:
            net.set_submodule(name, InPlaceReLU6())


class InPlaceReLU6(nn.ReLU6):
    """min(max(x, 0), 6) in place, without a copy of x.

    torch's own clones its input first, since its gradient looks there for what was cut off. The
    output shows the same: 0 or 6. So the clone's time and memory are saved, and the numbers, the
    gradient's too, are torch's.
    """

    def __init__(self) -> None:
        """Overwrite the input."""
        super().__init__(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        """Map a tensor of any shape to the same, changed."""
        is_trained = torch.is_grad_enabled() and input.requires_grad
        if not is_trained or torch.compiler.is_compiling():
            return super().forward(input)
        output: Tensor = _ReLU6.apply(input)
        return output


class _ReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.mark_dirty(values)
        values.clamp_(0, 6)
        ctx.save_for_backward(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,), (output,) = gradients, ctx.saved_tensors
        found: Tensor = torch.ops.aten.hardtanh_backward(gradient, output, 0.0, 6.0)
        return found
