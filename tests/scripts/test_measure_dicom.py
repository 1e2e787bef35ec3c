from __future__ import annotations

import numpy as np
import pytest

from cxrlab.data.images import read_native
from measure_dicom import WAYS, dicom


@pytest.mark.parametrize("name", WAYS)
def test_every_way_holds_the_same_gray_values(name: str) -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    native = read_native(dicom(*WAYS[name](gray)))
    shown = native.gray.astype(float) * 255 / native.white
    assert np.abs(shown - gray).max() <= 0.55
    assert native.facts.modality == "DX"
