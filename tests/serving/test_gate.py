from __future__ import annotations

import json
from itertools import islice

import cv2
import numpy as np
import pytest
from matplotlib import cbook
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from cxrlab.data.images import Decoded, Facts
from cxrlab.data.phantom.cohort import stream
from cxrlab.serving.gate import Gate, fit_gate

TRAIN, VAL, NEW = 400, 50, 100


@pytest.fixture(scope="module")
def phantoms() -> NDArray[np.uint8]:
    cases = islice(stream(3), TRAIN + VAL + NEW)
    return np.stack([case.render(64).image for case in cases])


@pytest.fixture(scope="module")
def gate(phantoms: NDArray[np.uint8]) -> Gate:
    found = fit_gate(phantoms, np.arange(TRAIN), np.arange(TRAIN, TRAIN + VAL), 0.02, 0)
    assert found is not None
    return found


def seen(thumb: NDArray[np.uint8], modality: str = "") -> Decoded:
    facts = Facts("PNG", 64, 64, 8, 1, modality)
    return Decoded(thumb, np.ascontiguousarray(thumb), facts)


def refused(gate: Gate, thumbs: NDArray[np.uint8]) -> float:
    return float(np.mean([bool(gate.refusal(seen(thumb))) for thumb in thumbs]))


def test_new_radiographs_pass_also_mirrored_and_a_little_turned(gate, phantoms) -> None:
    new = phantoms[TRAIN + VAL :]
    turn = cv2.getRotationMatrix2D((32, 32), 6, 1)
    turned = np.stack([cv2.warpAffine(image, turn, (64, 64)) for image in new])
    assert refused(gate, new) <= 0.05
    assert refused(gate, new[:, :, ::-1]) <= 0.05
    assert refused(gate, turned) <= 0.2


@pytest.mark.parametrize(
    "change",
    [lambda x: 255 - x, lambda x: np.rot90(x, axes=(1, 2)), lambda x: np.rot90(x, 3, axes=(1, 2))],
    ids=["inverted", "turned left", "turned right"],
)
def test_inverted_and_turned_ones_do_not(gate, phantoms, change) -> None:
    assert refused(gate, change(phantoms[TRAIN + VAL :])) >= 0.95


def test_photographs_noise_and_blanks_do_not(gate) -> None:
    rng = np.random.default_rng(0)
    named = [cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)]
    pictures = [*load_sample_images().images, *(cv2.imread(str(file)) for file in named)]
    photographs = [cv2.resize(p[..., 1], (64, 64), interpolation=cv2.INTER_AREA) for p in pictures]
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    others = [rng.integers(0, 256, (64, 64), dtype=np.uint8), ramp, ramp.T]
    blanks = [np.full((64, 64), grey, np.uint8) for grey in (0, 127, 255)]
    assert refused(gate, np.stack([*photographs, *others, *blanks])) == 1


def test_the_reason_names_what_is_wrong(gate, phantoms) -> None:
    good = phantoms[TRAIN + VAL]
    assert gate.refusal(seen(good, "DX")) == ""
    assert gate.refusal(seen(good, "CT")) == "DICOM of modality CT, which is no radiograph"
    assert gate.refusal(seen(np.zeros_like(good))) == "blank: nearly all of one grey"
    assert gate.refusal(seen(255 - good)).startswith("unlike the radiographs it was trained on")


def test_of_validation_no_more_than_the_share_is_refused(phantoms) -> None:
    train, val = np.arange(TRAIN), np.arange(TRAIN, TRAIN + VAL)
    for share in (0.0, 0.1, 0.5):
        gate = fit_gate(phantoms, train, val, share, 0)
        assert gate is not None
        over = float(np.mean(gate.distance(phantoms[val]) > gate.limit))
        assert share - 1.5 / VAL <= over <= share


def test_it_survives_json(gate, phantoms) -> None:
    again = Gate.from_plain(json.loads(json.dumps(gate.plain())))
    np.testing.assert_array_equal(again.distance(phantoms), gate.distance(phantoms))
    assert (again.limit, again.detail) == (gate.limit, gate.detail)


@pytest.mark.parametrize(("train", "val"), [(99, 50), (400, 19)])
def test_too_few_images_teach_nothing(phantoms, train: int, val: int) -> None:
    assert fit_gate(phantoms, np.arange(train), np.arange(TRAIN, TRAIN + val), 0.02, 0) is None
