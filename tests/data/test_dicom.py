from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from helpers import dicom
from helpers.corpus import radiograph, saved
from helpers.preprocess import PLAIN, preprocess
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset

from cxrlab.data.images import Facts, UnreadableImageError, decode
from cxrlab.errors import UserError

GRAY = radiograph()
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def shown(content: bytes, size: int = 16) -> np.ndarray:
    return decode(content, size, PLAIN, "x.dcm").pixels.astype(int)


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.sampled_from([(8, 8), (12, 16), (16, 16)]),
    st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    st.booleans(),
)
def test_a_radiograph_is_the_same_as_dicom_and_as_png(
    seed: int, depth: tuple[int, int], kind: str, windowed: bool
) -> None:
    bits, allocated = depth
    gray = np.random.default_rng(seed).integers(0, 256, (20, 24), dtype=np.uint8)
    stored = (gray.astype(np.uint16) << (bits - 8)).astype(f"u{allocated // 8}")
    full = 2**bits - 1
    if kind == "MONOCHROME1":
        stored = full - stored
    window = {"WindowCenter": (full + 1) / 2, "WindowWidth": full + 1} if windowed else {}
    content = dicom.dicom(stored, bits, PhotometricInterpretation=kind, **window)
    right = decode(saved(gray, "PNG"), 20, PLAIN).pixels.astype(int)
    decoded = decode(content, 20, PLAIN)
    assert np.abs(decoded.pixels - right).max() <= 2
    assert decoded.facts == Facts("DICOM", 20, 24, bits, 1)


def test_a_linear_window_is_that_of_the_standard() -> None:
    # PS3.3 C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white above c - 0.5 + (w - 1) / 2.
    found = shown(dicom.dicom(RAMP, WindowCenter=100, WindowWidth=50)).ravel()
    x = np.arange(256)
    right = np.clip(((x - 99.5) / 49 + 0.5) * 255, 0, 255)
    assert np.abs(found - right).max() <= 1


def test_the_first_of_several_windows_counts() -> None:
    one = shown(dicom.dicom(RAMP, WindowCenter=60, WindowWidth=40))
    two = shown(dicom.dicom(RAMP, WindowCenter=[60, 128], WindowWidth=[40, 256]))
    np.testing.assert_array_equal(one, two)


def test_exact_and_sigmoid_windows_are_those_of_the_standard() -> None:
    window = {"WindowCenter": 100, "WindowWidth": 50}
    x = np.arange(256)
    exact = shown(dicom.dicom(RAMP, VOILUTFunction="LINEAR_EXACT", **window)).ravel()
    assert np.abs(exact - np.clip(((x - 100) / 50 + 0.5) * 255, 0, 255)).max() <= 1
    sigmoid = shown(dicom.dicom(RAMP, VOILUTFunction="SIGMOID", **window)).ravel()
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (x - 100) / 50))).max() <= 1


def test_a_window_is_in_rescaled_values() -> None:
    plain = shown(dicom.dicom(RAMP, WindowCenter=100, WindowWidth=50))
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -1000, "RescaleType": "US"}
    window = {"WindowCenter": 2 * 99.5 - 1000 + 0.5, "WindowWidth": 2 * 49 + 1}
    rescaled = shown(dicom.dicom(RAMP, **rescale, **window))
    assert np.abs(plain - rescaled).max() <= 1


def test_a_negative_slope_inverts() -> None:
    found = shown(dicom.dicom(RAMP, RescaleSlope=-1, RescaleIntercept=255))
    np.testing.assert_array_equal(found, 255 - RAMP.astype(int))
    window = {"WindowCenter": 128, "WindowWidth": 256}
    found = shown(dicom.dicom(RAMP, RescaleSlope=-1, RescaleIntercept=255, **window))
    assert np.abs(found - (255 - RAMP.astype(int))).max() <= 1


def test_signed_values_keep_their_order() -> None:
    signed = (RAMP.astype(np.int16) - 128) * 16
    assert np.abs(shown(dicom.dicom(signed, 12)) - RAMP).max() <= 1


def test_bits_above_those_stored_are_no_gray_values() -> None:
    overlaid = (RAMP.astype(np.uint16) << 4) | 0x8000
    assert np.abs(shown(dicom.dicom(overlaid, 12)) - RAMP).max() <= 1


