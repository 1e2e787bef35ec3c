from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrlab.data.manifest import Manifest
from cxrlab.data.masks import read_masks
from cxrlab.task import Task

HOW = {"crop_borders": False, "percentiles": None, "resize": "letterbox", "clahe": None}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Images of 40 x 20 pixels; masks at half their scale, of another aspect, missing, unnamed."""
    rows = []
    for number, mask in enumerate(("half.png", "square.png", "gone.png", "")):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 40), 90 + number, np.uint8))
        rows.append((f"{number}.png", "A", "p", "test", 0, mask))
    half = np.zeros((10, 20), np.uint8)
    half[:, :10] = 255
    cv2.imwrite(str(tmp_path / "half.png"), half)
    cv2.imwrite(str(tmp_path / "square.png"), np.full((20, 20), 255, np.uint8))
    columns = ["path", "label", "patient_id", "split", "target", "mask"]
    table = pd.DataFrame(rows, columns=columns)
    return Manifest("made", tmp_path, Task.exclusive(("A", "B")), table)


def test_masks_go_where_the_pixels_go_and_bad_ones_are_named(manifest: Manifest, caplog) -> None:
    masks = read_masks(manifest, manifest.table, 16, HOW)
    assert masks is not None
    expected = np.zeros((16, 16), dtype=bool)
    expected[4:12, :8] = True  # the letterbox leaves four rows above and below
    np.testing.assert_array_equal(masks[0], expected)
    assert not masks[1:].any()
    assert "2 masks" in caplog.text
    assert "square.png (20 x 20 pixels for an image of 40 x 20)" in caplog.text
    assert "gone.png" in caplog.text


def test_without_the_column_there_are_none(manifest: Manifest) -> None:
    assert read_masks(manifest, manifest.table, 16, HOW, "marker") is None
