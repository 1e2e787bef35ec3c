"""ReLU6 in place: torch's numbers, without torch's copy."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cxrlab.model.folding import fold_batch_norms
from cxrlab.model.relu6 import InPlaceReLU6, replace_relu6

VALUES = st.one_of(st.sampled_from([0.0, 6.0, -0.0, float("nan")]), st.floats(-9, 9, width=32))


def through(layer: nn.Module, values: Tensor) -> list[Tensor]:
    """Output, gradient and the gradient of the gradient's square."""
    values = values.clone().requires_grad_()
    output = layer(values * 1)
    # Not zero where the output is: else a gradient that should be cut off there would not show.
    (first,) = torch.autograd.grad(((output + 1) ** 3).sum(), values, create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), values)
    return [output.detach(), first.detach(), second]


@given(values=st.lists(VALUES, min_size=1, max_size=20))
def test_output_and_gradients_are_torchs(values: list[float]) -> None:
    given_values = torch.tensor(values)
    expected = through(nn.ReLU6(inplace=True), given_values)
    for found, wanted in zip(through(InPlaceReLU6(), given_values), expected, strict=True):
        assert torch.equal(found.nan_to_num(99), wanted.nan_to_num(99))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_nothing_but_the_output_is_kept(kind: torch.dtype) -> None:
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    values = torch.randn(2, 3, 4, 4, dtype=kind, requires_grad=True) + 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = InPlaceReLU6()(values)
    assert kept == [output.data_ptr()] == [values.data_ptr()]


def test_without_gradients_it_is_torchs() -> None:
    values = torch.linspace(-9, 9, 40)
    assert torch.equal(InPlaceReLU6()(values.clone()), nn.ReLU6()(values))


@pytest.mark.parametrize("name", ["mobilenetv2_100", "efficientnet_lite0"])
def test_a_network_keeps_its_state_its_output_and_its_gradients(name: str) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=0)
    replaced = copy.deepcopy(net)
    replace_relu6(replaced)
    assert not any(type(module) is nn.ReLU6 for module in replaced.modules())
    assert list(replaced.state_dict()) == list(net.state_dict())
    images = torch.randn(2, 3, 64, 64)
    for network in (net, replaced):
        network(images).square().sum().backward()
    for found, expected in zip(replaced.parameters(), net.parameters(), strict=True):
        assert torch.equal(found.grad, expected.grad)


def test_norms_before_it_are_folded() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU6(inplace=True))
    replace_relu6(net)
    folded = fold_batch_norms(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(folded(images), net.eval()(images))


def test_only_what_overwrites_its_input_is_replaced() -> None:
    net = nn.Sequential(nn.ReLU6(), nn.ReLU(inplace=True))
    replace_relu6(net)
    assert [type(module) for module in net] == [nn.ReLU6, nn.ReLU]
