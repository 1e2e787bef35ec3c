from __future__ import annotations

import errno
from pathlib import Path

import pytest
from helpers.replica import write_chest_xray

from cxrlab.data import prepare as module
from cxrlab.data.audit import run
from cxrlab.data.prepare import prepare
from cxrlab.data.sources import load_manifest
from cxrlab.errors import UserError


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_cache_and_how_to_move_it(
    tmp_path: Path, compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_chest_xray(tmp_path / "chest_xray")
    cache = tmp_path / "c"
    config = compose(
        "data=chest_xray", f"data.root={root}", "data.image_size=32", f"data.cache={cache}"
    )
    monkeypatch.setattr(module, "write_atomically", no_space)
    with pytest.raises(UserError, match=r"c/duplicates: the disk is full.*CXRLAB_CACHE"):
        prepare(load_manifest(config.data), config.data)
    monkeypatch.undo()
    data = prepare(load_manifest(config.data), config.data)
    monkeypatch.setattr(run, "write_atomically", no_space)
    with pytest.raises(UserError, match=r"c/audit: the disk is full.*CXRLAB_CACHE"):
        run.audit_cached(data, cache)
