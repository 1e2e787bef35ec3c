"""What every method has in common, and what each alone is held against."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from cxrlab.config.schema import AttributionConfig, MethodName
from cxrlab.errors import UserError
from cxrlab.explanation.methods.baselines import BASELINES, blurred
from cxrlab.explanation.methods.gradcam import GradCAM, GradCAMPlusPlus
from cxrlab.explanation.methods.gradient import InputXGradient
from cxrlab.explanation.methods.integrated_gradients import IntegratedGradients
from cxrlab.explanation.methods.perturbation import Occlusion, Rise
from cxrlab.explanation.methods.registry import METHODS, build
from cxrlab.explanation.methods.smoothgrad import SmoothGradIG
from cxrlab.explanation.methods.spatial import spatial_layer
from cxrlab.model.normalise import Normalise

SETTINGS = AttributionConfig(
    steps=4, max_steps=8, tolerance=0.05, batch_size=3, noise=0.1, noisy_copies=2,
    window=0.25, stride=0.125, masks=40, grid=4,
)  # fmt: skip


class TinyNet(nn.Module):
    """Convolutions with activations in place, and a head that is linear in their mean."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        act = nn.ReLU6(inplace=True)  # one module in two places, as some backbones have it
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), act, nn.Conv2d(4, 8, 3, 2, padding=1), act
        )
        self.head = nn.Linear(8, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.features(images).mean((2, 3)))
        return logits[:, 0] if self.head.out_features == 1 else logits


def frozen(model: nn.Module) -> nn.Module:
    return model.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def images_of(count: int = 4, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, size, size)


def test_every_name_of_the_configuration_has_a_method_of_that_name():
    assert set(METHODS) == set(MethodName.__args__)
    assert all(build(name, SETTINGS).name == name for name in METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_maps_are_of_the_image_alone_and_leave_no_trace(name: MethodName):
    model, images = frozen(TinyNet(3)), images_of()
    targets = torch.tensor([0, 2, 1, 2])
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    method = build(name, SETTINGS)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        together = method(model, images.clone(), targets)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[key], tensor) for key, tensor in model.state_dict().items())
    assert together.maps.shape == (4, 16, 16)
    assert together.maps.dtype == np.float32
    assert (np.abs(together.maps).max((1, 2)) > 0).all()
    alone = method(model, images[2:3], targets[2:3])
    scale = np.abs(alone.maps).max()
    np.testing.assert_allclose(alone.maps[0], together.maps[2], atol=1e-4 * scale)
    expected = model(images).gather(1, targets[:, None])[:, 0]
    np.testing.assert_allclose(together.output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_a_single_logit_needs_no_class(name: MethodName):
    model, images = frozen(TinyNet()), images_of(2)
    method = build(name, SETTINGS)
    found = method(model, images)
    np.testing.assert_array_equal(found.maps, method(model, images, torch.ones(2).long()).maps)


@pytest.mark.parametrize("name", METHODS)
def test_an_image_with_nan_is_marked_and_the_others_go_on(name: MethodName, caplog):
    model, images = frozen(TinyNet()), images_of(3)
    expected = build(name, SETTINGS)(model, images).maps
    images[1, 0, 3, 3] = torch.nan
    method = build(name, SETTINGS)
    found = method(model, images)
    assert (found.completeness_error > method.tolerance).tolist()[1]
    assert np.isinf(found.completeness_error).tolist() == [False, True, False]
    np.testing.assert_allclose(found.maps[[0, 2]], expected[[0, 2]], atol=1e-6)
    assert "image 1 (of 3 explained)" in caplog.text


@pytest.mark.parametrize("name", METHODS)
def test_a_constant_image_has_a_finite_map(name: MethodName):
    found = build(name, SETTINGS)(frozen(TinyNet()), torch.full((1, 1, 16, 16), 0.5))
    assert np.isfinite(found.maps).all()


@pytest.mark.parametrize("name", METHODS)
def test_evidence_lies_where_the_network_looks(name: MethodName):
    """A network that only sees the bright square in the upper left."""

    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)
            self.conv.weight.data.fill_(1)
            self.conv.bias.data.fill_(0)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen = torch.zeros(1, 1, 16, 16)
            seen[..., 2:7, 2:7] = 10
            return self.conv(images * seen).relu().mean((1, 2, 3))

    images = torch.full((1, 1, 16, 16), 0.1)
    images[..., 2:7, 2:7] = 0.9
    (attribution,) = build(name, SETTINGS)(frozen(Corner()), images).maps
    peak = np.unravel_index(attribution.argmax(), attribution.shape)
    assert 1 <= peak[0] <= 7
    assert 1 <= peak[1] <= 7
    assert attribution[:9, :9].clip(0).sum() > 0.6 * attribution.clip(0).sum()


