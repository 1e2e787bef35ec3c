import numpy as np
import pytest

from cxrlab.explanation.quality import evidence
from cxrlab.explanation.quality import localisation as quality

MAP = np.array(
    [
        [0, 0, 0, 0],
        [0, 3, 1, 0],
        [0, 1, 1, 0],
        [-9, 0, 0, 2],
    ],
    dtype=np.float32,
)


def mask_of(*pixels: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((4, 4), dtype=bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


def test_mass_in_mask_is_the_share_of_positive_attribution():
    # Positive attribution in all: 3 + 1 + 1 + 1 + 2 = 8; the -9 counts nowhere.
    assert quality.mass_in_mask(MAP, mask_of((1, 1), (3, 0))) == pytest.approx(3 / 8)
    assert quality.mass_in_mask(MAP, mask_of((1, 2), (2, 1), (2, 2), (3, 3))) == pytest.approx(
        5 / 8
    )
    assert quality.mass_in_mask(MAP, ~mask_of()) == 1


def test_pointing_game_looks_at_the_strongest_positive_pixel():
    assert quality.pointing_game(MAP, mask_of((1, 1)), sigma=0)
    assert not quality.pointing_game(MAP, mask_of((3, 0)), sigma=0)
    assert not quality.pointing_game(MAP, mask_of((3, 3)), sigma=0)


def test_smoothing_lets_a_region_win_over_a_single_pixel():
    speckle = np.zeros((32, 32), dtype=np.float32)
    speckle[4, 4] = 1.5
    speckle[18:23, 18:23] = 1.0
    region = np.zeros((32, 32), dtype=bool)
    region[18:23, 18:23] = True
    assert not quality.pointing_game(speckle, region, sigma=0)
    assert quality.pointing_game(speckle, region, sigma=2)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_maps_without_usable_evidence_never_score(value: float):
    # The arg max of a flat map is its first pixel, which must not count as a hit.
    flat = np.full((4, 4), value, dtype=np.float32)
    everywhere = np.ones((4, 4), dtype=bool)
    assert not quality.pointing_game(flat, everywhere)
    assert quality.mass_in_mask(flat, everywhere) == 0


def test_smooth_keeps_the_sum_of_what_lies_far_from_the_edge():
    spot = np.zeros((41, 41), dtype=np.float32)
    spot[20, 20] = 1
    smoothed = evidence.smooth(spot, 2)
    assert smoothed.sum() == pytest.approx(1, abs=1e-3)
    # Height of a two-dimensional Gaussian: 1 / (2 pi sigma^2).
    assert smoothed[20, 20] == pytest.approx(1 / (2 * np.pi * 4), rel=0.02)


def test_a_sign_is_what_its_strokes_enclose_and_a_margin() -> None:
    strokes = np.zeros((50, 50), bool)
    strokes[20:31, [20, 30]] = True  # two bars with a gap of nine pixels
    region = quality.sign_region(strokes)
    assert region[20:31, 20:31].all()
    assert region[[19, 31, 25, 25], [25, 25, 19, 31]].all(), "2 % of 50 pixels is one"
    assert region.sum() == 11 * 11 + 4 * 11
    corner = np.zeros((50, 100), bool)
    corner[-1, -1] = True
    assert quality.sign_region(corner).sum() == 3 + 3 + 1, "a quarter of an ellipse of five pixels"
