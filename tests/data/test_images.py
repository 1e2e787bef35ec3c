from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrlab.data.images import UnreadableImageError, decode, resize


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)


def test_a_png_of_the_right_size_comes_back_as_it_is(tmp_path: Path, pixels: np.ndarray) -> None:
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), pixels[:60, :60])
    decoded = decode(file, 60)
    np.testing.assert_array_equal(decoded.pixels, pixels[:60, :60])
    assert len(decoded.digest) == 64


def test_colour_becomes_gray(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "c.png"), np.full((8, 8, 3), (0, 0, 255), np.uint8))
    assert decode(tmp_path / "c.png", 8).pixels.shape == (8, 8)


def test_shrinking_averages(pixels: np.ndarray) -> None:
    halved = resize(pixels[:60, :60], 30)
    means = pixels[:60, :60].reshape(30, 2, 30, 2).mean(axis=(1, 3))
    assert np.abs(halved - means).max() <= 1


@pytest.mark.parametrize("suffix", [".jpeg", ".png"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_unreadable(
    tmp_path: Path, pixels: np.ndarray, suffix: str, share: float
) -> None:
    content = cv2.imencode(suffix, pixels)[1].tobytes()
    file = tmp_path / f"cut{suffix}"
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnreadableImageError, match="cut short"):
        decode(file, 32)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not an image at all", "not an image"),
        (b"\xff\xd8\xff\xd9", "not an image"),
    ],
)
def test_what_is_no_image_says_so(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "x.jpeg"
    file.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason):
        decode(file, 32)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="No such file"):
        decode(tmp_path / "none.png", 32)
