"""DICOM files of every kind that a test needs, written with pydicom."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

CR_STORAGE = UID("1.2.840.10008.5.1.4.1.1.1")


def dataset_of(pixels: NDArray[np.integer], bits: int | None = None, **elements: object) -> Dataset:
    """A computed radiograph of pixels (H, W) or (H, W, 3); `elements` are set last, None deletes.

    Args:
        pixels: uint8, uint16 or int16.
        bits: Bits Stored; all of them if not given.
        elements: by DICOM keyword.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CR_STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = CR_STORAGE, meta.MediaStorageSOPInstanceUID
    made.PatientName, made.PatientID = "Doe^Jane", "secret-7"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    made.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = pixels.itemsize * 8
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    for keyword, value in elements.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def write(dataset: Dataset) -> bytes:
    """The bytes of the file."""
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def dicom(pixels: NDArray[np.integer], bits: int | None = None, **elements: object) -> bytes:
    """The bytes of a computed radiograph; see `dataset_of`."""
    return write(dataset_of(pixels, bits, **elements))


def compressed(pixels: NDArray[np.integer], syntax: UID, bits: int | None = None) -> bytes:
    """The bytes of a radiograph that pydicom compressed losslessly."""
    made = dataset_of(pixels, bits)
    made.compress(syntax, generate_instance_uid=False)
    return write(made)


def jpeg_2000(pixels: NDArray[np.unsignedinteger]) -> bytes:
    """The bytes of a radiograph compressed losslessly by Pillow; pydicom needs more for it."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True)
    return encapsulated(stream.getvalue(), JPEG2000Lossless, dataset_of(pixels))


def encapsulated(stream: bytes, syntax: UID, like: Dataset) -> bytes:
    """The bytes of a radiograph whose compressed pixels are `stream`."""
    like.file_meta.TransferSyntaxUID = syntax
    like.PixelData = pydicom.encaps.encapsulate([stream])
    like["PixelData"].is_undefined_length = True
    like["PixelData"].VR = "OB"
    return write(like)


def without_preamble(content: bytes) -> bytes:
    """A file as old archives hold it: the data set alone, without preamble and meta group."""
    made = pydicom.dcmread(io.BytesIO(content))
    file = io.BytesIO()
    bare = Dataset(made)
    pydicom.dcmwrite(file, bare, implicit_vr=True, little_endian=True)
    return file.getvalue()


def deflated_bomb(megabytes: int) -> bytes:
    """A deflated file of some kilobytes that inflates to a data set of this size."""
    like = dataset_of(np.zeros((16, 16), np.uint8))
    like.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = write(like)
    start = _end_of_meta(content)
    plain = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    deflater = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    parts = [content[:start], deflater.compress(plain)]
    parts += [deflater.compress(bytes(1_000_000)) for _ in range(megabytes)]
    return b"".join([*parts, deflater.flush()])


def _end_of_meta(content: bytes) -> int:
    # The group length, (0002,0000), is the first element behind the preamble.
    return 144 + int.from_bytes(content[140:144], "little")


def lossless_jpeg(pixels: NDArray[np.integer], bits: int, folder: Path) -> bytes:
    """The bytes of a radiograph that GDCM compressed as JPEG Lossless, by way of two files."""
    import gdcm

    plain, packed = folder / "plain.dcm", folder / "lossless.dcm"
    plain.write_bytes(dicom(pixels, bits))
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(packed))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return packed.read_bytes()
