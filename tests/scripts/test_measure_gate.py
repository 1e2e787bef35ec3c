from __future__ import annotations

import numpy as np
import pytest

from cxrlab.data.images import read_native
from measure_gate import CHANGES, _others, _png

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_gives_a_picture_and_only_one_leaves_it_alone(name: str) -> None:
    changed = read_native(_png(CHANGES[name](IMAGE))).gray
    assert min(changed.shape) > 30
    assert (changed.shape == IMAGE.shape and bool((changed == IMAGE).all())) == (
        name == "as they are"
    )


def test_the_other_pictures_are_of_every_kind() -> None:
    found = dict(_others(None))
    assert [name.partition(",")[0] for name in found] == [
        "photographs and drawings", "noise", "blank",
    ]  # fmt: skip
    assert all(len(contents) >= 3 for contents in found.values())
