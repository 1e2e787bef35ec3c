from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import cxrlab
from cxrlab.errors import UserError
from cxrlab.serving.heatmaps import heat_maps


@pytest.fixture
def loaded(trained_run):
    return cxrlab.load_run(trained_run.output)


def test_a_loaded_run_predicts_as_the_command_does(loaded, predictor, trained_run) -> None:
    files = sorted((trained_run.images / "test").rglob("*.jpeg"))
    expected = predictor.predict(files)
    for named in (trained_run.images / "test", str(trained_run.images / "test"), files):
        pd.testing.assert_frame_equal(loaded.predict(named), expected, check_exact=False)


def test_an_explanation_is_of_the_image_and_sums_to_its_evidence(loaded, trained_run) -> None:
    files = sorted((trained_run.images / "test/PNEUMONIA").glob("*.jpeg"))[:3]
    found = loaded.explain(files)
    table = loaded.predict(files)
    assert [explained.path for explained in found] == [str(file) for file in files]
    assert found.maps.shape == (3, 32, 32)
    assert found.maps.dtype == np.float32
    for explained, probability in zip(found, table["probability"], strict=True):
        assert explained.probability == pytest.approx(probability, abs=1e-5)
        assert explained.heat_map.explained == "PNEUMONIA"
        assert explained.heat_map.doubtful == (explained.heat_map.completeness_error > 0.05)
    alone = loaded.explain(files[1])
    np.testing.assert_allclose(alone.maps[0], found.maps[1], atol=1e-4)


def test_a_notebook_shows_the_run_and_its_maps_with_names_escaped(
    loaded, trained_run, tmp_path: Path
) -> None:
    file = next((trained_run.images / "test").rglob("*.jpeg"))
    evil = tmp_path / "<script>alert(1)<&.jpeg"
    shutil.copy(file, evil)
    found = loaded.explain([evil, file])
    page = found._repr_html_()
    assert page.count("<figure") == 2
    assert page.count("data:image/png;base64,") == 4
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert found[:1]._repr_html_() == found[0]._repr_html_()
    shown = loaded._repr_html_()
    assert str(trained_run.output) in shown
    assert "threshold for PNEUMONIA" in shown
    assert re.search(r"ROC-AUC \(test\)</th><td[^>]*>0\.\d{3}", shown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guesswork"}, "method=guesswork: there is none; choose one of integrated"),
        ({"explained": "NORMAL"}, "explained=NORMAL: no such logit; choose one of PNEUMONIA"),
    ],
)
def test_what_can_not_be_explained_is_one_line(loaded, trained_run, arguments, message) -> None:
    with pytest.raises(UserError, match=message):
        loaded.explain(next(trained_run.images.rglob("*.jpeg")), **arguments)


def test_files_that_are_none_are_one_line(loaded, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.touch()
    with pytest.raises(UserError, match=r"bad\.png: empty file"):
        loaded.explain(bad)
    for named in ("nowhere.png", []):
        with pytest.raises(UserError, match="; give "):
            loaded.predict(named)
    with pytest.raises(UserError, match=r"holds no checkpoints/best\.ckpt"):
        cxrlab.load_run(tmp_path)


def test_the_layer_over_the_image_is_the_overlay(predictor) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 32, 32), dtype=np.uint8)
    for image, found in zip(pixels, heat_maps(predictor, pixels), strict=True):
        alpha = found.layer[..., 3:] / 255
        laid = (1 - alpha) * image[..., None] + alpha * found.layer[..., :3]
        np.testing.assert_allclose(laid, found.overlay, atol=2)
        assert found.layer[..., 3].max() == pytest.approx(0.85 * 255, abs=1)


def test_the_network_that_is_explained_looks_once(predictor) -> None:
    from dataclasses import replace

    from cxrlab.model.views import Views

    several = replace(predictor, network=Views(predictor.network, (1.0, 0.8), mirror=True))
    assert several.single_look is predictor.network
    assert predictor.single_look is predictor.network
    image = torch.rand(1, 1, 32, 32)
    assert not torch.equal(several.network(image), several.single_look(image))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, cxrlab; cxrlab.load_run\n"
        "assert not {'torch', 'numpy', 'pandas', 'mlflow', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
