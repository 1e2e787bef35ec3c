"""Trainings on datasets of every task, from the files to the tables and figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.replica import write_chest_xray, write_chexpert, write_rsna

from cxrlab.errors import UserError
from cxrlab.evaluation.predictions import read_predictions


def metrics(output: Path) -> dict[str, float]:
    table = pd.read_csv(output / "metrics.csv")
    return dict(zip(table["name"], table["value"], strict=True))


def test_findings_some_of_them_unknown(run_training, tmp_path: Path) -> None:
    root = write_chexpert(tmp_path / "chexpert", patients=40)
    output = run_training(
        "data=chexpert", f"data.root={root}", "data.target=competition",
        "data.split=auto", "data.val_fraction=0.3", "audit=warn", "loss=balanced",
    ).output  # fmt: skip
    table = read_predictions(output / "predictions/test.csv")
    assert {"target_Edema", "probability_Edema", "decision_Edema"} <= set(table)
    train = pd.read_csv(output / "data/manifest.csv")
    assert train["target_Edema"].isna().any(), "uncertain labels are unknown, and kept"
    assert np.isfinite(metrics(output)["test/auroc"])
    assert np.isfinite(metrics(output)["val/loss"])
    assert list((output / "explanations").glob("gallery_*.png"))
    assert list((output / "explanations").glob("panel_*.png"))


def test_dicom_files_with_boxes_letterboxed_and_cropped(run_training, tmp_path: Path) -> None:
    root = write_rsna(tmp_path / "rsna", images=60)
    output = run_training(
        "data=rsna_pneumonia", f"data.root={root}", "data.preprocess.resize=letterbox",
        "data.preprocess.crop_borders=true", "data.preprocess.clahe=2",
    ).output  # fmt: skip
    assert np.isfinite(metrics(output)["test/auroc"])
    assert "explanation/mass_in_mask" in metrics(output)


def test_a_leak_stops_the_run_unless_it_is_to_go_on(run_training, tmp_path: Path) -> None:
    root = write_chest_xray(tmp_path / "leaky")
    stolen = sorted((root / "test" / "NORMAL").iterdir())[0]
    shutil.copyfile(stolen, root / "train" / "NORMAL" / "IM-9999-0001.jpeg")
    options = (f"data.root={root}", "explanation=none", "trainer.max_epochs=1")
    with pytest.raises(UserError, match=r"1 group of 2 images across splits.*IM-9999.*audit=warn"):
        run_training(*options, name="stopped")
    output = run_training(*options, "audit=warn", name="warned").output
    audit = json.loads((output / "data/audit.json").read_text())
    assert audit["verdict"] == "fatal"
    assert "IM-9999" in (output / "data/audit.html").read_text()
