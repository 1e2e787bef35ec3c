from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.preprocess import PLAIN, preprocess
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlab.data import cache as module
from cxrlab.data.cache import ImageCache, open_cache
from cxrlab.errors import UserError


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for number in range(6):
        picture = rng.integers(0, 256, (20, 20), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    return [f"{number}.png" for number in range(6)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from here on."""
    names: list[str] = []
    decode = module.decode

    def counted(content: bytes, size: int, how: object, name: str):
        names.append(name)
        return decode(content, size, how, name)

    monkeypatch.setattr(module, "decode", counted)
    return names


def open_(root: Path, names: list[str], size: int = 20, **changes: object) -> ImageCache:
    return open_cache(root, names, size, preprocess(**changes), root / "cache")


def same(cache: ImageCache, root: Path, names: list[str]) -> bool:
    expected = [cv2.imread(str(root / name), cv2.IMREAD_GRAYSCALE) for name in names]
    return np.array_equal(cache.pixels[cache.rows], expected)


def test_rows_are_the_images_in_order(tmp_path: Path, images: list[str]) -> None:
    cache = open_(tmp_path, images)
    assert same(cache, tmp_path, images)
    assert not cache.bad
    assert cache.facts["digest"].nunique() == 6
    assert (cache.facts[["height", "width", "bits", "channels"]] == [20, 20, 8, 1]).all(axis=None)
    assert (cache.facts["bytes"] == [(tmp_path / name).stat().st_size for name in images]).all()
    assert cache.thumbs[cache.rows].shape == (6, 64, 64)


def test_the_second_opening_decodes_nothing(
    tmp_path: Path, images: list[str], decoded: list[str]
) -> None:
    open_(tmp_path, images)
    del decoded[:]
    again = open_(tmp_path, images[::-1])
    assert decoded == []
    assert same(again, tmp_path, images[::-1])


def test_a_part_of_a_dataset_is_decoded_once_for_the_whole(
    tmp_path: Path, images: list[str], decoded: list[str]
) -> None:
    open_(tmp_path, images[:4])
    open_(tmp_path, images)
    assert sorted(decoded) == images


def test_a_moved_or_copied_file_is_not_decoded_again(
    tmp_path: Path, images: list[str], decoded: list[str]
) -> None:
    open_(tmp_path, images)
    (tmp_path / "moved").mkdir()
    for name in images:
        shutil.copyfile(tmp_path / name, tmp_path / "moved" / f"copy of {name}")
    del decoded[:]
    names = [f"moved/copy of {name}" for name in images]
    assert same(open_(tmp_path, names), tmp_path, names)
    assert decoded == []


def test_a_changed_file_is_decoded_again_and_the_others_are_not(
    tmp_path: Path, images: list[str], decoded: list[str]
) -> None:
    open_(tmp_path, images)
    del decoded[:]
    cv2.imwrite(str(tmp_path / images[0]), np.zeros((20, 20), np.uint8))
    after = open_(tmp_path, images)
    assert decoded == [images[0]]
    assert same(after, tmp_path, images)


def test_another_size_or_preprocessing_is_another_store(tmp_path: Path, images: list[str]) -> None:
    assert open_(tmp_path, images, size=10).pixels.shape[1:] == (10, 10)
    plain = open_(tmp_path, images)
    assert same(plain, tmp_path, images)
    stretched = open_(tmp_path, images, percentiles=(10.0, 90.0))
    assert stretched.folder != plain.folder
    assert not np.array_equal(stretched.pixels, plain.pixels)


def test_bad_files_are_named_with_their_reason_and_tried_again_once_changed(
    tmp_path: Path, images: list[str], decoded: list[str]
) -> None:
    content = (tmp_path / images[2]).read_bytes()
    (tmp_path / images[2]).write_bytes(b"")
    cache = open_(tmp_path, [*images, "gone.png"])
    assert set(cache.bad) == {images[2], "gone.png"}
    assert "empty" in cache.bad[images[2]]
    assert cache.rows.tolist()[2] == -1
    assert (cache.rows >= 0).sum() == 5
    del decoded[:]
    assert set(open_(tmp_path, images).bad) == {images[2]}
    assert decoded == []
    (tmp_path / images[2]).write_bytes(content)
    assert same(open_(tmp_path, images), tmp_path, images)


def test_nothing_readable_is_no_crash(tmp_path: Path) -> None:
    cache = open_(tmp_path, ["a.png", "b.png"])
    assert len(cache.bad) == 2
    assert cache.pixels.shape == (0, 20, 20)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_build_keeps_what_is_whole_and_goes_on(
    tmp_path: Path,
    images: list[str],
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 2)
    decode = module.decode
    names: list[str] = []

    def stop(content: bytes, size: int, how: object, name: str):
        names.append(name)
        if name == images[4]:
            raise interruption
        return decode(content, size, how, name)

    monkeypatch.setattr(module, "decode", stop)
    with pytest.raises(interruption):
        open_(tmp_path, images)
    monkeypatch.setattr(module, "decode", lambda *args: names.append(args[3]) or decode(*args))
    del names[:]
    assert same(open_(tmp_path, images), tmp_path, images)
    assert sorted(names) == images[4:]


def test_a_full_disk_is_one_clear_line_and_what_was_there_stays(
    tmp_path: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_(tmp_path, images[:3])

    def no_space(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(UserError, match=r"disk is full.*CXRLAB_CACHE"):
        open_(tmp_path, images)
    monkeypatch.undo()
    assert same(open_(tmp_path, images), tmp_path, images)


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, images: list[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(UserError, match="can't write the image cache"):
        open_cache(tmp_path, images, 20, PLAIN, blocked)


def test_damaged_pixels_are_noticed_and_mended(
    tmp_path: Path, images: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = open_(tmp_path, images).folder / "pixels.u8"
    content = bytearray(file.read_bytes())
    content[2 * 400 + 17] ^= 1
    file.write_bytes(content)
    assert same(open_(tmp_path, images), tmp_path, images)
    assert "1 decoded images are damaged" in caplog.text
    caplog.clear()
    assert same(open_(tmp_path, images), tmp_path, images)
    assert not caplog.text


@pytest.mark.parametrize("name", ["pixels.u8", "thumbs.u8", "index.sqlite"])
@pytest.mark.parametrize("fault", ["cut", "gone", "noise"])
def test_a_damaged_store_is_mended(
    tmp_path: Path, images: list[str], name: str, fault: str
) -> None:
    file = open_(tmp_path, images).folder / name
    if fault == "gone":
        file.unlink()
    else:
        content = file.read_bytes()
        noise = np.random.default_rng(0).bytes(len(content))
        file.write_bytes(content[: len(content) // 2] if fault == "cut" else noise)
    assert same(open_(tmp_path, images), tmp_path, images)


def _open_in_another_process(root: Path, names: list[str], counter: Path) -> None:
    decode = module.decode

    def counted(content: bytes, size: int, how: object, name: str):
        with counter.open("a") as file:
            file.write("x")
        return decode(content, size, how, name)

    module.decode = counted
    assert same(open_(root, names), root, names)


def test_processes_that_start_at_once_build_one_cache(tmp_path: Path, images: list[str]) -> None:
    counter = tmp_path / "count"
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_open_in_another_process, args=(tmp_path, images, counter))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(counter.read_text()) == len(images)


def test_a_killed_build_does_not_block_the_next_one(tmp_path: Path, images: list[str]) -> None:
    code = (
        "import os, signal; from cxrlab.data import cache; from pathlib import Path\n"
        "from cxrlab.config.datasets import Preprocess\n"
        "cache.decode = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"root = Path({str(tmp_path)!r})\n"
        f"plain = Preprocess.model_validate_json({PLAIN.model_dump_json()!r})\n"
        f"cache.open_cache(root, {images!r}, 20, plain, root / 'cache')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert same(open_(tmp_path, images), tmp_path, images)


@settings(max_examples=15)
@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=4))
def test_any_series_of_openings_gives_the_right_images(
    tmp_path_factory: pytest.TempPathFactory, series: list[list[int]]
) -> None:
    root = tmp_path_factory.mktemp("series")
    for number in range(6):  # 4 and 5 are the same picture
        picture = np.full((20, 20), min(number, 4) * 40, np.uint8)
        cv2.imwrite(str(root / f"{number}.png"), picture)
    for opening in series:
        names = [f"{number}.png" for number in opening]
        assert same(open_(root, names), root, names)
