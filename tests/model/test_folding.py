from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cxrlab.model.folding import fold_batch_norms

NAMES = [
    ("mobilenetv2_050", {}),
    ("mobilenetv2_050", {"pad_type": "same"}),
    ("mobilenetv3_small_050", {}),
    ("efficientnet_b0", {}),
    ("resnet18", {}),
    ("resnet50", {}),
]


def with_statistics(net: nn.Module) -> nn.Module:
    """As if trained: running statistics, factors and shifts that are not 0 and 1."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return net


def norms_in(net: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in net.modules())


def assert_same(net: nn.Module, folded: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected, found = net.eval()(images), folded(images)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(("name", "options"), NAMES)
def test_every_norm_behind_a_convolution_is_folded_and_nothing_else_changes(
    name: str, options: dict[str, str]
) -> None:
    net = with_statistics(timm.create_model(name, num_classes=0, **options))
    folded = fold_batch_norms(net)
    assert norms_in(net) > 0
    assert norms_in(folded) == 0
    assert_same(net, folded, torch.rand(2, 3, 64, 64))


def test_norms_in_front_of_their_convolution_stay() -> None:
    net = with_statistics(timm.create_model("densenet121", num_classes=0))
    folded = fold_batch_norms(net)
    # The stem, and of each of 58 layers the norm between its two convolutions, are folded.
    assert norms_in(net) - norms_in(folded) == 59
    assert_same(net, folded, torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224"])
def test_a_network_without_batch_norms_is_copied(name: str) -> None:
    net = timm.create_model(name, num_classes=0)
    assert_same(net, fold_batch_norms(net), torch.rand(1, 3, 224, 224))


def test_the_original_is_left_alone() -> None:
    net = with_statistics(timm.create_model("mobilenetv2_050", num_classes=0)).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    folded = fold_batch_norms(net)
    assert all(module.training for module in net.modules())
    assert not any(module.training for module in folded.modules())
    assert list(net.state_dict()) == list(before)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    shared = {id(tensor) for tensor in net.parameters()} & {id(t) for t in folded.parameters()}
    assert not shared


class Net(nn.Module):
    """Two convolutions and a norm, in an order of the test's choosing."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 3, 1)
        self.two = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)


class ReadTwice(Net):
    def forward(self, images: Tensor) -> Tensor:
        found = self.one(images)
        return self.norm(found) + self.two(found)


class UsedTwice(Net):
    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.one(images)) + self.two(self.one(images))


class NormUsedTwice(Net):
    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.one(images)) + self.norm(self.two(images))


class ReadBetween(Net):
    """In the order of its modules the norm comes after the convolution it does not follow."""

    def forward(self, images: Tensor) -> Tensor:
        return self.two(self.norm(torch.relu(self.one(images))))


class Untraceable(Net):
    def forward(self, images: Tensor) -> Tensor:
        found = self.one(images)
        return self.norm(found) if found.sum() > 0 else found


class Registered(Net):
    """The same layers under second names, of which one is used."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.norm_again = self.one, self.norm

    def forward(self, images: Tensor) -> Tensor:
        return self.norm_again(self.again(images))


class Standardising(nn.Conv2d):
    """Brings its weights to mean 0 and variance 1 on the way, as timm's StdConv2d."""

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(images, weight, self.bias)


class OtherConvolution(Net):
    def __init__(self) -> None:
        super().__init__()
        self.one = Standardising(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.one(images))


@pytest.mark.parametrize(
    "kind",
    [ReadTwice, UsedTwice, NormUsedTwice, ReadBetween, Untraceable, Registered, OtherConvolution],
)
def test_what_is_not_proved_foldable_is_left(kind: type[Net]) -> None:
    net = with_statistics(kind())
    folded = fold_batch_norms(net)
    assert isinstance(folded.norm, nn.BatchNorm2d)
    assert_same(net, folded, torch.rand(4, 3, 5, 5))


def test_a_norm_without_statistics_of_its_own_is_left() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    folded = fold_batch_norms(net)
    assert norms_in(folded) == 1
    assert_same(net, folded, torch.rand(4, 3, 5, 5))
