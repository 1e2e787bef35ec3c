from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from cxrlab.errors import UserError
from cxrlab.training.checkpoints import WholeCheckpoints


def test_a_checkpoint_is_written_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "last.ckpt"
    for value in (1.0, 2.0):
        WholeCheckpoints(lambda: None).save_checkpoint({"a": torch.tensor(value)}, file)
        assert torch.load(file, weights_only=True)["a"] == value
    assert [f.name for f in file.parent.iterdir()] == ["last.ckpt"]


def test_a_full_disk_leaves_the_old_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints(lambda: None).save_checkpoint({"a": torch.tensor(1.0)}, file)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=rf"No space left.*resume={tmp_path}$"):
        WholeCheckpoints(lambda: None).save_checkpoint({"a": torch.tensor(2.0)}, file)
    assert torch.load(file, weights_only=True)["a"] == 1
    assert [f.name for f in file.parent.iterdir()] == ["last.ckpt"]


def test_metrics_are_kept_before_the_checkpoint_that_makes_them_final(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    seen: list[bool] = []
    WholeCheckpoints(lambda: seen.append(file.exists())).save_checkpoint({}, file)
    assert seen == [False]
    assert file.is_file()
