from __future__ import annotations

import pytest
import torch
from torch import nn

from cxrlab.errors import UserError
from cxrlab.model.backbone import Backbone
from cxrlab.model.normalise import Normalise

NAMES = ["mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0", "resnet50", "densenet121"]


def make(name: str = "mobilenetv2_050", **options: object) -> Backbone:
    settings = {
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.25, 0.3),
        "model_args": {},
        "drop_path": 0.0,
        "standardise": False,
        **options,
    }
    return Backbone(name, **settings)


@pytest.mark.parametrize("name", [*NAMES, "convnext_tiny"])
def test_every_configured_backbone_pools_to_its_declared_width(name: str) -> None:
    backbone = make(name).eval()
    with torch.no_grad():
        features = backbone(torch.rand(2, 1, 64, 64))
    assert features.shape == (2, backbone.num_features)


def test_gray_is_repeated_and_normalised_a_channel() -> None:
    normalise = Normalise((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), standardise=False)
    out = normalise(torch.full((1, 1, 2, 2), 0.6))
    assert out[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.4, 0.0], abs=1e-6)


def test_standardised_images_do_not_depend_on_exposure() -> None:
    normalise = Normalise((0.5,) * 3, (0.5,) * 3, standardise=True)
    image = torch.rand(1, 1, 16, 16) * 0.5
    torch.testing.assert_close(normalise(image), normalise(image * 1.7 + 0.1), atol=1e-4, rtol=0)
    assert torch.isfinite(normalise(torch.full((1, 1, 4, 4), 0.3))).all()


def test_freezing_everything() -> None:
    backbone = make()
    backbone.freeze(None)
    assert not any(p.requires_grad for p in backbone.parameters())
    backbone.train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone(torch.rand(4, 1, 32, 32))
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} moved though frozen"


def test_freezing_the_first_stages() -> None:
    backbone = make()
    backbone.freeze(2)
    backbone.train()
    assert not backbone.net.conv_stem.weight.requires_grad
    assert not any(p.requires_grad for p in backbone.net.blocks[0].parameters())
    assert all(p.requires_grad for p in backbone.net.blocks[3].parameters())
    assert not backbone.net.bn1.training
    assert backbone.net.blocks[3][0].bn1.training


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "convnext_tiny"])
def test_other_families_freeze_as_well(name: str) -> None:
    backbone = make(name)
    backbone.freeze(1)
    frozen = [p for p in backbone.parameters() if not p.requires_grad]
    assert 0 < len(frozen) < len(list(backbone.parameters()))


def test_too_many_stages_are_refused_with_the_number_there_is() -> None:
    with pytest.raises(UserError, match=r"freeze_stages=99.*nearest valid"):
        make().freeze(99)


def test_a_whole_network_is_finite_in_training() -> None:
    net = nn.Sequential(make(drop_path=0.1), nn.Flatten())
    assert torch.isfinite(net(torch.rand(4, 1, 32, 32))).all()
