from __future__ import annotations

from typing import get_args

import pytest
import torch

from cxrlab.augmentation.shifts import SHIFTS, name_in_turn, shift_in_turn
from cxrlab.config.schema import Shift


def radiographs(side: int = 64) -> torch.Tensor:
    """(3, 1, side, side): a ramp with a fine grain and a bright square off the centre."""
    ramp = torch.linspace(0.2, 0.7, side)
    grain = 0.02 * torch.randn(side, side, generator=torch.Generator().manual_seed(0))
    image = (ramp[:, None] + ramp) / 2 + grain
    image[side // 2 : side // 2 + 8, 8:16] = 0.95
    return torch.stack([image, image.T, image.flip(0)])[:, None]


def test_the_configuration_names_what_there_is() -> None:
    assert tuple(SHIFTS) == get_args(Shift)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_changes_each_image_by_itself_and_leaves_it_an_image(name: str) -> None:
    images = radiographs()
    before = images.clone()
    changed = SHIFTS[name](images)
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 1
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    assert (changed - images).abs().mean(dim=(1, 2, 3)).min() > 0.003
    torch.testing.assert_close(SHIFTS[name](images[1:2]), changed[1:2])


def test_exposure_and_contrast_move_as_their_names_say() -> None:
    images = radiographs()
    mean, spread = images.mean(), images.std()
    assert SHIFTS["lighter"](images).mean() > mean + 0.05
    assert SHIFTS["darker"](images).mean() < mean - 0.05
    assert SHIFTS["flatter"](images).std() < 0.6 * spread
    assert SHIFTS["harder"](images).std() > 1.3 * spread


def test_the_frame_is_black_and_what_it_holds_unchanged() -> None:
    images = radiographs(100)
    framed = SHIFTS["framed"](images)
    assert framed[..., :6, :].max() == framed[..., :, -6:].max() == 0
    torch.testing.assert_close(framed[..., 6:-6, 6:-6], images[..., 6:-6, 6:-6])


def test_from_farther_away_the_image_lies_within_black() -> None:
    farther = SHIFTS["farther"](torch.ones(1, 1, 100, 100))
    # The window is 1.25 images wide: a tenth of it on each side shows nothing.
    assert farther[..., :9, :].max() == farther[..., :, -9:].max() == 0
    assert farther[..., 11:-11, 11:-11].min() == 1


def test_coarse_blurred_and_compressed_images_lose_detail() -> None:
    grain = 0.02 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    for name in ("coarse", "blurred", "compressed"):
        assert SHIFTS[name](0.5 + grain).std() < 0.8 * grain.std(), name


def test_images_take_turns_by_their_place_in_the_split_not_in_the_batch() -> None:
    names = ("lighter", "framed")
    images, index = radiographs(), torch.tensor([4, 7, -1])
    before = images.clone()
    for turn, expected in (
        (0, ["lighter", "framed", "lighter"]),
        (1, ["framed", "lighter", "framed"]),
    ):
        changed = shift_in_turn(images, index, names, turn)
        for place, name in enumerate(expected):
            one = slice(place, place + 1)
            torch.testing.assert_close(changed[one], SHIFTS[name](images[one]))
    torch.testing.assert_close(images, before, rtol=0, atol=0)


def test_as_many_turns_as_changes_show_each_image_every_change_once() -> None:
    names = tuple(SHIFTS)
    for row in (0, 13):
        assert {name_in_turn(names, row, turn) for turn in range(len(names))} == set(names)
