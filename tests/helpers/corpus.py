"""Image files that users have and wish they had not, each with the one right outcome."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from helpers import dicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid

from cxrlab.data.images import Facts

_NOBODY = 65534
_HEIGHT, _WIDTH = 96, 120


@dataclass(frozen=True)
class Refused:
    """The file is unreadable, for a reason that this regular expression finds."""

    reason: str

    def reason_fits(self, found: str) -> bool:
        return re.search(self.reason, found) is not None


@dataclass(frozen=True)
class Shows:
    """The file is decoded to (H, W) uint8, on average within `tolerance` gray levels."""

    gray: NDArray[np.uint8]
    facts: Facts
    tolerance: float = 1.0


@dataclass(frozen=True)
class BadInput:
    """A path, what is special about it, and what has to come of it.

    Attributes:
        name: of the case, such as `jpeg cut at 5 %`.
        path: what is read; a symlink or a folder in some cases.
        expected: the outcome.
        unprivileged: whether it is to be read as `nobody`; root may read everything.
    """

    name: str
    path: Path
    expected: Refused | Shows
    unprivileged: bool = False


_Case = tuple[str, bytes, Refused | Shows]  # file name, content, outcome


def write_corpus(folder: Path) -> list[BadInput]:
    """Write every case below `folder`, which has to exist and be empty."""
    cases = []
    for name, content, expected in [*_jpegs(), *_pngs(), *_others(), *_dicoms()]:
        path = folder / name
        path.write_bytes(content)
        cases.append(BadInput(name, path, expected))
    return [*cases, *_places(folder)]


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Read as a user without rights; the whole process, so in one thread only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@functools.cache
def radiograph() -> NDArray[np.uint8]:
    """(96, 120) uint8, 0..255, smooth, and different under every rotation and mirroring."""
    noise = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    image = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    return np.asarray(image, np.uint8)


def png_of(header: tuple[int, int, int, int], data: bytes) -> bytes:
    """A PNG of (height, width, bits, colour type) whose IDAT is `data`, checksums right."""
    height, width, bits, colour = header
    fields = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", fields) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def saved(image: Image.Image | NDArray[np.generic], kind: str, **options: object) -> bytes:
    """A picture in one of Pillow's formats."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(image: NDArray[np.generic]) -> bytes:
    """Unfiltered scan lines."""
    return b"".join(b"\0" + row.tobytes() for row in image)


def _facts(kind: str, bits: int = 8, channels: int = 1, height: int = _HEIGHT) -> Facts:
    return Facts(kind, height, _WIDTH if height == _HEIGHT else _HEIGHT, bits, channels)


def _colours() -> NDArray[np.uint8]:
    gray = radiograph()
    return np.dstack([gray, gray[::-1], gray[:, ::-1]])


