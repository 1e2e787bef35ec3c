from __future__ import annotations

import numpy as np
import pytest
import torch

from cxrlab.augmentation.augmenter import Augmenter
from cxrlab.augmentation.figures import draw_augmented


@pytest.fixture
def images() -> torch.Tensor:
    ramp = torch.linspace(0.2, 0.8, 32)
    return (ramp[:, None] * 0.5 + ramp[None, :] * 0.5).expand(6, 1, 32, 32).clone()


@pytest.mark.parametrize("choice", ["none", "light", "standard", "strong"])
def test_shape_range_and_repeatability(choice: str, images: torch.Tensor, compose) -> None:
    augment = Augmenter(compose(f"augmentation={choice}").augmentation)
    out = augment(images, 3)
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(out, augment(images, 3))
    if choice != "none":
        assert not torch.equal(out, augment(images, 4))


def test_none_changes_nothing(images: torch.Tensor, compose) -> None:
    out = Augmenter(compose("augmentation=none").augmentation)(images, 0)
    torch.testing.assert_close(out, images)


@pytest.mark.parametrize("choice", ["light", "standard", "strong"])
def test_each_image_has_a_draw_of_its_own(choice: str, images: torch.Tensor, compose) -> None:
    out = Augmenter(compose(f"augmentation={choice}").augmentation)(images, 0)
    for first in range(len(out)):
        for second in range(first):
            assert not torch.equal(out[first], out[second])


def test_the_global_random_state_is_untouched(images: torch.Tensor, compose) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Augmenter(compose("augmentation=strong").augmentation)(images, 0)
    assert torch.equal(torch.rand(1), expected)


def test_a_flip_is_a_mirror(images: torch.Tensor, compose) -> None:
    config = compose("augmentation=none", "augmentation.flip=1").augmentation
    torch.testing.assert_close(Augmenter(config)(images, 0), images.flip(3))


def test_half_of_the_images_are_flipped(compose) -> None:
    ramp = torch.linspace(0, 1, 16).expand(400, 1, 16, 16)
    config = compose("augmentation=none", "augmentation.flip=0.5").augmentation
    flipped = Augmenter(config)(ramp, 0)[:, 0, 8, 0] > 0.5
    assert 150 < flipped.sum() < 250


def test_a_rotation_of_a_point(compose) -> None:
    """A dot right of the centre, turned by at most 90 degrees, stays at its distance."""
    image = torch.zeros(50, 1, 65, 65)
    image[:, :, 32, 52] = 1
    config = compose("augmentation=none", "augmentation.rotation=90").augmentation
    out = Augmenter(config)(image, 1)[:, 0]
    for picture in out:
        y, x = divmod(int(picture.argmax()), 65)
        assert abs(np.hypot(y - 32, x - 32) - 20) < 1.5
    angles = {int(p.argmax()) for p in out}
    assert len(angles) > 20


def test_a_crop_keeps_the_asked_share_of_the_area(compose) -> None:
    """Horizontal and vertical ramps: their range in the crop is the share of each side seen."""
    ramp = torch.linspace(0, 1, 64)
    wide, tall = ramp.expand(300, 1, 64, 64), ramp[:, None].expand(300, 1, 64, 64)
    config = compose("augmentation=none", "augmentation.crop_scale=[0.25,0.5]").augmentation
    augment = Augmenter(config)
    width = augment(wide, 7).amax((1, 2, 3)) - augment(wide, 7).amin((1, 2, 3))
    height = augment(tall, 7).amax((1, 2, 3)) - augment(tall, 7).amin((1, 2, 3))
    area = width * height
    assert 0.2 < area.min() < 0.3
    assert 0.42 < area.max() < 0.54
    assert (width / height).min() > 0.7
    assert (width / height).max() < 1.45


def test_a_crop_stays_inside_the_image(compose) -> None:
    config = compose("augmentation=none", "augmentation.crop_scale=[0.08,1.0]").augmentation
    out = Augmenter(config)(torch.full((200, 1, 32, 32), 0.5), 0)
    torch.testing.assert_close(out, torch.full_like(out, 0.5))


@pytest.mark.parametrize(
    "key", ["brightness=0.3", "contrast=0.5", "gamma=0.5", "noise=0.1", "blur=2"]
)
def test_each_exposure_change_alone_changes_pixels_and_not_the_place(
    key: str, images: torch.Tensor, compose
) -> None:
    out = Augmenter(compose("augmentation=none", f"augmentation.{key}").augmentation)(images, 0)
    assert not torch.equal(out, images)
    for before, after in zip(images, out, strict=True):
        pair = torch.stack([before.flatten(), after.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.8


def test_a_blur_keeps_the_sum_of_a_point_and_spreads_it(compose) -> None:
    point = torch.zeros(8, 1, 33, 33)
    point[:, :, 16, 16] = 1
    config = compose("augmentation=none", "augmentation.blur=2").augmentation
    out = Augmenter(config)(point, 0)
    torch.testing.assert_close(out.sum((1, 2, 3)), torch.ones(8), atol=1e-3, rtol=0)
    assert (out.amax((1, 2, 3)) < 0.999).any()


def test_the_sheet_shows_each_image_and_its_draws() -> None:
    pictures = np.stack([np.full((32, 32), 40, np.uint8), np.full((32, 32), 80, np.uint8)])
    sheet = np.asarray(
        draw_augmented(pictures, ["NORMAL", "PNEUMONIA"], lambda x, seed: x + seed / 10, draws=3)
    )
    rows, columns = len(sheet) // 2, sheet.shape[1] // 4
    centres = sheet[rows // 2 :: rows, columns // 2 :: columns]
    assert centres.tolist() == [[40, 40, 66, 91], [80, 80, 106, 131]]
    assert (sheet[:18] < 128).any()  # captions
