from __future__ import annotations

import builtins
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.replica import write_medmnist

from cxrlab.data.sources import medmnist
from cxrlab.errors import UserError


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The package makes a folder in the home on its import.
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(medmnist, "is_reachable", lambda url: False)


def test_pneumoniamnist_has_its_official_split_and_its_pixels(tmp_path: Path, load) -> None:
    archive = write_medmnist(tmp_path / "medmnist")
    manifest = load("data=medmnist", "data.pixels=28", f"data.root={archive.parent}")
    assert manifest.classes == ("normal", "pneumonia")
    assert manifest.table["split"].value_counts().to_dict() == {"train": 20, "val": 8, "test": 10}
    assert manifest.table["patient_id"].is_unique
    arrays = np.load(archive)
    for split in ("train", "val", "test"):
        rows = manifest.split(split)
        assert rows["target"].tolist() == arrays[f"{split}_labels"][:, 0].tolist()
        image = cv2.imread(str(manifest.root / rows["path"].iloc[-1]), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(image, arrays[f"{split}_images"][-1])


def test_chestmnist_is_fourteen_findings(tmp_path: Path, load) -> None:
    archive = write_medmnist(tmp_path / "medmnist", "chestmnist", pixels=64)
    options = ("data.subset=chestmnist", "data.pixels=64")
    manifest = load("data=medmnist", *options, f"data.root={archive.parent}")
    assert manifest.task.kind == "multilabel"
    assert len(manifest.classes) == 14
    targets = manifest.task.targets(manifest.split("train"))
    np.testing.assert_array_equal(targets, np.load(archive)["train_labels"])


def test_images_are_unpacked_once(tmp_path: Path, load, monkeypatch) -> None:
    archive = write_medmnist(tmp_path / "medmnist")
    options = ("data=medmnist", "data.pixels=28", f"data.root={archive.parent}")
    first = load(*options)
    monkeypatch.setattr(medmnist, "write_png", lambda *_: pytest.fail("unpacked again"))
    assert load(*options).root == first.root


@pytest.mark.parametrize("folder", ["data/medmnist", "home/.medmnist"])
def test_the_environment_and_the_packages_own_folder_work(
    tmp_path: Path, load, monkeypatch, folder: str
) -> None:
    monkeypatch.setenv("CXRLAB_DATA", str(tmp_path / "data"))
    write_medmnist(tmp_path / folder, pixels=224)
    assert len(load("data=medmnist")) == 38


def test_without_archive_and_network_the_three_ways_are_named(load) -> None:
    with pytest.raises(
        UserError, match=r"pneumoniamnist_224\.npz.*data\.root=.*CXRLAB_DATA.*data\.download=true"
    ) as caught:
        load("data=medmnist")
    assert "\n" not in str(caught.value)


def test_with_a_network_the_archive_is_fetched_whole(tmp_path: Path, load, monkeypatch) -> None:
    from torchvision.datasets import utils

    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        assert url.startswith("https://zenodo.org/")
        assert len(md5) == 32
        write_medmnist(tmp_path / "elsewhere").rename(Path(root) / filename)

    monkeypatch.setattr(medmnist, "is_reachable", lambda url: True)
    monkeypatch.setattr(utils, "download_url", fetch)
    root = tmp_path / "medmnist"
    assert len(load("data=medmnist", "data.pixels=28", f"data.root={root}")) == 38
    assert [file.name for file in root.iterdir()] == ["pneumoniamnist.npz"]


def test_a_failed_download_is_one_line_and_leaves_nothing(
    tmp_path: Path, load, monkeypatch
) -> None:
    from torchvision.datasets import utils

    def fail(url: str, root: str, filename: str, md5: str) -> None:
        (Path(root) / filename).write_bytes(b"half")
        raise RuntimeError("File not found\nor corrupted.")

    monkeypatch.setattr(medmnist, "is_reachable", lambda url: True)
    monkeypatch.setattr(utils, "download_url", fail)
    with pytest.raises(UserError, match=r"File not found or corrupted.*fetch it by hand"):
        load("data=medmnist", f"data.root={tmp_path / 'medmnist'}")
    assert list((tmp_path / "medmnist").iterdir()) == []


def test_download_can_be_forbidden(load, monkeypatch) -> None:
    monkeypatch.setattr(medmnist, "is_reachable", lambda url: pytest.fail("asked the network"))
    with pytest.raises(UserError, match="Three ways"):
        load("data=medmnist", "data.download=false")


@pytest.mark.parametrize("damage", ["cut", "text", "flipped", "lacks"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path: Path, load, damage: str) -> None:
    archive = write_medmnist(tmp_path / "medmnist")
    content = bytearray(archive.read_bytes())
    if damage == "cut":
        archive.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        archive.write_text("no archive")
    elif damage == "flipped":
        with zipfile.ZipFile(archive) as members:
            offset = members.getinfo("val_images.npy").header_offset + 200
        content[offset : offset + 200] = bytes(200)
        archive.write_bytes(content)
    else:
        np.savez(archive, train_images=np.zeros((1, 28, 28), np.uint8))
    cache = tmp_path / "cache"
    options = (f"data.root={archive.parent}", f"data.cache={cache}", "data.pixels=28")
    with pytest.raises(UserError, match=r"damaged .*delete it and fetch it again"):
        load("data=medmnist", *options)
    assert [f for f in cache.glob("medmnist/*/*") if f.suffix != ".lock"] == []


def test_without_the_package_the_extra_is_named(load, monkeypatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object) -> object:
        if name.startswith("medmnist"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"cxrlab\[medmnist\]"):
        load("data=medmnist")
