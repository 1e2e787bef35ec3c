from __future__ import annotations

import cv2
import pandas as pd
import pytest

from cxrlab.data.sources import phantom
from cxrlab.errors import UserError

SMALL = ("data.images=40", "data.image_size=32")


def test_every_opacity_has_its_mask_and_no_image_an_official_split(load) -> None:
    manifest = load(*SMALL)
    assert len(manifest) == 40
    assert set(manifest.table["split"]) == {""}
    assert manifest.report_columns == ("pattern", "severity")
    sick = manifest.table[manifest.table["target"] == 1]
    assert (sick["pattern"] != "none").all()
    for row in sick.itertuples():
        mask = cv2.imread(str(manifest.root / row.mask), cv2.IMREAD_GRAYSCALE)
        assert mask.shape == (32, 32)
        assert mask.any()
    assert (manifest.table[manifest.table["target"] == 0]["mask"] == "").all()


def test_a_planted_marker_has_its_mask(load) -> None:
    table = load(*SMALL).table
    assert (table["marker"] == "").all()
    manifest = load("data.images=40", "data.image_size=64", "data.shortcut=1")
    marked = manifest.table["marker"] != ""
    assert marked.tolist() == (manifest.table["target"] == 1).tolist()
    for name in manifest.table["marker"][marked]:
        mask = cv2.imread(str(manifest.root / name), cv2.IMREAD_GRAYSCALE)
        assert mask[56:, 56:].any()
        assert not mask[:48].any()


def test_it_is_drawn_once(load, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(*SMALL)
    monkeypatch.setattr(phantom, "_draw", lambda *_: pytest.fail("drawn again"))
    pd.testing.assert_frame_equal(load(*SMALL).table, first.table)


def test_another_seed_is_another_set_and_the_same_seed_the_same(load) -> None:
    first, other = load(*SMALL), load(*SMALL, "data.phantom_seed=1")
    again = load(*SMALL, "data.cache=elsewhere")
    name = first.table["path"][0]
    assert (first.root / name).read_bytes() == (again.root / name).read_bytes()
    assert (first.root / name).read_bytes() != (other.root / name).read_bytes()


def test_an_interrupted_drawing_leaves_nothing(load, tmp_path, monkeypatch) -> None:
    def stop(config, folder) -> None:
        (folder / "images").mkdir()
        raise KeyboardInterrupt

    cache = f"data.cache={tmp_path / 'cache'}"
    with monkeypatch.context() as patch:
        patch.setattr(phantom, "_draw", stop)
        with pytest.raises(KeyboardInterrupt):
            load(*SMALL, cache)
    assert [f for f in (tmp_path / "cache" / "phantom").iterdir() if f.suffix != ".lock"] == []
    assert len(load(*SMALL, cache)) == 40


def test_a_cache_that_cannot_be_written_is_one_clear_line(load, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"can't be written.*data\.cache=PATH"):
        load(*SMALL, f"data.cache={tmp_path / 'file'}")
