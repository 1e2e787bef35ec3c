import numpy as np
import pytest

from cxrlab.explanation import maps
from cxrlab.explanation.maps import ColourScale

SCALE = ColourScale(signed=1.0, absolute=1.0, sigma=0)


def painted(attributions: list[np.ndarray], sigma: float = 0):
    stacked = np.stack(attributions)
    return maps.paint(np.zeros(stacked.shape, dtype=np.uint8), stacked, sigma)


def test_scale_is_common_and_robust():
    quiet = np.full((50, 50), 0.5, dtype=np.float32)
    loud = np.full((50, 50), -2.0, dtype=np.float32)
    loud[0, 0] = 1000
    _, scale = painted([quiet, loud])
    assert scale.signed == pytest.approx(2)
    assert scale.absolute == pytest.approx(2)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_scale_of_empty_maps_divides_by_nothing(value: float):
    flat = np.full((4, 4), value, dtype=np.float32)
    strips, scale = painted([flat])
    assert (scale.signed, scale.absolute) == (1, 1)
    grey = strips[0][:, 4:8]
    assert np.ptp(grey.reshape(-1, 3), axis=0).tolist() == [0, 0, 0]


def test_a_map_that_is_not_finite_does_not_set_the_scale():
    broken = np.full((4, 4), 7.0, dtype=np.float32)
    broken[0, 0] = np.inf
    _, scale = painted([broken, np.full((4, 4), 0.5, dtype=np.float32)])
    assert scale.signed == scale.absolute == pytest.approx(0.5)


def test_signed_colours_are_symmetric_about_zero():
    red, grey, blue = maps.signed_rgb(np.array([[1.0, 0.0, -1.0]], dtype=np.float32), SCALE)[0]
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert np.ptp(grey.astype(int)) < 5


def test_overlay_is_the_image_where_nothing_is_attributed():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4) * 10
    attribution = np.zeros((4, 4), dtype=np.float32)
    attribution[3, 3] = -1
    overlay = maps.overlay_rgb(image, maps.absolute_map(attribution, 0), SCALE)
    expected = np.repeat(image[..., None], 3, axis=-1)
    changed = (overlay != expected).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[3, 3]]


def test_a_strip_is_the_image_pixel_for_pixel_its_map_and_its_overlay():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (8, 8), dtype=np.uint8)
    attribution = random.normal(size=(8, 8)).astype(np.float32)
    (strip,), scale = maps.paint(image[None], attribution[None], 1.5)
    assert strip.shape == (8, 24, 3)
    assert strip.dtype == np.uint8
    assert (strip[:, :8] == image[..., None]).all()
    assert (strip[:, 8:16] == maps.signed_rgb(attribution, scale)).all()
    smoothed = maps.absolute_map(attribution, 1.5)
    assert (strip[:, 16:] == maps.overlay_rgb(image, smoothed, scale)).all()


def test_each_map_is_smoothed_once(monkeypatch: pytest.MonkeyPatch):
    smoothed: list[float] = []
    smooth = maps.smooth
    monkeypatch.setattr(maps, "smooth", lambda m, sigma: (smoothed.append(sigma), smooth(m))[1])
    painted([np.ones((4, 4), dtype=np.float32)] * 3, 2.0)
    assert smoothed == [2.0] * 3


def test_absolute_map_is_the_gaussian_average_of_magnitudes():
    speckle = np.where(np.indices((16, 16)).sum(0) % 2, 1.0, -1.0).astype(np.float32)
    assert maps.absolute_map(speckle, 2.0) == pytest.approx(np.ones((16, 16)), abs=1e-5)