def _luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def _jpegs() -> Iterator[_Case]:
    gray, colours = radiograph(), _colours()
    whole = saved(gray, "JPEG", quality=95)
    for percent in (5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 99):
        cut = whole[: len(whole) * percent // 100]
        yield f"cut at {percent}.jpeg", cut, Refused("cut short")
    thumbnail = saved(gray[:32, :32], "JPEG")
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0" + bytes(6) + thumbnail
    with_thumbnail = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + whole[2:]
    yield "thumbnail.jpeg", with_thumbnail, Shows(gray, _facts("JPEG"))
    yield "cut after the thumbnail.jpeg", with_thumbnail[: len(exif) + 6], Refused("cut short")
    yield "thumbnail, then cut.jpeg", with_thumbnail[:-200], Refused("cut short")
    yield "trailing bytes.jpeg", whole + bytes(5000), Shows(gray, _facts("JPEG"))
    yield "only markers.jpeg", b"\xff\xd8\xff\xd9", Refused("without a frame header")
    yield (
        "progressive.jpg",
        saved(gray, "JPEG", quality=95, progressive=True),
        Shows(gray, _facts("JPEG")),
    )
    yield (
        "colour.jpeg",
        saved(colours, "JPEG", quality=98, subsampling=0),
        Shows(_luma(colours), _facts("JPEG", channels=3), 1.5),
    )
    # Pillow writes CMYK as Adobe does: inverted.
    cmyk = Image.fromarray(colours).convert("CMYK")
    yield (
        "cmyk.jpeg",
        saved(cmyk, "JPEG", quality=98),
        Shows(_luma(colours), _facts("JPEG", channels=4), 2.0),
    )
    for orientation in range(2, 9):
        yield _turned(orientation)
    yield "röntgen 胸部 №7.jpeg", whole, Shows(gray, _facts("JPEG"))
    yield "n" * 250 + ".jpeg", whole, Shows(gray, _facts("JPEG"))


def _turned(orientation: int) -> _Case:
    """A JPEG stored turned, with the EXIF orientation that turns it back."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(radiograph()).transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(stored, "JPEG", quality=95, exif=exif.tobytes())
    expected = Shows(radiograph(), _facts("JPEG", height=stored.height))
    return f"orientation {orientation}.jpeg", content, expected


def _pngs() -> Iterator[_Case]:
    gray, colours = radiograph(), _colours()
    whole, alpha = saved(gray, "PNG"), gray[::-1, ::-1].copy()
    for percent in (10, 50, 90, 99):
        cut = whole[: len(whole) * percent // 100]
        yield f"cut at {percent}.png", cut, Refused("cut short")
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 1
    yield "wrong checksum.png", bytes(broken), Refused("checksum")
    header = (_HEIGHT, _WIDTH, 8, 0)
    yield "idat is no zlib.png", png_of(header, b"no zlib stream"), Refused("damaged PNG")
    half = zlib.compress(_rows(gray[: _HEIGHT // 2]))
    yield "idat of half the rows.png", png_of(header, half), Refused("damaged PNG")
    bad_filter = zlib.compress(b"\x09" + _rows(gray)[1:])
    yield "idat of no filter.png", png_of(header, bad_filter), Refused("damaged PNG")
    yield "one pixel.png", saved(gray[:1, :1], "PNG"), Refused("1 x 1 pixels")
    yield "one row.png", saved(gray[:1], "PNG"), Refused("120 x 1 pixels")
    yield "1 x 500.png", saved(np.zeros((500, 1), np.uint8), "PNG"), Refused("1 x 500 pixels")
    yield "huge.png", _huge_png(), Refused("64 megapixels")
    animated = saved(gray, "PNG", save_all=True, append_images=_pages(gray))
    yield "animated.png", animated, Refused("3 frames")
    deep = gray.astype(np.uint16)
    yield "12 of 16 bits.png", saved(deep << 4, "PNG"), Shows(gray, _facts("PNG", 16))
    yield "16 bits.png", saved(deep * 257, "PNG"), Shows(gray, _facts("PNG", 16))
    deep_rgb = cv2.imencode(".png", colours[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    yield "16 bits rgb.png", deep_rgb, Shows(_luma(colours), _facts("PNG", 16, 3))
    yield "rgb.png", saved(colours, "PNG"), Shows(_luma(colours), _facts("PNG", channels=3))
    rgba = saved(np.dstack([colours, alpha]), "PNG")
    yield "rgba.png", rgba, Shows(_luma(colours), _facts("PNG", channels=4))
    la = saved(Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha)]), "PNG")
    yield "gray and alpha.png", la, Shows(gray, _facts("PNG", channels=2))
    yield from _palettes(gray)
    lit = gray > 127
    one_bit = saved(Image.fromarray(lit), "PNG")
    yield "1 bit.png", one_bit, Shows(lit.astype(np.uint8) * 255, _facts("PNG", 1))


def _palettes(gray: NDArray[np.uint8]) -> Iterator[_Case]:
    indexed = Image.fromarray(gray, "L").convert("P")
    table = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) // 2], axis=1)
    indexed.putpalette(table.astype(np.uint8).tobytes())
    shown = Shows(_luma(table.astype(np.uint8)[gray]), _facts("PNG"))
    yield "palette.png", saved(indexed, "PNG"), shown
    transparent = saved(indexed, "PNG", transparency=bytes(range(256)))
    yield "palette with transparency.png", transparent, shown


@functools.cache
def _huge_png() -> bytes:
    """20,000 x 20,000 black pixels in some hundred kilobytes."""
    side, deflater = 20_000, zlib.compressobj(1)
    rows = bytes(100 * (side + 1))
    parts = [deflater.compress(rows) for _ in range(side // 100)]
    return png_of((side, side, 8, 0), b"".join([*parts, deflater.flush()]))


def _pages(gray: NDArray[np.uint8]) -> list[Image.Image]:
    """Two pictures more."""
    return [Image.fromarray(gray[::-1].copy()), Image.fromarray(gray[:, ::-1].copy())]


def _others() -> Iterator[_Case]:
    gray, colours = radiograph(), _colours()
    pages = _pages(gray)
    yield "nothing.jpeg", b"", Refused("empty file")
    yield "text.jpeg", b"patient did not show up\n", Refused("a text file")
    yield "page.jpeg", b"<!DOCTYPE html><html>404</html>", Refused("an HTML page")
    yield "archive.png", b"PK\x03\x04" + bytes(60), Refused("a zip archive")
    yield "noise.png", np.random.default_rng(1).bytes(500), Refused("not an image")
    yield "still.gif.png", saved(gray, "GIF"), Refused("a GIF")
    animated = saved(gray, "GIF", save_all=True, append_images=pages)
    yield "animated.gif.png", animated, Refused("a GIF")
    yield "webp.jpeg", saved(gray, "WEBP"), Refused("a WebP")
    deep = gray.astype(np.uint16)
    yield "8 bits.tif", saved(gray, "TIFF"), Shows(gray, _facts("TIFF"))
    yield "12 of 16 bits.tiff", saved(deep << 4, "TIFF"), Shows(gray, _facts("TIFF", 16))
    yield "lzw.tiff", saved(gray, "TIFF", compression="tiff_lzw"), Shows(gray, _facts("TIFF"))
    yield "rgb.tiff", saved(colours, "TIFF"), Shows(_luma(colours), _facts("TIFF", channels=3))
    # White is zero (tag 262): Pillow stores the values inverted.
    yield "white is zero.tiff", saved(gray, "TIFF", tiffinfo={262: 0}), Shows(gray, _facts("TIFF"))
    several = saved(gray, "TIFF", save_all=True, append_images=pages)
    yield "3 pages.tiff", several, Refused("3 frames")
    yield "float.tiff", saved(gray.astype(np.float32), "TIFF"), Refused("float")
    yield "cut.tiff", saved(gray, "TIFF")[:6000], Refused("damaged TIFF")
    yield "8 bits.bmp", saved(gray, "BMP"), Shows(gray, _facts("BMP"))
    yield "24 bits.bmp", saved(colours, "BMP"), Shows(_luma(colours), _facts("BMP", channels=3))
    yield "cut.bmp", saved(gray, "BMP")[:6000], Refused("damaged BMP")


def _dicoms() -> Iterator[_Case]:
    gray, colours = radiograph(), _colours()
    deep, facts = gray.astype(np.uint16) << 4, _facts("DICOM")
    plain = dicom.dicom(gray)
    yield "plain.dcm", plain, Shows(gray, facts)
    yield "not named so.png", plain, Shows(gray, facts)
    yield "no preamble.dcm", dicom.without_preamble(plain), Shows(gray, facts)
    yield (
        "monochrome1.dcm",
        dicom.dicom(255 - gray, PhotometricInterpretation="MONOCHROME1"),
        (Shows(gray, facts)),
    )
    yield "12 bits.dcm", dicom.dicom(deep, 12), Shows(gray, _facts("DICOM", 12))
    yield "rgb.dcm", dicom.dicom(colours), Shows(_luma(colours), _facts("DICOM", channels=3))
    lied = dicom.dicom(colours, PhotometricInterpretation="MONOCHROME2")
    yield "gray of three channels.dcm", lied, Refused("contradicts")
    yield "palette.dcm", _palette_dicom(gray), Shows(255 - gray, facts)
    yield "no pixels.dcm", dicom.dicom(gray, PixelData=None), Refused("DICOM without pixels")
    short = dicom.dicom(gray, PixelData=gray.tobytes()[:5000])
    yield "half the pixels.dcm", short, Refused("cut short: 5000 bytes of pixels")
    yield "cut.dcm", plain[: len(plain) // 2], Refused("cut short|without pixels|can't be read")
    several = dicom.dicom(gray, NumberOfFrames=2, PixelData=gray.tobytes() * 2)
    yield "2 frames.dcm", several, Refused("2 frames")
    yield "huge.dcm", dicom.dicom(gray, Rows=60_000, Columns=60_000), Refused("64 megapixels")
    yield "small.dcm", dicom.dicom(gray[:4, :4]), Refused("4 x 4 pixels")
    yield "bomb.dcm", _bomb(), Refused("deflated DICOM of more than")
    yield "text.dcm", bytes(128) + b"DICM" + b"hello, this is no DICOM\n" * 20, Refused("DICOM")
    yield "noise.dcm", np.random.default_rng(2).bytes(3000), Refused("DICOM")
    for kind, content in _compressed(deep):
        bits = 16 if kind == "jpeg 2000" else 12
        yield f"{kind}.dcm", content, Shows(gray, _facts("DICOM", bits))
        yield f"{kind} cut.dcm", content[: len(content) * 2 // 3], Refused("DICOM|cut short")
    jpeg, large = saved(gray, "JPEG", quality=95), saved(np.zeros((900, 900), np.uint8), "JPEG")
    baseline = functools.partial(dicom.encapsulated, syntax=uid.JPEGBaseline8Bit)
    like = dicom.dataset_of
    yield "jpeg baseline.dcm", baseline(jpeg, like=like(gray)), Shows(gray, facts)
    yield "jpeg lied.dcm", baseline(large, like=like(gray)), Refused("holds 900 x 900")
    yield "jpeg half.dcm", baseline(jpeg[: len(jpeg) // 2], like=like(gray)), Refused("cut short")


def _compressed(deep: NDArray[np.uint16]) -> Iterator[tuple[str, bytes]]:
    yield "rle", dicom.compressed(deep, uid.RLELossless, 12)
    yield "jpeg-ls", dicom.compressed(deep, uid.JPEGLSLossless, 12)
    yield "jpeg 2000", dicom.jpeg_2000(deep << 4)


_bomb = functools.cache(lambda: dicom.deflated_bomb(200))


def _palette_dicom(gray: NDArray[np.uint8]) -> bytes:
    """Indices into a table that turns them into their negative."""
    table = (np.arange(255, -1, -1, dtype=np.uint16) * 257).tobytes()
    colours = ("Red", "Green", "Blue")
    names = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in colours}
    tables = {f"{c}PaletteColorLookupTableData": table for c in colours}
    return dicom.dicom(gray, PhotometricInterpretation="PALETTE COLOR", **names, **tables)


def _places(folder: Path) -> Iterator[BadInput]:
    """What is wrong before a byte is read."""
    (folder / "folder.png").mkdir()
    yield BadInput("a folder", folder / "folder.png", Refused("a folder"))
    (folder / "loop.png").symlink_to(folder / "loop.png")
    yield BadInput("a symlink loop", folder / "loop.png", Refused("symbolic links"))
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    yield BadInput("a dangling symlink", folder / "dangling.png", Refused("No such file"))
    yield BadInput("a missing file", folder / "missing.png", Refused("No such file"))
    yield BadInput("a name too long", folder / ("n" * 300 + ".png"), Refused("name too long"))
    os.mkfifo(folder / "pipe.png")
    yield BadInput("a named pipe", folder / "pipe.png", Refused("not a regular file"))
    secret = folder / "secret.png"
    secret.write_bytes(saved(radiograph(), "PNG"))
    secret.chmod(0)
    yield BadInput("no permission", secret, Refused("Permission denied"), unprivileged=True)
