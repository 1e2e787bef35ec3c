"""Each measure on maps of 4 x 4 pixels, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn

from cxrlab.explanation.attribution import Attribution
from cxrlab.explanation.methods.integrated_gradients import IntegratedGradients
from cxrlab.explanation.quality.deletion import Curves, deletion_insertion
from cxrlab.explanation.quality.evidence import why_unusable
from cxrlab.explanation.quality.localisation import (
    border_mask,
    mass_in_mask,
    otsu_iou,
    pixel_auprc,
    pointing_game,
)
from cxrlab.explanation.quality.model import Model
from cxrlab.explanation.quality.randomisation import cascade, deepest, similarity, stages
from cxrlab.explanation.quality.stability import infidelity, sensitivity_max
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
MAP = np.array([[0, 0, 0, 0], [0, 9, 8, 0], [0, 1, 1, 0], [-9, 0, 0, 2]], dtype=np.float32)
LESION = np.zeros((4, 4), dtype=bool)
LESION[1, 1] = LESION[1, 2] = LESION[1, 3] = True


class Linear(nn.Module):
    """A logit that is a weighted sum of the pixels."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights.astype(np.float32)), False)

    def forward(self, images: Tensor) -> Tensor:
        return (images[:, 0] * self.weights).sum((1, 2))


def model_of(network: nn.Module, batch_size: int = 5) -> Model:
    return Model(network.eval(), TWO, batch_size)


def test_otsu_keeps_the_two_strong_pixels():
    # Otsu parts {9, 8} from {2, 1, 1, 0, ...}; two of the lesion's three pixels are found.
    assert otsu_iou(MAP, LESION, sigma=0) == pytest.approx(2 / 3)
    assert otsu_iou(-np.abs(MAP), LESION, sigma=0) == 0


def test_average_precision_of_the_ranked_pixels():
    # In order of evidence: 9 (in), 8 (in), 2, 1, 1, then the ten zeros and the -9, one in.
    expected = (1 + 1 + 3 / 16) / 3
    assert pixel_auprc(MAP, LESION, sigma=0) == pytest.approx(expected)


def test_a_map_without_evidence_has_the_lesions_share():
    assert pixel_auprc(np.zeros((4, 4), np.float32), LESION) == pytest.approx(3 / 16)


def test_the_border_is_a_frame_of_one_pixel_at_least():
    border = border_mask(4, 4)
    assert border.sum() == 12
    assert not border[1:3, 1:3].any()
    assert border_mask(40, 40).sum() == 40 * 40 - 36 * 36
    # Positive evidence 21 in all, 2 of it at the rim; the -9 counts nowhere.
    assert mass_in_mask(MAP, border) == pytest.approx(2 / 21)


@given(arrays(np.float32, (8, 8), elements=st.floats(-5, 5, width=32)), st.floats(0.1, 100))
def test_places_do_not_depend_on_the_scale_of_a_map(attribution: np.ndarray, factor: float):
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 3:6] = True
    scaled = (attribution * np.float32(factor)).astype(np.float32)
    assert mass_in_mask(scaled, mask) == pytest.approx(mass_in_mask(attribution, mask), abs=1e-4)
    for measure in (mass_in_mask, pixel_auprc, otsu_iou):
        assert 0 <= measure(attribution, mask) <= 1 + 1e-9


@given(arrays(np.float32, (8, 8), elements=st.floats(0.5, 4, width=32)))
def test_evidence_inside_the_lesion_alone_is_perfect(attribution: np.ndarray):
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 3:6] = True
    inside = np.where(mask, attribution, 0).astype(np.float32)
    assert pointing_game(inside, mask, sigma=0)
    assert mass_in_mask(inside, mask) == 1
    assert pixel_auprc(inside, mask, sigma=0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (0, "zero everywhere"), (2, "the same")],
)
def test_maps_that_say_nothing_are_told(value: float, reason: str):
    assert reason in str(why_unusable(np.full((4, 4), value, np.float32)))
    assert why_unusable(MAP) is None


def curves_by_hand(decided: bool) -> tuple[Curves, np.ndarray, np.ndarray]:
    """Deletion of the pixels of a linear network in the order of their contributions."""
    weights = np.zeros((4, 4))
    weights[1, 1], weights[2, 2] = 3, 1
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 1, 1] = image[0, 0, 2, 2] = 0.8
    attribution = (weights * image[0, 0].numpy()).astype(np.float32)
    found = deletion_insertion(
        model_of(Linear(weights)), image, 0, attribution, decided=decided, steps=16
    )
    return found, weights, image[0, 0].numpy()


def test_deletion_takes_the_strongest_pixel_first():
    found, _, _ = curves_by_hand(decided=True)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    mean = 0.1  # two pixels of 0.8 among 16
    expected = sigmoid(np.array([3.2, 0.8 + 3 * mean, 4 * mean, 4 * mean]))
    np.testing.assert_allclose(found.deletion[:4], expected, rtol=1e-5)
    np.testing.assert_allclose(found.deletion[3:], sigmoid(0.4), rtol=1e-5)
    trapezoid = (found.deletion[:-1] + found.deletion[1:]).sum() / 2 / 16
    assert found.deletion_auc == pytest.approx(trapezoid)
    # The blurred image first, and the whole image last: after two pixels all is there.
    np.testing.assert_allclose(found.insertion[-1], sigmoid(3.2), rtol=1e-5)
    assert found.insertion[0] < found.insertion[1] < found.insertion[2]
    assert found.insertion_auc > found.deletion_auc


