from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from cxrlab.layout import RESULTS_FILE
from cxrlab.serving.demo.about import about
from cxrlab.serving.predictor import Predictor


def test_a_number_stands_beside_its_interval_where_the_run_has_one(
    trained_run, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained_run.output, folder)
    results = json.loads((folder / RESULTS_FILE).read_text())
    results["splits"]["val"]["values"] |= {"auroc": 0.9, "recall": 0.8}
    results["splits"]["val"]["intervals"] = {"auroc": {"low": 0.85, "high": 0.9543}}
    (folder / RESULTS_FILE).write_text(json.dumps(results))
    predictor = Predictor.load(trained_run.checkpoint, torch.device("cpu"))
    validation = about(folder, predictor, "gradcam").measured[0]
    assert validation.split == "validation"
    assert validation.metrics["ROC-AUC"] == ("0.900", "0.850 to 0.954")
    assert validation.metrics["Sensitivity"] == ("0.800", "")
