"""DICOM through pydicom; imported only when a DICOM file comes, for pydicom is optional.

Gray values go through the modality LUT or rescale, then through the VOI LUT or the first window
(PS3.3 C.11.1 and C.11.2); without either, 0..255 is the full range of Bits Stored. MONOCHROME1 is
inverted. Pixel padding becomes black. Of the header nothing leaves but sizes, depths and modality;
messages quote no value that could name a patient.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    RLELossless,
)

from cxrlab.data.decode.dicom_levels import gray_levels
from cxrlab.data.decode.jpeg import frame_header
from cxrlab.data.decode.native import (
    MAX_PIXELS,
    Facts,
    Gray,
    Native,
    UnreadableImageError,
    check_size,
    luma,
    strips,
)
from cxrlab.errors import UserError

# Set once: `warnings.catch_warnings` is not thread-safe, and the file is read or refused anyway.
warnings.filterwarnings("ignore", module=r"pydicom\.|cxrlab\.data\.decode\.dicom")
for _name in ("pydicom", "pylibjpeg", "openjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

_PREAMBLE = 132
_INFLATED = 2 * MAX_PIXELS + 1_000_000  # the largest image in 16-bit words, and a header
_BLOCK = 1_000_000
_ELEMENTS = (
    *("Modality", "Rows", "Columns", "SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PhotometricInterpretation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("LUTDescriptor", "LUTData"),
    *(
        f"{c}PaletteColorLookupTable{what}"
        for c in ("Red", "Green", "Blue")
        for what in ("Descriptor", "Data")
    ),
    *(f"Segmented{c}PaletteColorLookupTableData" for c in ("Red", "Green", "Blue")),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
)
# The order matters: a damaged JPEG-LS or JPEG 2000 stream makes GDCM end the whole process.
_PLUGINS = ("pydicom", "pyjpegls", "pillow", "pylibjpeg", "gdcm")
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_ONE_CHANNEL = (*_MONOCHROME, "PALETTE COLOR")
_JPEG_END = b"\xff\xd9"
_MODALITY = re.compile(r"[A-Z0-9]{0,8}")


def read(content: bytes) -> Native:
    """Decode a DICOM file of one frame, with or without a preamble.

    Raises:
        UnreadableImageError: damaged, without pixels, over a limit, several frames, or of a kind
            that is no radiograph.
        UserError: no installed package decodes its compression.
    """
    try:
        _check_inflated_size(content)
        dataset = pydicom.dcmread(io.BytesIO(content), force=True, specific_tags=list(_ELEMENTS))
        facts = _facts(dataset)
    except UnreadableImageError:
        raise
    except Exception as error:  # pydicom raises whatever the damage leads to
        raise UnreadableImageError("a DICOM file whose header can't be read") from error
    try:
        return _native(dataset, facts)
    except (UnreadableImageError, UserError):
        raise
    except Exception as error:
        raise UnreadableImageError("a DICOM file whose pixels can't be decoded") from error


def _facts(dataset: pydicom.Dataset) -> Facts:
    """Check the header, before any pixel is decoded."""
    if "PixelData" not in dataset:
        floating = "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
        raise UnreadableImageError(f"DICOM {'of float' if floating else 'without'} pixels")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise UnreadableImageError(f"{frames} frames; only single images are read")
    height, width = int(dataset.Rows), int(dataset.Columns)
    samples = int(dataset.get("SamplesPerPixel", 1))
    check_size(height, width)
    check_size(height, width * samples)
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in (8, 16) or not 1 < stored <= allocated:
        raise UnreadableImageError(f"DICOM of {stored} bits in {allocated}; 8 and 16 are read")
    return Facts("DICOM", height, width, stored, samples, _modality(dataset))


def _modality(dataset: pydicom.Dataset) -> str:
    found = str(dataset.get("Modality") or "").strip()
    # A code string by the standard; anything else might be a person's words.
    return found if _MODALITY.fullmatch(found) else "?"


def _native(dataset: pydicom.Dataset, facts: Facts) -> Native:
    syntax = _transfer_syntax(dataset)
    decoder, plugin = get_decoder(syntax), ""
    if syntax.is_encapsulated:
        _check_stream(dataset, facts, syntax)
        plugin = _plugin(decoder)
    else:
        _check_length(dataset, facts)
    # Raw: of YBR the first channel is the luma already.
    pixels, decoded = decoder.as_array(dataset, raw=True, decoding_plugin=plugin)
    del dataset.PixelData
    kind = str(decoded["photometric_interpretation"])
    sides = (facts.height, facts.width)
    if pixels.shape != (sides if kind in _ONE_CHANNEL else (*sides, 3)):
        raise UnreadableImageError("DICOM whose header contradicts its pixels")
    if kind in _MONOCHROME:
        levels = gray_levels(dataset, inverted=kind == "MONOCHROME1")
        return Native(_look_up(pixels, levels), int(np.iinfo(levels.dtype).max), facts)
    if kind == "PALETTE COLOR":
        rgb = apply_color_lut(pixels, dataset)
        return Native(luma(rgb), int(np.iinfo(rgb.dtype).max), facts)
    if kind == "RGB":
        return Native(luma(pixels), 2**facts.bits - 1, facts)
    if kind.startswith("YBR_FULL"):
        return Native(np.ascontiguousarray(pixels[..., 0]), 2**facts.bits - 1, facts)
    raise UnreadableImageError("DICOM of a photometric interpretation that is not read")


def _plugin(decoder: Decoder) -> str:
    for plugin in _PLUGINS:
        if plugin in decoder.available_plugins:
            return plugin
    raise UserError(f'DICOM compressed as {decoder.UID.name}: pip install "cxrlab[dicom]"')


def _look_up(pixels: NDArray[np.integer], levels: NDArray[np.uint16]) -> Gray:
    # Above Bits Stored there may be the sign or an overlay.
    words = pixels.view(f"u{pixels.itemsize}")
    gray = np.empty(words.shape, np.uint16)
    for rows in strips(len(words)):
        gray[rows] = levels[words[rows] & (len(levels) - 1)]
    return gray


def _transfer_syntax(dataset: pydicom.Dataset) -> UID:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:  # no preamble: pydicom has found out
        implicit, _ = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return UID(syntax)


def _check_length(dataset: pydicom.Dataset, facts: Facts) -> None:
    needed = facts.height * facts.width * facts.channels * (dataset.BitsAllocated // 8)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        needed = needed * 2 // 3
    found = len(dataset.PixelData)
    if found < needed:
        raise UnreadableImageError(f"cut short: {found} bytes of pixels; the header says {needed}")


def _check_stream(dataset: pydicom.Dataset, facts: Facts, syntax: UID) -> None:
    """Compare what the compressed data says of itself with the header, before it is decoded.

    A stream that claims more than the header would be decoded to its own size.
    """
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if syntax == RLELossless:
        return
    if _JPEG_END not in frame[-64:]:
        raise UnreadableImageError("cut short: compressed DICOM without its end marker")
    if syntax in JPEG2000TransferSyntaxes or frame.startswith(b"\xff\x4f"):
        # The SIZ segment: extent and offset of the image (ITU T.800, A.5.1).
        right, bottom, left, top = (
            int.from_bytes(frame[start : start + 4], "big") for start in (8, 12, 16, 20)
        )
        height, width = bottom - top, right - left
    else:
        header = frame_header(frame)
        height, width = header.height, header.width
    if (height, width) != (facts.height, facts.width):
        raise UnreadableImageError(
            f"DICOM of {facts.width} x {facts.height} pixels that holds {width} x {height}"
        )


def _check_inflated_size(content: bytes) -> None:
    """Refuse a deflated file that grows beyond any radiograph, without keeping what it holds."""
    file = io.BytesIO(content)
    file.seek(_PREAMBLE)
    if content[_PREAMBLE - 4 : _PREAMBLE] != b"DICM":
        return
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, inflated, rest = zlib.decompressobj(-zlib.MAX_WBITS), 0, file.read()
    while rest and not inflater.eof:
        inflated += len(inflater.decompress(rest, _BLOCK))
        rest = inflater.unconsumed_tail
        if inflated > _INFLATED:
            raise UnreadableImageError(
                f"deflated DICOM of more than {_INFLATED // 1_000_000} MB inflated"
            )
