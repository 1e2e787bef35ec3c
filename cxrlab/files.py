"""Whole files or none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cxrlab.errors import UserError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that nobody ever sees half of it; folders are made.

    Raises:
        OSError: the folder can't be written or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; None where it is missing or empty.

    Raises:
        UserError: it can't be read, or is no YAML.
    """
    import yaml

    if not path.is_file():
        return None
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> UserError:
    """The line on a file of a run's folder that says something else than it should."""
    told = " ".join(str(error).split())
    return UserError(f"{path} is damaged ({told}); choose another run, or restore the file")
