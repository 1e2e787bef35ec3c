"""What lies on the disk, and how it is removed without touching anything else."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from cxrlab.errors import UserError

Kind = Literal["run", "sweep", "cache", "orphan", "other", "store"]


@dataclass(frozen=True)
class Part:
    """A file or folder that is removed as a whole.

    Attributes:
        path: absolute.
        root: the known folder that it lies in.
        size: bytes.
    """

    path: Path
    root: Path
    size: int


@dataclass(frozen=True)
class Item:
    """Something that a user thinks of as one thing.

    Attributes:
        kind: what it is.
        parts: its files and folders, the one that names it first.
        changed: of its newest file, seconds since 1970.
        belongs: dataset or run, in words.
        state: such as `finished`; empty where there is nothing to say.
        in_use: it must stay.
        run_ids: MLflow runs that go with it.
        locks: files that whoever uses it holds.
        checkpoints: of a run, the parts that are checkpoints.
    """

    kind: Kind
    parts: tuple[Part, ...]
    changed: float
    belongs: str
    state: str = ""
    in_use: bool = False
    run_ids: tuple[str, ...] = ()
    locks: tuple[Path, ...] = ()
    checkpoints: tuple[Part, ...] = ()

    @property
    def path(self) -> Path:
        """Of the part that names it."""
        return self.parts[0].path

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


def measure(path: Path) -> tuple[int, float]:
    """Bytes of a file or folder and the time of its newest change; links are not followed."""
    try:
        status = path.lstat()
    except OSError:
        return 0, 0.0
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size, status.st_mtime
    size, changed = 0, status.st_mtime
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inner, newest = measure(Path(entry.path))
            else:
                found = entry.stat(follow_symlinks=False)
                inner, newest = found.st_size, found.st_mtime
            size, changed = size + inner, max(changed, newest)
    return size, changed


def part_of(path: Path, root: Path) -> Part:
    """A part with its size."""
    return Part(path, root, measure(path)[0])


def folders(parent: Path) -> list[Path]:
    """The folders in a folder, links to folders left out; empty where it is none."""
    if parent.is_symlink() or not parent.is_dir():
        return []
    return sorted(p for p in parent.iterdir() if p.is_dir() and not p.is_symlink())


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock file; one that is not there nobody holds."""
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return True  # another user's: not ours to judge


@contextmanager
def held(locks: tuple[Path, ...]) -> Iterator[bool]:
    """Hold lock files, as far as they are there, so that nobody begins to use what they guard.

    Yields:
        False where somebody holds one.
    """
    taken: list[FileLock] = []
    try:
        for file in locks:
            if file.is_file():
                lock = FileLock(file, timeout=0)
                lock.acquire()
                taken.append(lock)
        yield True
    except Timeout:
        yield False
    finally:
        for lock in taken:
            lock.release()


def remove(part: Part) -> None:
    """Remove a file or folder below its root; no link is followed.

    Raises:
        UserError: it lies elsewhere, a link leads there, or the system refuses.
    """
    root = part.root.resolve()
    path = root / part.path.relative_to(part.root)
    if path == root or ".." in path.parts or path.parent.resolve() != path.parent:
        raise UserError(f"{part.path}: a link leads out of {part.root}; remove it by hand")
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
    except OSError as error:
        raise UserError(
            f"{part.path}: can't be removed ({error.strerror}); check its permissions, and give "
            "the same command again for the rest"
        ) from error
