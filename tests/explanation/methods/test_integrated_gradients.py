import captum.attr
import numpy as np
import pytest
import timm
import torch
from torch import nn

from cxrlab import errors
from cxrlab.explanation.methods.integrated_gradients import IntegratedGradients
from cxrlab.model.normalise import Normalise


class TinyNet(nn.Module):
    """Convolution, batch norm, dropout and a head for one logit or several."""

    def __init__(self, classes: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(), nn.Conv2d(4, 8, 3, 2)
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = torch.relu(self.features(images)).mean((2, 3))
        logits = self.head(self.dropout(pooled))
        return logits[:, 0] if self.head.out_features == 1 else logits


class GreyBackbone(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.backbone((2 * images - 1).expand(-1, 3, -1, -1))[:, 0]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def images_of(count: int = 3, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, size, size)


def one_try(steps: int, **settings: int) -> IntegratedGradients:
    return IntegratedGradients(steps=steps, max_steps=steps, **settings)


def frozen(model: nn.Module) -> nn.Module:
    return model.eval().requires_grad_(False)


def captum_maps(model: nn.Module, images: torch.Tensor, steps: int, target=None) -> np.ndarray:
    """Captum's trapezoid rule over so many intervals.

    Captum divides by the number of points, which makes its maps too small by one interval in all.
    """
    points = steps + 1
    maps = captum.attr.IntegratedGradients(model).attribute(
        images, torch.zeros_like(images), target, n_steps=points, method="riemann_trapezoid"
    )
    return maps[:, 0].detach().numpy() * points / steps


@pytest.mark.parametrize("batch_size", [1, 7, 16, 64])
def test_equals_captum_on_a_small_network(batch_size: int):
    model, images = frozen(TinyNet()), images_of()
    attribution = one_try(9, batch_size=batch_size)(model, images)
    np.testing.assert_allclose(attribution.maps, captum_maps(model, images, 9), atol=1e-6)


def test_equals_captum_on_mobilenetv2():
    backbone = timm.create_model("mobilenetv2_050", num_classes=1)
    model, images = frozen(GreyBackbone(backbone)), images_of(2, 32)
    attribution = one_try(8)(model, images)
    expected = captum_maps(model, images, 8)
    np.testing.assert_allclose(attribution.maps, expected, atol=1e-4 * np.abs(expected).max())


def test_refined_maps_come_to_captums_integral_of_many_steps():
    model, images = frozen(bumpy()), images_of()
    explainer = captum.attr.IntegratedGradients(model)
    exact = explainer.attribute(images, torch.zeros_like(images), n_steps=500)[:, 0].numpy()
    coarse, refined = (
        IntegratedGradients(steps=4, max_steps=most, tolerance=1e-4, absolute_tolerance=1e-6)(
            model, images
        )
        for most in (4, 256)
    )
    assert (refined.steps > 8).all()
    assert (refined.completeness_error <= 1e-4).all()
    misses = [np.abs(found.maps - exact).max() / np.abs(exact).max() for found in (coarse, refined)]
    assert misses[0] > 0.05
    assert misses[1] < 0.01


def bumpy() -> nn.Module:
    """A network whose logit bends along the path from black."""
    model = TinyNet()
    model.features[0].weight.data *= 10
    model.head.weight.data *= 10
    return model


def test_the_map_of_an_image_does_not_depend_on_the_others():
    model, images = frozen(bumpy()), images_of(19)
    method = IntegratedGradients(steps=4, max_steps=64, tolerance=1e-3)
    together = method(model, images)
    for number in (0, 7, 18):
        alone = method(model, images[number : number + 1])
        assert alone.steps[0] == together.steps[number]
        np.testing.assert_allclose(alone.maps[0], together.maps[number], atol=1e-5)
    assert len(set(together.steps.tolist())) > 1


def test_explains_the_target_class_and_else_the_predicted_one():
    model, images = frozen(TinyNet(classes=3)), images_of()
    targets = torch.tensor([2, 0, 1])
    attribution = one_try(8)(model, images, targets)
    np.testing.assert_allclose(attribution.maps, captum_maps(model, images, 8, targets), atol=1e-6)
    logits = model(images)
    np.testing.assert_allclose(
        attribution.output, logits.gather(1, targets[:, None])[:, 0].detach(), rtol=1e-5
    )
    predicted = one_try(8)(model, images)
    np.testing.assert_allclose(predicted.output, logits.max(dim=1).values.detach(), rtol=1e-5)


def test_a_linear_model_is_explained_exactly():
    weights = torch.randn(16, 16)
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 1), nn.Flatten(0))
    model[1].weight.data = weights.reshape(1, -1)
    images = images_of()
    attribution = one_try(1)(frozen(model), images)
    np.testing.assert_allclose(attribution.maps, (weights * images[:, 0]).numpy(), rtol=1e-5)
    np.testing.assert_allclose(
        attribution.output - attribution.baseline_output,
        attribution.maps.sum((1, 2)),
        rtol=1e-4,
        atol=1e-4,
    )
    assert (attribution.completeness_error < 1e-4).all()