def test_a_decision_against_the_class_loses_the_evidence_against_it():
    found, _, image = curves_by_hand(decided=False)
    for_it, _, _ = curves_by_hand(decided=True)
    # The probability is that of the decision, and what spoke for the class goes last.
    assert found.deletion[0] == pytest.approx(1 - for_it.deletion[0])
    assert found.deletion[13] == pytest.approx(1 - for_it.deletion[0])
    assert found.deletion[-1] == pytest.approx(1 - for_it.deletion[-1])
    assert image.shape == (4, 4)


class Scaled:
    """A method whose map is the image times a factor that leaps with brightness."""

    name, tolerance = "scaled", 0.0

    def __init__(self, leap: float) -> None:
        self.leap = leap

    def __call__(
        self, network: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        count = len(images)
        bright = (images - 0.5).abs().amax((1, 2, 3)) > 1e-6
        maps = torch.where(bright[:, None, None], 1 + self.leap, 1.0) * torch.ones(count, 4, 4)
        nan = np.full(count, np.nan)
        return Attribution(maps.numpy(), nan, np.zeros(count, np.int64), nan, nan, self.name, 0.0)


@pytest.mark.parametrize("leap", [0.0, 0.25, 1.0])
def test_sensitivity_is_the_greatest_relative_change(leap: float):
    image = torch.full((1, 1, 4, 4), 0.5)
    model = model_of(Linear(np.ones((4, 4))))
    found = sensitivity_max(Scaled(leap), model, image, 0, radius=0.1, count=3)
    assert found == pytest.approx(leap, abs=1e-6)


def test_contributions_of_a_linear_network_foretell_every_square():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(16, 16))
    image = torch.from_numpy(rng.random((1, 1, 16, 16), dtype=np.float32))
    fill = float(image.mean())
    exact = (weights * (image[0, 0].numpy() - fill)).astype(np.float32)
    model = model_of(Linear(weights), batch_size=7)
    assert infidelity(model, image, 0, exact, count=20) == pytest.approx(0, abs=1e-5)
    # In other units it foretells as much; zeros foretell nothing; noise hardly anything.
    assert infidelity(model, image, 0, 50 * exact, count=20) == pytest.approx(0, abs=1e-5)
    assert infidelity(model, image, 0, 0 * exact, count=20) == pytest.approx(1)
    noise = rng.normal(size=(16, 16)).astype(np.float32)
    assert 0.3 < infidelity(model, image, 0, noise, count=40) <= 1
    assert np.isnan(infidelity(model_of(Linear(0 * weights)), image, 0, exact, count=5))


class Ignorant:
    """A method that never looks at the network: its map is the image."""

    name, tolerance = "ignorant", 0.0

    def __call__(
        self, network: nn.Module, images: Tensor, targets: Tensor | None = None
    ) -> Attribution:
        nan = np.full(len(images), np.nan)
        steps = np.zeros(len(images), np.int64)
        return Attribution(images[:, 0].numpy(), nan, steps, nan, nan, self.name, 0.0)


def network_of() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 1, 5, padding=2), nn.Flatten(),
        nn.Linear(256, 1), nn.Flatten(0),
    ).eval().requires_grad_(False)  # fmt: skip


def test_a_method_that_ignores_the_network_fails_the_sanity_check():
    network, images = network_of(), torch.rand(2, 1, 16, 16)
    classes = torch.zeros(2, dtype=torch.int64)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ignorant = Ignorant()
    same = cascade(ignorant, network, images, classes, ignorant(network, images).maps)
    assert [each.layers for each in same] == ["4", "2", "0"]
    for each in same:
        np.testing.assert_allclose([each.ssim, each.rank], 1, atol=1e-6)
    gradients = IntegratedGradients(steps=8, max_steps=8)
    changed = cascade(gradients, network, images, classes, gradients(network, images).maps)
    assert (changed[-1].ssim < 0.7).all()
    assert (changed[-1].rank < 0.7).all()
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_the_cascade_ends_with_every_weight_shuffled():
    network = network_of()
    names = [name for _, stage in stages(network) for name in stage]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())


def test_of_a_network_that_dies_the_last_stage_with_a_map_counts():
    stages = [np.array([0.4, 0.5, np.nan]), np.array([0.1, np.nan, np.nan]), np.full(3, np.nan)]
    np.testing.assert_array_equal(deepest(stages), [0.1, 0.5, np.nan])


def test_similarity_by_hand():
    rng = np.random.default_rng(0)
    one = rng.random((16, 16)).astype(np.float32)
    assert similarity(one, 7 * one) == pytest.approx((1, 1), abs=1e-4)
    assert similarity(one, -one) == pytest.approx((1, 1), abs=1e-4)  # turned round
    other = rng.random((16, 16)).astype(np.float32)
    order = np.argsort(np.argsort(one.ravel())), np.argsort(np.argsort(other.ravel()))
    _, rank = similarity(one, other, sigma=0)
    assert rank == pytest.approx(abs(np.corrcoef(*order)[0, 1]))
    assert np.isnan(similarity(one, np.zeros_like(one))).all()
    assert np.isnan(similarity(one, np.full_like(one, np.nan))).all()
