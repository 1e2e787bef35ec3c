from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.corpus import radiograph, saved
from helpers.preprocess import PLAIN, preprocess
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.images import decode, resize
from cxrlab.data.preprocess import crop_borders, percentiles, to_eight_bits


def framed(gray: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    return np.pad(gray, ((top, bottom), (left, right)))


BRIGHT = np.maximum(radiograph(), 60)


def test_black_borders_are_cut_off_to_the_pixel() -> None:
    cropped = crop_borders(framed(BRIGHT, 5, 9, 0, 17))
    np.testing.assert_array_equal(cropped, BRIGHT)


def test_borders_with_noise_and_a_speck_are_cut_off() -> None:
    image = framed(BRIGHT, 12, 12, 12, 12)
    border = image == 0
    rng = np.random.default_rng(0)
    image[border] = rng.integers(0, 6, int(border.sum()))
    image[3, 40] = 255
    np.testing.assert_array_equal(crop_borders(image), BRIGHT)


def test_a_border_is_black_relative_to_the_image() -> None:
    dim = framed((BRIGHT.astype(np.uint16) * 16), 10, 10, 10, 10)
    dim[dim == 0] = 90
    np.testing.assert_array_equal(crop_borders(dim), BRIGHT.astype(np.uint16) * 16)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40), np.uint8),
        np.full((40, 40), 9, np.uint8),
        framed(BRIGHT[:30, :30], 50, 50, 50, 50),
    ],
    ids=["black", "flat", "mostly black"],
)
def test_what_is_no_border_stays(image: np.ndarray) -> None:
    assert crop_borders(image).shape == image.shape


@given(st.integers(0, 2**32), st.sampled_from([np.uint8, np.uint16]))
def test_cropping_keeps_half_of_each_side(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, rng.integers(8, 60, 2)).astype(dtype)
    image[rng.random(image.shape) < rng.random()] = 0
    cropped = crop_borders(image)
    assert all(2 * kept >= side for kept, side in zip(cropped.shape, image.shape, strict=True))


@given(
    st.integers(0, 2**32),
    st.sampled_from([np.uint8, np.uint16]),
    st.tuples(st.integers(0, 40), st.integers(60, 100)),
)
def test_percentiles_are_numpys(seed: int, dtype: type, levels: tuple[int, int]) -> None:
    image = np.random.default_rng(seed).integers(0, 200, (17, 23)).astype(dtype)
    right = np.percentile(image, levels, method="inverted_cdf")
    assert percentiles(image, levels) == tuple(right.astype(int))


def test_values_are_stretched_between_percentiles_at_the_depth_of_the_file() -> None:
    # 101 levels that are one gray level or less apart in 8 bits: only the native depth has them.
    deep = (1000 + np.repeat(np.arange(101), 101)).reshape(101, 101).astype(np.uint16)
    stretched = decode(saved(deep, "PNG"), 101, preprocess(percentiles=(0, 100))).pixels
    assert np.abs(np.unique(stretched) - np.arange(101) * 2.55).max() <= 1


def test_values_beyond_the_percentiles_are_black_and_white() -> None:
    gray = np.arange(100, dtype=np.uint8).repeat(100).reshape(100, 100)
    stretched = decode(saved(gray, "PNG"), 100, preprocess(percentiles=(10, 90))).pixels
    assert set(stretched[:9].ravel()) == {0}
    assert set(stretched[90:].ravel()) == {255}


def test_a_flat_image_is_not_stretched() -> None:
    flat = saved(np.full((20, 20), 77, np.uint8), "PNG")
    assert set(decode(flat, 20, preprocess(percentiles=(1, 99))).pixels.ravel()) == {77}


@pytest.mark.parametrize("shape", [(40, 80), (80, 40), (33, 80)])
def test_a_letterbox_keeps_the_aspect_and_centres_the_image(shape: tuple[int, int]) -> None:
    content = saved(np.full(shape, 200, np.uint8), "PNG")
    square = decode(content, 48, preprocess(resize="letterbox")).pixels
    rows, columns = (np.flatnonzero(square.any(axis=axis)) for axis in (1, 0))
    assert (len(rows) / len(columns)) == pytest.approx(shape[0] / shape[1], rel=0.05)
    for inside in (rows, columns):
        assert abs(inside[0] - (47 - inside[-1])) <= 1
    assert set(square[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].ravel()) == {200}


def test_a_letterbox_of_a_square_is_a_stretch() -> None:
    content = saved(BRIGHT[:, :96].copy(), "PNG")
    boxed = decode(content, 40, preprocess(resize="letterbox")).pixels
    np.testing.assert_array_equal(boxed, decode(content, 40, PLAIN).pixels)


def test_clahe_works_on_the_square() -> None:
    content = saved(radiograph(), "PNG")
    right = cv2.createCLAHE(2.0, (8, 8)).apply(resize(radiograph(), 64))
    np.testing.assert_array_equal(decode(content, 64, preprocess(clahe=2.0)).pixels, right)


def test_the_order_is_crop_stretch_square_clahe() -> None:
    image = framed(np.clip(radiograph(), 50, 180), 10, 20, 30, 0)
    steps = preprocess(crop_borders=True, percentiles=(1, 99), resize="letterbox", clahe=3.0)
    cropped = crop_borders(image)
    stretched = to_eight_bits(cropped, *percentiles(cropped, (1, 99)))
    fitted = decode(saved(stretched, "PNG"), 64, preprocess(resize="letterbox")).pixels
    right = cv2.createCLAHE(3.0, (8, 8)).apply(fitted)
    decoded = decode(saved(image, "PNG"), 64, steps)
    np.testing.assert_array_equal(decoded.pixels, right)
    np.testing.assert_array_equal(decoded.thumb, decode(saved(image, "PNG"), 64, PLAIN).thumb)
