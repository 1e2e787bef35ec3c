"""PneumoniaMNIST and ChestMNIST, of MedMNIST v2.

Population: PneumoniaMNIST is the children of Kermany et al. (`data=chest_xray`), 5,856 images:
train 4,708, val 524, test 624. ChestMNIST is NIH ChestX-ray14, 112,120 images: train 78,468, val
11,219, test 22,433. Squares of 28, 64, 128 or 224 pixels, 8 bits, brought to size by the authors.

Labels: as in the source: pneumonia or normal; 14 text-mined findings.

Split: official. Archives hold no patients, so every image counts as its own. PneumoniaMNIST cut
its validation images, one in ten, from the source's training images: one patient can train and
validate, and then validation scores look better than they are. Its test set is the source's.

Caveats: 28 pixels show no small finding; those of the sources hold as well.

Overlap: PneumoniaMNIST is chest_xray, ChestMNIST is nih_chestxray14 and holds what
rsna_pneumonia took from it. Never train on one and test on another.

Citation: Yang et al., MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D biomedical
image classification, Scientific Data 10, 41, 2023, doi:10.1038/s41597-022-01721-8; and the source.

Licence: CC BY 4.0.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrlab.config.datasets import MedMnistData
from cxrlab.data.manifest import SPLITS, Manifest
from cxrlab.data.sources.findings import add_targets
from cxrlab.data.sources.generated import generated, in_threads, key_of, write_png
from cxrlab.data.sources.roots import not_found, places
from cxrlab.errors import UserError
from cxrlab.network import is_reachable
from cxrlab.progress import track
from cxrlab.task import Task

HOME = "https://zenodo.org"
PACKAGE_FOLDER = "~/.medmnist"


def load(config: MedMnistData) -> Manifest:
    """Find or fetch the archive and, once, write its images into the cache folder.

    Raises:
        UserError: the archive is nowhere and can't be fetched, or is damaged, or the medmnist
            package is missing.
    """
    info = _info(config.subset)
    archive = _archive(config, info)
    try:
        labels = _labels(archive)
        folder = _images(config, archive, {split: len(labels[split]) for split in SPLITS})
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError) as error:
        raise UserError(
            f"{archive}: damaged ({' '.join(str(error).split())}); delete it and fetch it again"
        ) from error
    names = [info["label"][str(index)] for index in range(len(info["label"]))]
    paths = [_path(split, row) for split in SPLITS for row in range(len(labels[split]))]
    splits = [split for split in SPLITS for _ in labels[split]]
    table = pd.DataFrame({"path": paths, "patient_id": paths, "split": splits})
    values = np.concatenate([labels[split] for split in SPLITS]).astype(np.float32)
    if info["task"].startswith("multi-label"):
        task, columns = Task.multilabel(names), values
    else:
        task, columns = Task.exclusive(names), np.column_stack([1 - values, values])
    table = add_targets(table, task, dict(zip(names, columns.T, strict=True)))
    return Manifest(config.name, folder, task, table)


def _info(subset: str) -> dict[str, Any]:
    try:
        from medmnist.info import INFO
    except ImportError as error:
        raise UserError(
            'medmnist: the package is not installed; pip install "cxrlab[medmnist]"'
        ) from error
    info: dict[str, Any] = INFO[subset]
    return info


def _archive(config: MedMnistData, info: dict[str, Any]) -> Path:
    suffix = "" if config.pixels == 28 else f"_{config.pixels}"
    name = f"{config.subset}{suffix}.npz"
    looked = places(config.name, config.root)
    if config.root is None:
        looked.append(Path(PACKAGE_FOLDER).expanduser())
    for folder in looked:
        if (folder / name).is_file():
            return folder / name
    if config.download and is_reachable(HOME):
        return _download(info[f"url{suffix}"], info[f"MD5{suffix}"], looked[0] / name)
    raise not_found(
        config.name,
        name,
        looked,
        get=f"with a network, data.download=true, which fetches it from {HOME}",
    )


def _download(url: str, md5: str, archive: Path) -> Path:
    """Fetch an archive as the package does, but under another name until it is whole."""
    from torchvision.datasets.utils import download_url

    part = archive.with_suffix(".part")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        download_url(url, str(archive.parent), filename=part.name, md5=md5)
        part.replace(archive)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"medmnist: the download of {url} failed ({' '.join(str(error).split())}); "
            f"fetch it by hand into {archive.parent} as {archive.name}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return archive


def _labels(archive: Path) -> dict[str, NDArray[np.uint8]]:
    """Labels (N, K) of each split; reading a member whole, zipfile checks its sum."""
    with zipfile.ZipFile(archive) as members:
        return {split: np.load(io.BytesIO(members.read(f"{split}_labels.npy"))) for split in SPLITS}


def _images(config: MedMnistData, archive: Path, counts: dict[str, int]) -> Path:
    def fill(folder: Path) -> None:
        for split in SPLITS:
            (folder / split).mkdir()
        images = (
            (folder / _path(split, row), pixels)
            for split, count in counts.items()
            for row, pixels in enumerate(_stream(archive, split, count, config.pixels))
        )
        written = in_threads(lambda image: write_png(*image), images)
        for _ in track(written, total=sum(counts.values()), what=f"unpacking {archive.name}"):
            pass

    with zipfile.ZipFile(archive) as members:
        content = [[member.filename, member.CRC] for member in members.infolist()]
    return generated(config.cache, f"medmnist/{archive.stem}", key_of(content), "test", fill)


def _stream(archive: Path, split: str, count: int, side: int) -> Iterator[NDArray[np.uint8]]:
    """The images (side, side) of one split, one by one: NumPy would load 4 GB at once."""
    name = f"{split}_images.npy"
    with zipfile.ZipFile(archive) as members, members.open(name) as file:
        header = members.getinfo(name).file_size - count * side * side
        if header <= 0:
            raise ValueError(f"{name} holds no {count} images of {side} x {side} pixels")
        file.read(header)
        for _ in range(count):
            yield np.frombuffer(file.read(side * side), np.uint8).reshape(side, side)
        file.read()  # only at the end is the member's sum checked


def _path(split: str, row: int) -> str:
    return f"{split}/{row:06d}.png"
