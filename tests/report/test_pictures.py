from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrlab.errors import UserError
from cxrlab.report import pictures
from cxrlab.report.pictures import collect


def draw(file: Path, width: int = 30, height: int = 20) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(file.name))
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(file)
    return file


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def test_a_small_figure_stays_as_it_is(tmp_path: Path) -> None:
    file = draw(tmp_path / "figures/roc.png")
    found = collect(tmp_path, "test").figures["roc"]
    assert found.uri.startswith("data:image/png;")
    assert decoded(found.uri) == file.read_bytes()
    assert (found.width, found.height) == (30, 20)
    assert found.title == "ROC curve"


def test_a_large_one_is_made_smaller_and_keeps_its_proportions(tmp_path: Path) -> None:
    file = draw(tmp_path / "explanations/gallery_wrong.png", 2000, 500)
    found = collect(tmp_path, "test").failures[0]
    assert found.uri.startswith("data:image/webp;")
    assert len(found.uri) < file.stat().st_size / 2
    with Image.open(io.BytesIO(decoded(found.uri))) as image:
        assert image.size == (found.width, found.height) == (1600, 400)


def test_all_are_made_smaller_until_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("wrong", "correct"):
        draw(tmp_path / f"explanations/gallery_{kind}.png", 1000, 300)
    monkeypatch.setattr(pictures, "_WIDTHS", ((1000, 80), (500, 80), (250, 80)))
    sizes = {}
    for budget in (10**7, 200_000, 60_000):
        monkeypatch.setattr(pictures, "_BUDGET", budget)
        album = collect(tmp_path, "test")
        cards = (*album.failures, *album.successes)
        assert sum(len(card.uri) for card in cards) <= budget
        sizes[budget] = cards[0].width
    assert sizes == {10**7: 1000, 200_000: 500, 60_000: 250}


def test_figures_of_other_splits_stand_apart(tmp_path: Path) -> None:
    for stem in ("roc", "val_roc", "zebra", "scores", "augmentation"):
        draw(tmp_path / f"figures/{stem}.png")
    album = collect(tmp_path, "test")
    assert list(album.figures) == ["roc", "scores", "augmentation", "zebra"]
    assert list(album.others) == ["roc"]
    validation = collect(tmp_path, "val")
    assert list(validation.figures) == ["roc", "augmentation"]
    assert list(validation.others) == ["roc", "scores", "zebra"]


def test_the_first_and_the_last_panel_and_failures_first(tmp_path: Path) -> None:
    for epoch in (2, 10, 100):
        draw(tmp_path / f"explanations/panel_epoch_{epoch:03d}.png")
    for kind in ("true_positives", "false_positives", "false_negatives"):
        draw(tmp_path / f"explanations/gallery_{kind}.png")
    album = collect(tmp_path, "test")
    assert [p.stem for p in album.panels] == ["panel_epoch_002", "panel_epoch_100"]
    assert album.panels[1].title == "Validation panel after epoch 100"
    assert album.panels_left_out == 1
    assert [p.stem for p in album.failures] == ["false_negatives", "false_positives"]
    assert [p.stem for p in album.successes] == ["true_positives"]


def test_a_run_without_pictures_has_none(tmp_path: Path) -> None:
    album = collect(tmp_path, "test")
    assert album.figures == album.others == {}
    assert album.panels == album.failures == album.successes == ()
    assert album.panels_left_out == 0


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "figures/roc.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"roc\.png can't be read"):
        collect(tmp_path, "test")
