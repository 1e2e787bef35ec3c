from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import dicom
from helpers.corpus import BadInput, Shows, nobody, radiograph, saved, write_corpus
from helpers.preprocess import PLAIN
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid

from cxrlab.data.images import UnreadableImageError, decode, read_file

# Outside of pytest the decoders' own filters hold; one test looks at a process without pytest.
pytestmark = pytest.mark.filterwarnings("ignore")

SECONDS = 2.0
MEGABYTES = 500


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[BadInput]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@contextlib.contextmanager
def rights_for(bad: BadInput) -> Iterator[None]:
    with nobody() if bad.unprivileged else contextlib.nullcontext():
        yield


def outcome(bad: BadInput) -> str | None:
    """What is wrong with what came of an input; None if it is what was expected."""
    try:
        with rights_for(bad):
            content = read_file(bad.path)
        shown = decode(content, 64, PLAIN, bad.path.name)
    except UnreadableImageError as error:
        if isinstance(bad.expected, Shows):
            return f"refused: {error}"
        return None if bad.expected.reason_fits(str(error)) else f"another reason: {error}"
    if not isinstance(bad.expected, Shows):
        return "read, though it should be refused"
    if shown.facts != bad.expected.facts:
        return f"{shown.facts} in place of {bad.expected.facts}"
    right = cv2.resize(bad.expected.gray, (64, 64), interpolation=cv2.INTER_AREA)
    for kind, picture in (("pixels", shown.pixels), ("thumb", shown.thumb)):
        off = float(np.abs(picture.astype(float) - right).mean())
        if off > bad.expected.tolerance:
            return f"{kind} are off by {off:.1f} gray levels"
    return None


def test_every_input_has_its_one_outcome_in_time_and_silence(
    corpus: list[BadInput], capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {}
    for bad in corpus:
        start = time.monotonic()
        found = outcome(bad)
        if time.monotonic() - start > SECONDS:
            found = f"took {time.monotonic() - start:.1f} s"
        printed = "".join(capfd.readouterr())
        if found or printed:
            wrong[bad.name] = found or f"printed {printed!r}"
    assert not wrong
    assert len(corpus) > 90


def test_reasons_are_one_short_line(corpus: list[BadInput]) -> None:
    for bad in corpus:
        with rights_for(bad), contextlib.suppress(UnreadableImageError):
            decode(read_file(bad.path), 64, PLAIN, bad.path.name)
            continue
        with rights_for(bad), pytest.raises(UnreadableImageError) as raised:
            decode(read_file(bad.path), 64, PLAIN, bad.path.name)
        reason = str(raised.value)
        assert reason.isprintable(), bad.name
        assert 0 < len(reason) < 160, bad.name


# ru_maxrss would be inherited from pytest's own process, so the kernel's mark of this one is read.
DECODE_ALL = """
import re, sys
from pathlib import Path
from cxrlab.config.datasets import Preprocess
from cxrlab.data.images import UnreadableImageError, decode, read_file
import cxrlab.data.decode.dicom

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

plain = Preprocess(crop_borders=False, percentiles=None, resize="stretch", clahe=None)
before = peak()
for path in map(Path, sys.argv[1:]):
    try:
        decode(read_file(path), 64, plain, path.name)
    except UnreadableImageError:
        pass
print(peak() - before)
"""


def peak_megabytes(*paths: Path) -> float:
    """What decoding takes in a process without pytest, which has to be silent."""
    done = subprocess.run(
        [sys.executable, "-c", DECODE_ALL, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == ""
    return float(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_the_whole_corpus_needs_little_memory(corpus: list[BadInput]) -> None:
    assert 0 < peak_megabytes(*(bad.path for bad in corpus)) < MEGABYTES


def valid_files() -> dict[str, bytes]:
    gray = radiograph()[:40, :48].copy()
    return {
        "jpeg": saved(gray, "JPEG"),
        "png": saved(gray, "PNG"),
        "tiff": saved(gray, "TIFF", compression="tiff_lzw"),
        "bmp": saved(gray, "BMP"),
        "dicom": dicom.dicom(gray.astype(np.uint16) << 4, 12, WindowCenter=2000, WindowWidth=4000),
        "rle": dicom.compressed(gray, uid.RLELossless),
        "jpeg-ls": dicom.compressed(gray, uid.JPEGLSLossless),
        "jpeg 2000": dicom.jpeg_2000(gray),
    }


VALID = valid_files()


def read_or_refuse(content: bytes, name: str = "") -> None:
    with contextlib.suppress(UnreadableImageError):
        shown = decode(content, 32, PLAIN, name)
        assert shown.pixels.shape == (32, 32)
        assert shown.pixels.dtype == np.uint8


@settings(max_examples=150)
@given(st.binary(max_size=400), st.sampled_from(["", "x.dcm"]), st.sampled_from(sorted(VALID)))
def test_random_bytes_are_read_or_refused(tail: bytes, name: str, kind: str) -> None:
    read_or_refuse(tail, name)
    read_or_refuse(VALID[kind][:150] + tail, name)


@settings(max_examples=400)
@given(st.data(), st.sampled_from(sorted(VALID)))
def test_flipped_bits_are_read_or_refused(data: st.DataObject, kind: str) -> None:
    content = bytearray(VALID[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        # Most of what can go wrong is in the header.
        last = data.draw(st.sampled_from([min(600, len(content)), len(content)])) - 1
        content[data.draw(st.integers(0, last))] ^= 1 << data.draw(st.integers(0, 7))
    read_or_refuse(bytes(content), "x.dcm")


@settings(max_examples=200)
@given(st.data(), st.sampled_from(sorted(VALID)))
def test_a_cut_file_is_refused_or_lost_nothing_of_its_picture(
    data: st.DataObject, kind: str
) -> None:
    content = VALID[kind]
    length = data.draw(st.integers(0, len(content) - 1))
    try:
        shown = decode(content[:length], 32, PLAIN, "x.dcm")
    except UnreadableImageError:
        return
    np.testing.assert_array_equal(shown.pixels, decode(content, 32, PLAIN, "x.dcm").pixels)
