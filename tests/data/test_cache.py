from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrlab.data import cache as module
from cxrlab.data.cache import open_cache
from cxrlab.errors import UserError


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for number in range(6):
        picture = rng.integers(0, 256, (20, 20), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    return [f"{number}.png" for number in range(6)]


def test_rows_are_the_images_in_order(tmp_path: Path, images: list[str]) -> None:
    cache = open_cache(tmp_path, images, 20, tmp_path / "cache")
    for row, name in enumerate(images):
        expected = cv2.imread(str(tmp_path / name), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(cache.pixels[row], expected)
    assert not cache.bad
    assert all(cache.digests)


def test_the_second_opening_decodes_nothing(
    tmp_path: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_cache(tmp_path, images, 20, tmp_path / "cache")
    monkeypatch.setattr(module, "decode", lambda *_: pytest.fail("decoded again"))
    second = open_cache(tmp_path, images, 20, tmp_path / "cache")
    assert second.folder == first.folder
    np.testing.assert_array_equal(second.pixels, first.pixels)


def test_a_changed_file_is_decoded_again(tmp_path: Path, images: list[str]) -> None:
    before = open_cache(tmp_path, images, 20, tmp_path / "cache")
    cv2.imwrite(str(tmp_path / images[0]), np.zeros((20, 20), np.uint8))
    os.utime(tmp_path / images[0], ns=(1, 1))
    after = open_cache(tmp_path, images, 20, tmp_path / "cache")
    assert after.folder != before.folder
    assert not after.pixels[0].any()


def test_another_size_is_another_cache(tmp_path: Path, images: list[str]) -> None:
    small = open_cache(tmp_path, images, 10, tmp_path / "cache")
    assert small.pixels.shape == (6, 10, 10)
    assert open_cache(tmp_path, images, 20, tmp_path / "cache").pixels.shape == (6, 20, 20)


def test_bad_files_are_named_with_their_reason(tmp_path: Path, images: list[str]) -> None:
    (tmp_path / images[2]).write_bytes(b"")
    cache = open_cache(tmp_path, [*images, "gone.png"], 20, tmp_path / "cache")
    assert set(cache.bad) == {images[2], "gone.png"}
    assert cache.bad[images[2]] == "empty file"
    assert cache.digests[2] == ""


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_build_leaves_nothing(
    tmp_path: Path,
    images: list[str],
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
) -> None:
    def stop(path: Path, size: int) -> None:
        raise interruption

    monkeypatch.setattr(module, "decode", stop)
    with pytest.raises(interruption):
        open_cache(tmp_path, images, 20, tmp_path / "cache")
    assert [f for f in (tmp_path / "cache" / "images").iterdir() if f.suffix != ".lock"] == []
    monkeypatch.undo()
    assert len(open_cache(tmp_path, images, 20, tmp_path / "cache").pixels) == 6


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(UserError, match=r"disk is full.*CXRLAB_CACHE"):
        open_cache(tmp_path, images, 20, tmp_path / "cache")
    assert [f for f in (tmp_path / "cache" / "images").iterdir() if f.suffix != ".lock"] == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, images: list[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(UserError, match="can't write the image cache"):
        open_cache(tmp_path, images, 20, blocked)


def _open(root: Path, names: list[str], counter: Path) -> None:
    decode = module.decode

    def counted(path: Path, size: int):
        with counter.open("a") as file:
            file.write("x")
        return decode(path, size)

    module.decode = counted
    assert len(open_cache(root, names, 20, root / "cache").pixels) == len(names)


def test_processes_that_start_at_once_build_one_cache(tmp_path: Path, images: list[str]) -> None:
    counter = tmp_path / "count"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_open, args=(tmp_path, images, counter)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(counter.read_text()) == len(images)


def test_a_killed_build_does_not_block_the_next_one(tmp_path: Path, images: list[str]) -> None:
    code = (
        "import os, signal; from cxrlab.data import cache; from pathlib import Path\n"
        "cache.decode = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"root = Path({str(tmp_path)!r})\n"
        f"cache.open_cache(root, {images!r}, 20, root / 'cache')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -9
    assert len(open_cache(tmp_path, images, 20, tmp_path / "cache").pixels) == 6
