from __future__ import annotations

import cv2
import pytest

from cxrlab.data.prepare import prepare, read_masks
from cxrlab.data.sources import load_manifest, phantom

SMALL = ("data.images=40", "data.image_size=32")


def test_the_phantom_is_a_whole_dataset(compose) -> None:
    config = compose(*SMALL).data
    manifest = load_manifest(config)
    assert len(manifest) == 40
    patients = {s: set(manifest.split(s)["patient_id"]) for s in ("train", "val", "test")}
    assert not patients["train"] & patients["test"]
    assert not patients["train"] & patients["val"]
    assert not patients["val"] & patients["test"]
    sick = manifest.table[manifest.table["target"] == 1]
    assert (sick["pattern"] != "none").all()
    for row in sick.itertuples():
        mask = cv2.imread(str(manifest.root / row.mask), cv2.IMREAD_GRAYSCALE)
        assert mask.shape == (32, 32)
        assert mask.any()
    assert (manifest.table[manifest.table["target"] == 0]["mask"] == "").all()


def test_it_is_drawn_once(compose, monkeypatch: pytest.MonkeyPatch) -> None:
    load_manifest(compose(*SMALL).data)
    monkeypatch.setattr(phantom, "_draw", lambda *_: pytest.fail("drawn again"))
    load_manifest(compose(*SMALL).data)


def test_another_seed_is_another_set_and_the_same_seed_the_same(compose) -> None:
    first = prepare(load_manifest(compose(*SMALL).data), compose(*SMALL).data)
    other_config = compose(*SMALL, "data.phantom_seed=1").data
    other = prepare(load_manifest(other_config), other_config)
    again_config = compose(*SMALL, "data.cache=elsewhere").data
    again = prepare(load_manifest(again_config), again_config)
    assert first.fingerprint != other.fingerprint
    assert first.fingerprint == again.fingerprint


def test_masks_come_in_the_order_of_the_split(compose) -> None:
    manifest = load_manifest(compose(*SMALL).data)
    masks = read_masks(manifest, 32, "test")
    assert masks is not None
    assert masks.any(axis=(1, 2)).tolist() == (manifest.split("test")["mask"] != "").tolist()
