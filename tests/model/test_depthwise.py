"""Depthwise convolutions with a stride: the same numbers as torch's, by another way back."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from cxrlab.model.depthwise import StridedDepthwise, replace_strided_depthwise


def strided(kind: type[nn.Conv2d] = nn.Conv2d, **changed) -> nn.Conv2d:
    settings = {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 6, "bias": False} | changed
    return kind(6, 6, **settings)


def gradients(layer: nn.Module, images: Tensor, weights: Tensor) -> list[Tensor]:
    """Output, and gradients of the input and of all parameters."""
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(images)
    own = torch.autograd.grad((output.float() * weights).sum(), [images, *layer.parameters()])
    return [output.detach(), *own]


@given(
    kernel=st.sampled_from([(3, 1), (3, 0), (3, 2), (5, 2), (2, 0), (2, 1)]),
    stride=st.sampled_from([2, 3, (1, 2)]),
    sides=st.tuples(st.integers(5, 14), st.integers(5, 14)),
    bias=st.booleans(),
    same=st.booleans(),
)
def test_output_and_gradients_are_those_of_the_convolution_it_replaces(
    kernel: tuple[int, int], stride, sides: tuple[int, int], bias: bool, same: bool
) -> None:
    torch.manual_seed(0)
    size, pad = kernel
    conv = strided(
        Conv2dSame if same else nn.Conv2d, kernel_size=size, padding=pad, stride=stride, bias=bias
    )
    replaced = StridedDepthwise(copy.deepcopy(conv))
    images = torch.randn(2, 6, *sides)
    weights = torch.randn_like(conv(images))
    exact = gradients(conv, images, weights)
    for found, expected in zip(gradients(replaced, images, weights), exact, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_in_float32_and_without_gradients_it_is_the_convolution_itself() -> None:
    conv = strided()
    replaced = StridedDepthwise(conv)
    images = torch.randn(2, 6, 9, 9, requires_grad=True)
    assert "Depthwise" not in type(replaced(images).grad_fn).__name__
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(replaced(images), conv(images))


def test_in_bfloat16_the_gradient_goes_by_the_other_way() -> None:
    images = torch.randn(2, 6, 9, 9, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert "Depthwise" in type(StridedDepthwise(strided())(images).grad_fn).__name__


@pytest.mark.parametrize("name", ["mobilenetv2_100", "efficientnet_b0", "tf_efficientnet_b0"])
def test_a_network_keeps_its_parameters_and_its_output(name: str) -> None:
    net = timm.create_model(name, num_classes=0).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before, state = net(images), net.state_dict()
        replace_strided_depthwise(net)
        assert torch.equal(net(images), before)
    found = net.state_dict()
    assert list(found) == list(state)
    assert all(found[key] is state[key] or torch.equal(found[key], state[key]) for key in state)
    assert sum(isinstance(layer, StridedDepthwise) for layer in net.modules()) == 4


@pytest.mark.parametrize(
    "conv",
    [
        strided(stride=1),
        strided(dilation=2),
        strided(groups=3),
        strided(padding_mode="reflect"),
        nn.Conv2d(6, 12, 3, stride=2, groups=6),
        nn.Conv2d(6, 6, 3, stride=2),
    ],
)
def test_other_convolutions_stay(conv: nn.Conv2d) -> None:
    net = nn.Sequential(conv)
    replace_strided_depthwise(net)
    assert net[0] is conv
