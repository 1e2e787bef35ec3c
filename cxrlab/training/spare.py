"""The folder that Hydra makes for a command which then goes on in another one."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

_HYDRA = ".hydra"
# What Hydra writes at every start: of a run that goes on, its first start says the same.
_HYDRA_FILES = {"config.yaml", "hydra.yaml", "overrides.yaml"}


def leave(folder: Path, output: Path) -> None:
    """Log into the run's folder from here on, and remove Hydra's where nothing else lies in it.

    Args:
        folder: that Hydra made for this command.
        output: of the run that the command goes on with.
    """
    if folder.resolve() == output.resolve():
        return
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == folder:
            _move(handler, output)
    _remove(folder)


def _move(handler: logging.FileHandler, output: Path) -> None:
    """Let a log go on in another folder, behind what a file of its name holds there."""
    before = Path(handler.baseFilename)
    after = output / before.name
    handler.close()  # opened anew by its next message
    handler.baseFilename = str(after.absolute())
    if before.is_file():
        with after.open("a", encoding="utf-8") as log:
            log.write(before.read_text(encoding="utf-8"))
        before.unlink()


def _remove(folder: Path) -> None:
    own = folder / _HYDRA
    if {entry.name for entry in folder.iterdir()} - {_HYDRA}:
        return
    if own.is_dir():
        if {entry.name for entry in own.iterdir()} - _HYDRA_FILES:
            return
        for entry in own.iterdir():
            entry.unlink()
        own.rmdir()
    with suppress(OSError):  # the day's folder holds other runs, or was there before Hydra came
        folder.rmdir()
        folder.parent.rmdir()
