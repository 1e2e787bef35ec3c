"""Checkpoints that are whole at any moment, on whatever disk."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from cxrlab.errors import UserError


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the old checkpoint and renames.

    Lightning writes to the folder of temporary files and moves: from another disk that is a copy,
    and who is killed or finds the disk full in the middle of it has lost the old checkpoint.
    """

    def __init__(self, before: Callable[[], None]) -> None:
        """Do something first: keep the metrics of the steps that the checkpoint makes final."""
        super().__init__()
        self._before = before

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, or leave the old one as it is.

        Raises:
            UserError: the disk is full or can't be written.
        """
        self._before()
        file = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        fresh = file.with_name(f".{file.name}.new")  # one name, so that a killed one is replaced
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as out:
                out.write(content.getbuffer())
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise UserError(
                f"{file}: the checkpoint of {content.tell() / 1e6:.0f} MB can't be written "
                f"({error.strerror}), one from before is whole; free some space and go on with "
                f"python -m cxrlab.train resume={file.parent.parent}"
            ) from error
