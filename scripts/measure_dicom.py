"""How far predictions move when the same radiograph comes as DICOM.

    python scripts/measure_dicom.py outputs/RUN FOLDER

Each of some image files of 8 bits is written as DICOM in every way below: MONOCHROME1 and 2, 8, 12
and 16 bits, with and without a window. Printed are the greatest difference of a probability from
that of the file itself, and how many decisions changed.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from rich.console import Console

import cxrlab
from cxrlab.console import new_table, print_table
from cxrlab.data.images import read_file, read_native
from cxrlab.serving.inputs import find_images
from cxrlab.serving.predictor import Predictor

STORAGE = UID("1.2.840.10008.5.1.4.1.1.1.1")  # Digital X-Ray Image, for presentation
Gray = NDArray[np.uint8]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def _window(low: float, high: float) -> dict[str, object]:
    """The linear window of PS3.3 C.11.2.1.2 that maps low to black and high to white."""
    width = high - low + 1
    return {"WindowCenter": low + width / 2, "WindowWidth": width}


WAYS: dict[str, Callable[[Gray], tuple[Pixels, int, dict[str, object]]]] = {
    "MONOCHROME2, 8 bits": lambda g: (g, 8, {}),
    "MONOCHROME1, 8 bits": lambda g: (255 - g, 8, {"PhotometricInterpretation": "MONOCHROME1"}),
    "MONOCHROME2, 12 bits": lambda g: (_deep(g, 4095 / 255), 12, {}),
    "MONOCHROME1, 12 bits": lambda g: (
        4095 - _deep(g, 4095 / 255), 12, {"PhotometricInterpretation": "MONOCHROME1"},
    ),
    "MONOCHROME2, 16 bits": lambda g: (_deep(g, 257), 16, {}),
    "MONOCHROME2, 12 bits, window": lambda g: (_deep(g, 8) + 1000, 12, _window(1000, 3040)),
    "MONOCHROME1, 16 bits, slope and window": lambda g: (
        60_000 - _deep(g, 100), 16,
        {
            "PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": 0.5,
            "RescaleIntercept": -100, **_window((60_000 - 25_500) / 2 - 100, 29_900),
        },
    ),
}  # fmt: skip


def _deep(gray: Gray, factor: float) -> NDArray[np.uint16]:
    return np.round(gray.astype(np.float64) * factor).astype(np.uint16)


def dicom(pixels: Pixels, bits: int, elements: dict[str, object]) -> bytes:
    """A digital radiograph of pixels (H, W), uncompressed."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = STORAGE, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = STORAGE, meta.MediaStorageSOPInstanceUID
    made.Modality, made.SamplesPerPixel = "DX", 1
    made.PhotometricInterpretation, made.PixelRepresentation = "MONOCHROME2", 0
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated = 8 * pixels.itemsize
    made.BitsStored, made.HighBit = bits, bits - 1
    data = pixels.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    file = io.BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()


def main() -> None:
    """Predict every file in every way, and print what moved."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="a run's folder, id, prefix of one, or latest")
    parser.add_argument("folder", help="8-bit radiographs, at their own size")
    parser.add_argument("--images", type=int, default=20)
    options = parser.parse_args()
    predictor = cxrlab.load_run(options.run).predictor
    files = find_images(options.folder)
    chosen = np.random.default_rng(0).permutation(len(files))[: options.images]
    grays = [read_native(read_file(files[row])).gray.astype(np.uint8) for row in sorted(chosen)]
    plain = _probabilities(predictor, [read_file(files[row]) for row in sorted(chosen)])
    table = new_table("DICOM")
    for heading in ("images", "greatest", "decisions"):
        table.add_column(heading, justify="right")
    cuts = np.asarray(predictor.point.cuts or (0.5,))
    for name, way in WAYS.items():
        found = _probabilities(predictor, [dicom(*way(gray)) for gray in grays])
        changed = ((found >= cuts) != (plain >= cuts)).any(axis=1).sum()
        table.add_row(name, str(len(grays)), f"{np.abs(found - plain).max():.5f}", str(changed))
    print_table("Difference of a probability, and changed decisions", table, Console())


def _probabilities(predictor: Predictor, contents: list[bytes]) -> NDArray[np.float64]:
    """(N, K), as in the column `probability`."""
    logits = np.concatenate([predictor.logits(predictor.square(c)[None]) for c in contents])
    table = predictor.table(
        [""] * len(contents), [""] * len(contents), logits.reshape(len(contents), -1)
    )
    return table.filter(regex="^probability").to_numpy(np.float64)


if __name__ == "__main__":
    main()