def test_input_x_gradient_of_a_linear_network_is_weight_times_pixel():
    weights = torch.randn(16, 16)
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 1), nn.Flatten(0))
    model[1].weight.data = weights.reshape(1, -1)
    images = images_of()
    found = InputXGradient()(frozen(model), images)
    np.testing.assert_allclose(found.maps, weights * images[:, 0], rtol=1e-5)
    assert np.isnan(found.completeness_error).all()


def test_gradcam_equals_captums_before_its_relu_and_sums_to_the_logit():
    model, images = frozen(TinyNet(3)), images_of()
    targets = torch.tensor([0, 1, 2, 0])
    found = GradCAM()(model, images, targets).maps
    theirs = captum.attr.LayerGradCam(model, model.features).attribute(images, targets)
    large = functional.interpolate(theirs, (16, 16), mode="bilinear")[:, 0] / 4
    np.testing.assert_allclose(found, large.detach(), atol=1e-6)
    logits = model(images).gather(1, targets[:, None])[:, 0] - model.head.bias[targets]
    np.testing.assert_allclose(found.sum((1, 2)), logits, rtol=1e-4, atol=1e-6)


def test_gradcam_plus_plus_by_hand():
    """One channel with gradients g and activations a: sum(alpha relu(g)) relu(a), alpha as (19)."""
    activation = torch.tensor([[[[1.0, 2.0], [0.0, -1.0]]]])
    gradient = torch.tensor([[[[2.0, -1.0], [1.0, 0.0]]]])
    # Sum of a g^3: 8 - 2 + 0 + 0 = 6; alpha: 4 / (8 + 6), 1 / (2 + 6), 1 / (2 + 6), 0.
    weight = 4 / 14 * 2 + 1 / 8 * 1
    found = GradCAMPlusPlus()._weighted(activation, gradient)
    np.testing.assert_allclose(found, [[[weight, 2 * weight], [0, 0]]], rtol=1e-6)


BACKBONES = {  # the name of the layer, and its side at 64 pixels
    "mobilenetv2_100": ("bn2", 2),
    "mobilenetv3_large_100": ("blocks", 2),
    "efficientnet_b0": ("bn2", 2),
    "resnet50": ("layer4", 2),
    "densenet121": ("features", 2),
    "convnext_tiny": ("norm_pre", 2),
}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_layer_before_the_pooling_is_found_in_every_backbone(backbone: str):
    model = frozen(timm.create_model(backbone, num_classes=1, in_chans=1))
    images = images_of(1, 64)
    layer = spatial_layer(model, images)
    name, side = BACKBONES[backbone]
    assert layer is model.get_submodule(name)
    outputs: list[torch.Tensor] = []
    layer.register_forward_hook(lambda *call: outputs.append(call[2].clone()))
    features = model.forward_features(images)
    assert outputs[0].shape[2:] == (side, side)
    assert torch.equal(outputs[0], features)


def test_a_transformer_has_no_such_layer():
    model = frozen(timm.create_model("vit_tiny_patch16_224", num_classes=1, in_chans=1))
    with pytest.raises(UserError, match="take integrated_gradients or occlusion"):
        GradCAM()(model, images_of(1, 224))