@pytest.mark.parametrize("bits", [8, 12])
def test_a_voi_table_wins_over_a_window(bits: int) -> None:
    # Longer than 256 entries, so that 8-bit output does not mean 8-bit input.
    item = Dataset()
    item.LUTDescriptor = [4096, 0, bits]
    item.add_new("LUTData", "US", [int(v) for v in (4095 - np.arange(4096)) >> (12 - bits)])
    deep = RAMP.astype(np.uint16) << 4
    window = {"WindowCenter": 10, "WindowWidth": 5}
    content = dicom.dicom(deep, 12, VOILUTSequence=[item], **window)
    assert np.abs(shown(content) - (255 - RAMP.astype(int))).max() <= 1


def test_a_modality_table_comes_first() -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [256, 0, 16], "US"
    item.add_new("LUTData", "US", [int(v) * 100 for v in 255 - np.arange(256)])
    found = shown(dicom.dicom(RAMP, ModalityLUTSequence=[item]))
    assert np.abs(found - (255 - RAMP.astype(int))).max() <= 1


def test_padding_is_black_in_either_polarity() -> None:
    padded = np.where(RAMP < 16, 0, RAMP).astype(np.uint8)
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        content = dicom.dicom(padded, PhotometricInterpretation=kind, PixelPaddingValue=0)
        found = shown(content)
        assert set(found[0]) == {0}
        assert found[1:].max() > 200


def test_a_header_that_shows_one_gray_only_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="all gray values to one"):
        shown(dicom.dicom(RAMP, RescaleSlope=0, RescaleIntercept=5))


def test_percentiles_work_at_the_depth_of_the_file() -> None:
    deep = (1000 + np.arange(256, dtype=np.uint16)).reshape(16, 16)
    decoded = decode(dicom.dicom(deep, 12), 16, preprocess(percentiles=(0, 100)))
    assert np.abs(decoded.pixels.astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless])
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 12), (np.uint16, 16)])
def test_compression_changes_nothing(syntax: uid.UID, dtype: type, bits: int) -> None:
    stored = (GRAY.astype(np.uint16) << (bits - 8)).astype(dtype)
    plain = shown(dicom.dicom(stored, bits), 64)
    np.testing.assert_array_equal(shown(dicom.compressed(stored, syntax, bits), 64), plain)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_jpeg_2000_changes_nothing(dtype: type) -> None:
    stored = GRAY.astype(dtype)
    np.testing.assert_array_equal(
        shown(dicom.jpeg_2000(stored), 64), shown(dicom.dicom(stored), 64)
    )


def test_lossless_jpeg_changes_nothing(tmp_path: Path) -> None:
    stored = GRAY.astype(np.uint16) << 4
    content = dicom.lossless_jpeg(stored, 12, tmp_path)
    np.testing.assert_array_equal(shown(content, 64), shown(dicom.dicom(stored, 12), 64))


def test_deflated_and_bare_files_are_read() -> None:
    plain = dicom.dicom(GRAY)
    deflated = dicom.dataset_of(GRAY)
    deflated.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    for content in (dicom.write(deflated), dicom.without_preamble(plain)):
        np.testing.assert_array_equal(shown(content, 64), shown(plain, 64))


def test_luma_of_ybr_is_its_first_channel() -> None:
    ybr = np.dstack([GRAY, 255 - GRAY, GRAY // 2])
    content = dicom.dicom(ybr, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_array_equal(shown(content, 64), shown(dicom.dicom(GRAY), 64))


def test_a_compression_without_a_decoder_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pydicom.pixels.decoders import base

    content = dicom.compressed(GRAY, uid.JPEGLSLossless)
    monkeypatch.setattr(base.get_decoder(uid.JPEGLSLossless), "_available", {})
    with pytest.raises(UserError, match=r'JPEG-LS.*pip install "cxrlab\[dicom\]"'):
        shown(content)


def test_nothing_that_names_the_patient_leaves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    decoded = decode(dicom.dicom(GRAY), 32, PLAIN)
    told = str(asdict(decoded)) + caplog.text
    with pytest.raises(UnreadableImageError) as raised:
        shown(dicom.dicom(GRAY, WindowCenter=1, WindowWidth=-3))
    told += str(raised.value) + caplog.text
    assert "Doe" not in told
    assert "secret" not in told


def test_pydicoms_warnings_do_not_reach_the_terminal(tmp_path: Path) -> None:
    odd = dicom.dataset_of(GRAY)
    odd.PixelData += bytes(101)
    file = tmp_path / "odd.dcm"
    file.write_bytes(dicom.write(odd))
    script = (
        "import sys; from pathlib import Path; from cxrlab.config.datasets import Preprocess\n"
        "from cxrlab.data.images import decode\n"
        "plain = Preprocess(crop_borders=False, percentiles=None, resize='stretch', clahe=None)\n"
        "print(decode(Path(sys.argv[1]).read_bytes(), 32, plain).facts)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == ""
    assert "DICOM" in done.stdout
