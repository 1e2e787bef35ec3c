from __future__ import annotations

import io
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.corpus import png_of, radiograph, saved
from helpers.preprocess import PLAIN
from PIL import Image

from cxrlab.data import images
from cxrlab.data.images import (
    UnreadableImageError,
    decode,
    is_image_name,
    read_file,
    resize,
)
from cxrlab.errors import UserError


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)


def plainly(content: bytes, size: int) -> np.ndarray:
    """OpenCV's gray, brought to a square, and nothing else."""
    gray = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    method = cv2.INTER_AREA if min(gray.shape) >= size else cv2.INTER_LINEAR
    return cv2.resize(gray, (size, size), interpolation=method)


def interlaced_png(gray: np.ndarray, passes: int = 7) -> bytes:
    """A PNG of 8 bits in Adam7 order, which neither OpenCV nor Pillow writes."""
    order = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
    order += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [gray[top::down, left::right] for top, left, down, right in order[:passes]]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    whole = bytearray(png_of((*gray.shape, 8, 0), zlib.compress(rows)))
    whole[28] = 1
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    return bytes(whole)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [32, 64, 224])
def test_8_bit_gray_is_what_opencv_makes_of_it(noise: np.ndarray, kind: str, size: int) -> None:
    content = saved(noise, kind)
    np.testing.assert_array_equal(decode(content, size, PLAIN).pixels, plainly(content, size))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_colour_is_opencvs_luma(kind: str) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    content = saved(cv2.GaussianBlur(colours, (0, 0), 3), kind)
    off = decode(content, 60, PLAIN).pixels.astype(int) - plainly(content, 60)
    assert np.abs(off).max() <= 1


def test_a_png_of_the_right_size_comes_back_as_it_is(noise: np.ndarray) -> None:
    square = noise[:, :60].copy()
    np.testing.assert_array_equal(decode(saved(square, "PNG"), 60, PLAIN).pixels, square)


def test_shrinking_averages(noise: np.ndarray) -> None:
    halved = resize(noise[:60, :60], 30)
    means = noise[:60, :60].reshape(30, 2, 30, 2).mean(axis=(1, 3))
    assert np.abs(halved - means).max() <= 1


def test_the_thumb_averages_the_whole_image_whatever_the_size_asked_for() -> None:
    image = np.random.default_rng(2).integers(0, 256, (128, 192), dtype=np.uint8)
    means = image.reshape(64, 2, 64, 3).mean(axis=(1, 3))
    for size in (16, 224):
        thumb = decode(saved(image, "PNG"), size, PLAIN).thumb
        assert thumb.shape == (64, 64)
        assert np.abs(thumb - means).max() <= 1


def test_facts_are_of_the_file_as_stored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(radiograph(), "JPEG", exif=exif.tobytes())
    decoded = decode(content, 32, PLAIN)
    assert decoded.facts == images.Facts("JPEG", 96, 120, 8, 1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_white_is_the_smallest_usual_depth_that_holds_the_brightest_pixel(bits: int) -> None:
    deep = np.full((16, 16), 2**bits - 1, np.uint16)
    deep[:8] = 2 ** (bits - 1)
    shown = decode(saved(deep, "PNG"), 16, PLAIN).pixels
    assert set(shown[8:].ravel()) == {255}
    assert np.abs(shown[:8].astype(int) - 128).max() <= 1


def test_a_16_bit_tiff_whose_white_is_zero_is_inverted() -> None:
    deep = radiograph().astype(np.uint16) * 257
    # Pillow writes the values as they are, and the tag.
    content = saved(~deep, "TIFF", tiffinfo={262: 0})
    upright = decode(saved(deep, "PNG"), 64, PLAIN).pixels
    np.testing.assert_array_equal(decode(content, 64, PLAIN).pixels, upright)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_is_turned_upright(compression: str | None) -> None:
    # Orientation 6: the stored picture is to be turned by 90 degrees clockwise.
    stored = np.rot90(radiograph()).copy()
    content = saved(stored, "TIFF", tiffinfo={274: 6}, compression=compression)
    decoded = decode(content, 48, PLAIN)
    expected = plainly(saved(radiograph(), "PNG"), 48)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.facts == images.Facts("TIFF", 120, 96, 8, 1)


def test_an_interlaced_png_and_one_that_ends_in_black_are_whole(noise: np.ndarray) -> None:
    black = noise.copy()
    black[-20:] = 0
    content = saved(black, "PNG")
    np.testing.assert_array_equal(decode(content, 32, PLAIN).pixels, plainly(content, 32))
    interlaced = interlaced_png(black)
    np.testing.assert_array_equal(decode(interlaced, 32, PLAIN).pixels, plainly(content, 32))
    with pytest.raises(UnreadableImageError, match="rows are missing"):
        decode(interlaced_png(black, passes=6), 32, PLAIN)


def test_a_damaged_compressed_tiff_is_refused(noise: np.ndarray) -> None:
    whole = bytearray(saved(noise, "TIFF", compression="tiff_lzw"))
    with Image.open(io.BytesIO(whole)) as image:
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    whole[start + length // 2 : start + length] = bytes(length - length // 2)
    with pytest.raises(UnreadableImageError, match="damaged TIFF"):
        decode(bytes(whole), 32, PLAIN)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    content = saved(radiograph(), "JPEG")
    start = content.index(b"\xff\xda")
    scans = content[:start] + content[start:-2] * 200 + content[-2:]
    with pytest.raises(UnreadableImageError, match="scans"):
        decode(scans, 32, PLAIN)


def test_threads_decode_what_one_alone_does() -> None:
    contents = [
        saved(np.roll(radiograph(), shift, axis=1), kind)
        for shift in range(12)
        for kind in ("JPEG", "PNG", "TIFF")
    ]
    alone = [decode(content, 64, PLAIN).pixels for content in contents]
    together = threading.Barrier(4)

    def work(worker: int) -> list[np.ndarray]:
        together.wait()
        return [decode(content, 64, PLAIN).pixels for content in contents]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, range(4)):
            np.testing.assert_array_equal(found, alone)


def test_a_missing_package_is_the_users_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cxrlab.data.decode.dicom", None)
    monkeypatch.delattr("cxrlab.data.decode.dicom", raising=False)  # another test has loaded it
    with pytest.raises(UserError, match=r'pip install "cxrlab\[dicom\]"'):
        decode(bytes(128) + b"DICM" + bytes(20), 32, PLAIN)


def test_a_file_is_read_whole_and_a_large_one_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"12345")
    assert read_file(file) == b"12345"
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(600_000_000)
    with pytest.raises(UnreadableImageError, match="600 MB; the limit is 512 MB"):
        read_file(tmp_path / "large.png")
    with pytest.raises(UnreadableImageError, match="file name"):
        read_file(tmp_path / "nul\0.png")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpeg", True),
        ("A.JPG", True),
        ("b.Png", True),
        ("c.tif", True),
        ("c.tiff", True),
        ("d.bmp", True),
        ("e.dcm", True),
        ("e.DICOM", True),
        (".a.png", False),
        ("._a.jpeg", False),
        ("a.gif", False),
        ("png", False),
        ("Thumbs.db", False),
    ],
)
def test_image_names_are_told_by_their_suffix(name: str, expected: bool) -> None:
    assert is_image_name(name) is expected
