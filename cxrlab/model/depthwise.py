"""Depthwise convolutions with a stride, whose gradient in bfloat16 on a CPU need not be slow."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_REPLACED = (nn.Conv2d, Conv2dSame)


def replace_strided_depthwise(net: nn.Module) -> None:
    """Put `StridedDepthwise` where it computes the same, with the same parameters."""
    for name, conv in list(net.named_modules()):
        if type(conv) in _REPLACED and _fits(conv):
            net.set_submodule(name, StridedDepthwise(conv))


class StridedDepthwise(nn.Conv2d):
    """A depthwise convolution with a stride that is trained in bfloat16 on a CPU at full speed.

    torch 2.14 has no fast kernel there for the gradient of the input: 89 ms for 32 images of 96
    channels at 96 x 96 pixels, a seventh of a whole step of MobileNetV2, where the convolution
    takes 4 ms. The gradient is also what a convolution of stride 1 with the mirrored kernel gives
    of the output's gradient spread out with zeros, and that takes 12 ms. Everywhere else this is
    the convolution that it replaces.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Take the place of a convolution, and its parameters.

        Args:
            conv: as many outputs as inputs and groups; `Conv2dSame` pads by the size of what it is
                shown, which the replacement then does too.
        """
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=conv.bias is not None,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.pads_as_tensorflow = isinstance(conv, Conv2dSame)

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H', W')."""
        if self.pads_as_tensorflow:
            input = pad_same(input, list(self.kernel_size), list(self.stride))
        kind = _computed_in(input)
        slow = kind == torch.bfloat16 and input.device.type == "cpu"
        if not (slow and torch.is_grad_enabled() and input.requires_grad):
            return self._conv_forward(input, self.weight, self.bias)
        output: Tensor = _Depthwise.apply(
            input.to(kind), self.weight.to(kind), self.stride, self.padding
        )
        return output if self.bias is None else output + self.bias.to(kind).view(1, -1, 1, 1)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with a stride, and its gradient by one without."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(images, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            of_images = _of_images(gradient, images, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            _, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient, images, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0),
                len(weight), [False, True, False],
            )  # fmt: skip
        return of_images, of_weight, None, None


def _of_images(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Tensor:
    """Gradient of the input: a full correlation of the spread-out gradient with the kernel."""
    kernel = weight.shape[2:]
    # What the convolution would give with stride 1, of which it keeps every second value or so.
    sides = [
        side + 2 * pad - of + 1
        for side, pad, of in zip(images.shape[2:], padding, kernel, strict=True)
    ]
    spread = torch.zeros(
        (*gradient.shape[:2], *sides), dtype=gradient.dtype, device=gradient.device
    ).contiguous(memory_format=torch.channels_last)
    spread[:, :, :: stride[0], :: stride[1]] = gradient
    around = [of - 1 - pad for of, pad in zip(kernel, padding, strict=True)]
    return functional.conv2d(spread, weight.flip(2, 3), None, 1, around, 1, len(weight))


def _computed_in(images: Tensor) -> torch.dtype:
    """The precision of a convolution here: that of autocast, where it is on."""
    kind = images.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype


def _fits(conv: nn.Module) -> bool:
    return (
        isinstance(conv, nn.Conv2d)
        and conv.groups == conv.in_channels == conv.out_channels > 1
        and max(conv.stride) > 1
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        # Else the spread-out gradient would have to be cut.
        and all(pad < of for pad, of in zip(conv.padding, conv.kernel_size, strict=True))
    )