def test_occlusion_by_hand():
    """A sum of pixels falls by what a square holds above the mean grey."""

    class Total(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.sum((1, 2, 3))

    images = torch.zeros(1, 1, 4, 4)
    images[0, 0, :2, :2] = 1  # the mean is 1 / 4
    (found,) = Occlusion(window=0.5, stride=0.5)(Total().eval(), images).maps
    expected = np.full((4, 4), -1.0)
    expected[:2, :2] = 3
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rise_finds_the_slope_of_a_linear_network():
    """The logit of a hidden image is linear in a mask that one cell decides."""
    weights = torch.zeros(16, 16)
    weights[4:8, 8:12] = 1

    class Patch(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images[:, 0] * weights).sum((1, 2))

    images = torch.zeros(1, 1, 16, 16)
    images[0, 0, 4:8, 8:12] = 1
    (found,) = Rise(masks=2000, grid=4, batch_size=500)(Patch().eval(), images).maps
    # Sixteen pixels above the mean grey of 1 / 16; the centre of the patch moves them together.
    assert found[5:7, 9:11].mean() == pytest.approx(16 * (1 - 1 / 16), rel=0.35)
    assert abs(found[12:, :4]).max() < 3
    np.testing.assert_array_equal(
        found, Rise(masks=2000, grid=4, batch_size=70)(Patch().eval(), images).maps[0]
    )


def test_without_noise_smoothgrad_is_integrated_gradients():
    model, images = frozen(TinyNet()), images_of(2)
    smooth = SmoothGradIG(samples=2, noise=1e-6, steps=4)(model, images).maps
    plain = IntegratedGradients(steps=4, max_steps=4)(model, images).maps
    np.testing.assert_allclose(smooth, plain, atol=1e-4 * np.abs(plain).max())
    noisy = SmoothGradIG(samples=2, noise=0.3, steps=4)(model, images).maps
    assert np.abs(noisy - plain).max() > 0.05 * np.abs(plain).max()


def test_the_average_over_baselines_is_the_mean_of_their_maps_and_complete():
    model, images = frozen(TinyNet()), images_of(2)
    settings = {"steps": 8, "max_steps": 8}
    each = [IntegratedGradients(baseline=b, **settings)(model, images) for b in BASELINES]
    mean = IntegratedGradients(baseline="average", **settings)(model, images)
    np.testing.assert_allclose(mean.maps, np.mean([a.maps for a in each], axis=0), atol=1e-6)
    outputs = np.mean([a.baseline_output for a in each], axis=0)
    np.testing.assert_allclose(mean.baseline_output, outputs, rtol=1e-6)
    missed = np.abs(mean.maps.sum((1, 2)) - (mean.output - outputs))
    floor = 0.01 / 0.05
    expected = missed / np.maximum(np.abs(mean.output - outputs), floor)
    np.testing.assert_allclose(mean.completeness_error, expected, atol=1e-5)


def test_blurring_keeps_an_even_image_and_its_brightness():
    np.testing.assert_allclose(blurred(torch.full((1, 1, 16, 16), 0.3)), 0.3, rtol=1e-5)
    image = images_of(1, 32)
    assert blurred(image).std() < 0.3 * image.std()
    assert blurred(image).mean() == pytest.approx(float(image.mean()), rel=0.02)


def test_methods_hold_the_exposure_where_the_network_standardises():
    model = frozen(nn.Sequential(Normalise([0.5], [0.5], standardise=True), TinyNet()))
    images = images_of(2)
    for name in METHODS:
        bright = build(name, SETTINGS)(model, 0.2 + 0.5 * images).maps
        dark = build(name, SETTINGS)(model, 0.5 * images).maps
        np.testing.assert_allclose(bright, dark, atol=2e-3 * np.abs(dark).max(), err_msg=name)
