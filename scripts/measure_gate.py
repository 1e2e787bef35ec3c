"""What a run's gate refuses: radiographs of its own dataset, the same spoilt, and other pictures.

    python scripts/measure_gate.py outputs/RUN
    python scripts/measure_gate.py outputs/RUN --split test --others FOLDER

Of the run's validation images, or of those of another split, some are looked at as they are and
changed. Photographs are those that come with scikit-learn, matplotlib and, where it is installed,
scikit-image; `--others` adds a folder of pictures of any kind. No label is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from matplotlib import cbook
from numpy.typing import NDArray
from rich.console import Console
from sklearn.datasets import load_sample_images

import cxrlab
from cxrlab.console import new_table, print_table
from cxrlab.data.images import UnreadableImageError, read_file
from cxrlab.errors import UserError
from cxrlab.serving.own import own_images
from cxrlab.serving.predictor import Predictor

Gray = NDArray[np.uint8]
SIDE = 224


def turned(image: Gray, degrees: float) -> Gray:
    """Turned about its middle; corners become black."""
    height, width = image.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(image, turn, (width, height)).astype(np.uint8)


CHANGES: dict[str, Callable[[Gray], Gray]] = {
    "as they are": lambda image: image,
    "mirrored": lambda image: image[:, ::-1],
    "turned by 5 degrees": lambda image: turned(image, 5),
    "turned by 10 degrees": lambda image: turned(image, 10),
    "darker (gamma 2)": lambda image: (255 * (image / 255) ** 2).astype(np.uint8),
    "black bars left and right": lambda image: np.pad(image, ((0, 0), (image.shape[1] // 6,) * 2)),
    "inverted": lambda image: 255 - image,
    "turned by 90 degrees": lambda image: np.rot90(image),
    "turned by 270 degrees": lambda image: np.rot90(image, 3),
    "upside down": lambda image: image[::-1, ::-1],
    "upper left quarter alone": lambda i: i[: i.shape[0] // 2, : i.shape[1] // 2],
    "upper two fifths alone": lambda i: i[: 2 * i.shape[0] // 5],
    "lower half alone": lambda i: i[i.shape[0] // 2 :],
}


def main() -> None:
    """Ask the gate about every picture and print what share it refuses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="a run's folder, id, prefix of one, or latest")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--images", type=int, default=200, help="radiographs at most")
    parser.add_argument("--others", type=Path, help="folder of pictures that are no radiographs")
    options = parser.parse_args()
    loaded = cxrlab.load_run(options.run)
    predictor = loaded.predictor
    if predictor.gate is None:
        raise UserError(f"{options.run}: the run has no gate; train it with evaluation.refuse=0.02")
    _, manifest = own_images(loaded.folder, options.split)
    files = [manifest.root / path for path in manifest.table["path"]]
    chosen = np.random.default_rng(0).permutation(len(files))[: options.images]
    table = new_table("picture")
    for heading in ("pictures", "refused"):
        table.add_column(heading, justify="right")
    grays = [cv2.imread(str(files[row]), cv2.IMREAD_GRAYSCALE) for row in sorted(chosen)]
    kinds = {name: [_png(change(g)) for g in grays] for name, change in CHANGES.items()}
    kinds |= dict(_others(options.others))
    for name, contents in kinds.items():
        refused = sum(map(bool, _refusals(predictor, contents)))
        table.add_row(name, str(len(contents)), f"{refused / max(1, len(contents)):.3f}")
    print_table(f"What the gate refuses ({options.split})", table, Console())


def _refusals(predictor: Predictor, contents: Sequence[bytes]) -> Iterator[str]:
    for content in contents:
        try:
            yield predictor.refusal(predictor.decode(content))
        except UnreadableImageError as error:
            yield str(error)


def _others(folder: Path | None) -> Iterator[tuple[str, list[bytes]]]:
    photographs = [_png(image[..., ::-1]) for image in load_sample_images().images]
    photographs.append(
        Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).read_bytes()
    )
    found = find_spec("skimage")
    if found is not None and found.origin is not None:
        below = sorted((Path(found.origin).parent / "data").iterdir())
        photographs += [f.read_bytes() for f in below if f.suffix in (".png", ".jpg", ".tif")]
    yield "photographs and drawings", photographs
    rng = np.random.default_rng(0)
    clouds = [
        cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), sigma)
        for sigma in (2, 5, 10, 20, 40)
    ]
    stretched = [255 * (c - c.min()) / np.ptp(c) for c in clouds]
    noise = [rng.integers(0, 256, (SIDE, SIDE)) for _ in range(5)]
    yield "noise, fine to coarse", [_png(n.astype(np.uint8)) for n in (*noise, *stretched)]
    ramp = np.tile(np.linspace(0, 255, SIDE), (SIDE, 1))
    blank = [np.full((SIDE, SIDE), grey) for grey in (0, 64, 128, 255)]
    yield "blank, and ramps", [_png(b.astype(np.uint8)) for b in (*blank, ramp, ramp.T)]
    if folder is not None:
        yield str(folder), [read_file(file) for file in sorted(folder.rglob("*")) if file.is_file()]


def _png(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", np.ascontiguousarray(image))[1].tobytes())


if __name__ == "__main__":
    main()