class Cubic(nn.Module):
    """Cube of the mean, scaled: over n intervals the trapezoid rule is off by 1 / (2 n^2)."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 10 * images.mean((1, 2, 3)) ** 3


def test_completeness_error_is_relative_to_the_difference_in_output():
    attribution = one_try(2)(Cubic().eval(), torch.full((1, 1, 8, 8), 0.5))
    assert attribution.completeness_error[0] == pytest.approx(1 / 8, abs=1e-5)
    difference = attribution.output[0] - attribution.baseline_output[0]
    assert difference == pytest.approx(1.25)
    missed = attribution.maps.sum(dtype=np.float64) - difference
    assert missed / difference == pytest.approx(1 / 8, abs=1e-5)


def test_absolute_tolerance_holds_where_the_outputs_hardly_differ():
    # Difference 10 * 0.1^3 = 0.01; the floor is 0.01 / 0.05 = 0.2 logits.
    attribution = one_try(2)(Cubic().eval(), torch.full((1, 1, 8, 8), 0.1))
    assert attribution.completeness_error[0] == pytest.approx(1 / 8 * 0.01 / 0.2, rel=1e-3)


def test_only_images_over_the_tolerance_get_more_steps():
    images = torch.stack([torch.full((1, 8, 8), 0.1), torch.full((1, 8, 8), 0.9)])
    attribution = IntegratedGradients(steps=1, max_steps=64)(Cubic().eval(), images)
    assert attribution.steps[0] == 1
    assert 2 <= attribution.steps[1] <= 5
    assert (attribution.completeness_error <= 0.05).all()


class Jump(nn.Module):
    """Rises within a thousandth of the path, at 0.3 of it, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3))
        self.asked += mean.tolist()
        return torch.sigmoid((mean - 0.3) * 1e4)


def test_new_points_go_where_the_output_changes_and_none_is_computed_twice():
    model = Jump().eval()
    attribution = IntegratedGradients(steps=4, max_steps=64)(model, torch.ones(1, 1, 8, 8))
    asked = sorted(model.asked[1:])  # the first call asks for the kind of the logits
    assert attribution.completeness_error[0] <= 0.05
    assert len(asked) == len(set(asked)) == attribution.steps[0] + 1
    refined = [position for position in asked if position not in (0, 0.25, 0.5, 0.75, 1)]
    assert all(0.25 < position < 0.5 for position in refined)


def test_steps_end_at_the_cap_and_the_error_stays_visible():
    attribution = IntegratedGradients(steps=2, max_steps=5)(Jump().eval(), torch.ones(1, 1, 8, 8))
    assert attribution.steps.tolist() == [5]
    assert attribution.completeness_error[0] == pytest.approx(1)


def test_leaves_the_network_as_it_was():
    model = frozen(nn.Sequential(Normalise([0.5], [0.5], standardise=True), TinyNet()))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    first = one_try(4)(model, images_of())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model[0].standardise
    assert torch.is_grad_enabled()
    torch.set_rng_state(state)
    np.testing.assert_array_equal(one_try(4)(model, images_of()).maps, first.maps)


def test_draws_no_random_numbers():
    model, images = frozen(TinyNet()), images_of()
    state = torch.get_rng_state()
    one_try(4)(model, images)
    assert torch.equal(torch.get_rng_state(), state)


def test_refuses_a_network_in_training_mode():
    model = TinyNet().eval()
    model.dropout.train()
    with pytest.raises(ValueError, match="training mode"):
        one_try(4)(model, images_of())


def test_holds_the_exposure_where_the_model_standardises_images():
    model = frozen(nn.Sequential(Normalise([0.5], [0.5], standardise=True), TinyNet()))
    model[1].head.weight.data *= 20
    images = 0.2 * images_of()
    attribution = one_try(16)(model, images)
    # Unless the exposure is held, the error is near 1 whatever the steps.
    assert (attribution.completeness_error < 0.02).all()
    np.testing.assert_allclose(attribution.output, model(images).detach(), rtol=1e-4)
    assert model[0].standardise


def test_works_in_inference_mode():
    model, images = frozen(TinyNet()), images_of()
    expected = one_try(4)(model, images).maps
    with torch.inference_mode():
        maps = one_try(4)(model, images.clone(), torch.zeros(3, dtype=torch.int64)).maps
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    assert np.abs(maps).max() > 0


def test_computes_in_float32_under_autocast():
    model, images = frozen(TinyNet()), images_of()
    expected = one_try(4)(model, images).maps
    with torch.autocast("cpu", torch.bfloat16):
        maps = one_try(4)(model, images).maps
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    assert maps.dtype == np.float32


def test_names_images_without_finite_attributions_and_goes_on(caplog):
    model, images = frozen(TinyNet()), images_of(3)
    expected = one_try(4)(model, images).maps
    images[1, 0, 3, 3] = torch.nan
    attribution = IntegratedGradients(steps=4, max_steps=64, tolerance=10)(model, images)
    assert np.isinf(attribution.completeness_error).tolist() == [False, True, False]
    np.testing.assert_allclose(attribution.maps[[0, 2]], expected[[0, 2]], atol=1e-6)
    assert "image 1 (of 3 explained)" in caplog.text


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"baseline": "white"}, "black"), ({"steps": 64, "max_steps": 32}, "max_steps=32")],
)
def test_refuses_impossible_settings(settings: dict, word: str):
    with pytest.raises(errors.UserError, match=word):
        IntegratedGradients(**settings)


def test_refuses_images_of_another_shape():
    with pytest.raises(ValueError, match="expected"):
        one_try(2)(frozen(TinyNet()), torch.rand(3, 16, 16))
