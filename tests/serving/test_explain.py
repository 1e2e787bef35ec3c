from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from cxrlab.errors import UserError
from cxrlab.evaluation.predictions import read_predictions
from cxrlab.explain import explain
from cxrlab.explanation.quality.results import Results

QUICK = (
    "tracking=none", "bootstrap=0", "cases=2", "checked_cases=1", "curve_steps=4",
    "perturbations=1", "explanation.steps=4", "explanation.max_steps=8", "explanation.masks=8",
)  # fmt: skip


@pytest.fixture
def explained(compose, trained_run, tmp_path: Path):
    """Explain the tiny run with some more overrides; later ones win."""

    def run(*overrides: str) -> Results:
        config = compose(f"run={trained_run.output}", *QUICK, *overrides, command="explain")
        output = tmp_path / "out"
        output.mkdir(exist_ok=True)
        return explain(config, trained_run.output, output)

    return run


def test_the_runs_own_test_images_are_explained_by_several_methods(
    explained, trained_run, tmp_path: Path
) -> None:
    found = explained("methods=[integrated_gradients,gradcam++]", "cases=4")
    told = read_predictions(trained_run.output / "predictions/test.csv").set_index("path")
    cases = found.cases.table
    assert set(cases["path"]) <= set(told.index)
    assert set(cases["target"]) == {0, 1}
    np.testing.assert_allclose(
        cases["probability"], told.loc[cases["path"], "probability"], atol=1e-5
    )
    stored = np.load(tmp_path / "out/explanations/gradcam_plus_plus/maps.npz")
    assert stored["maps"].shape == (4, 32, 32)
    assert stored["maps"].dtype == np.float32
    assert stored["path"].tolist() == cases["path"].tolist()
    overlays = sorted((tmp_path / "out/explanations/integrated_gradients").glob("*.png"))
    assert len(overlays) == 4
    assert cv2.imread(str(overlays[0])).shape == (32, 32, 3)
    table = pd.read_csv(tmp_path / "out/explanations.csv")
    assert table["method"].value_counts().to_dict() == {
        "integrated_gradients": 4, "gradcam++": 4, "chance": 4,
    }  # fmt: skip
    assert {"deletion_auc", "border_share", "completeness_error"} <= set(table)
    assert "patient_id" not in table
    plain = json.loads((tmp_path / "out/quality.json").read_text())
    assert len(plain["methods"]["gradcam++"]["cascade"]) > 3
    page = (tmp_path / "out/quality.html").read_text()
    for finding in plain["verdict"]:
        assert finding["title"].replace("'", "&#39;") in page
    figures = {file.stem for file in (tmp_path / "out/figures").glob("*.png")}
    assert figures == {
        "measures", "curves", "randomisation", "side_by_side",
        "sheet_integrated_gradients", "sheet_gradcam_plus_plus",
    }  # fmt: skip


def test_lesions_and_markers_of_another_dataset_are_measured(explained, tmp_path: Path) -> None:
    found = explained(
        "data=phantom", "data.images=24", "data.shortcut=1", "cases=6", "checked_cases=0",
        "sheet_cases=0",
    )  # fmt: skip
    measures = found.methods[0].study.measures
    sick = found.cases.table["target"] == 1
    assert measures["mass_in_mask"].notna().tolist() == sick.tolist()
    assert measures["marker_share"].notna().tolist() == sick.tolist()
    metrics = found.methods[0].metrics
    assert {"pointing_game", "mass_in_mask", "iou", "auprc", "marker_share"} <= set(metrics.values)
    assert "sensitivity_max" in metrics.absent
    table = pd.read_csv(tmp_path / "out/quality.csv").set_index(["method", "measure"])
    assert table.loc[("integrated_gradients", "pointing_game"), "cases"] == sick.sum()


def test_cases_are_named_by_row_and_by_path(explained, trained_run) -> None:
    paths = read_predictions(trained_run.output / "predictions/test.csv")["path"]
    found = explained(f"cases=[3,{paths[5]}]", "checked_cases=0", "sheet_cases=0")
    table = found.cases.table
    assert table["path"].tolist()[1] == paths[5]
    assert table["row"].tolist()[0] == 3
    with pytest.raises(UserError, match="no row 999; nearest valid: 0"):
        explained("cases=[999]")
    with pytest.raises(UserError, match=r"no image 'nothing\.png'"):
        explained("cases=[nothing.png]")


def test_a_method_that_the_backbone_cannot_have_is_left_out(
    explained, monkeypatch: pytest.MonkeyPatch, caplog, tmp_path: Path
) -> None:
    def no_layer(*_: object) -> None:
        raise UserError("this backbone has no layer of feature maps")

    monkeypatch.setattr("cxrlab.explanation.methods.gradcam.spatial_layer", no_layer)
    found = explained("methods=[gradcam,input_x_gradient]", "sheet_cases=0")
    assert [result.name for result in found.methods] == ["input_x_gradient"]
    assert "gradcam: not made" in caplog.text
    assert "this backbone has no layer" in found.failed["gradcam"]
    assert "gradcam: not made" in (tmp_path / "out/quality.html").read_text()
    with pytest.raises(UserError, match="none can be made"):
        explained("methods=[gradcam]")


@pytest.mark.slow
def test_the_command_prints_where_it_wrote_and_tracks_it(trained_run, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    command = [
        sys.executable, "-m", "cxrlab.explain", f"run={trained_run.output}", *QUICK[1:],
        "methods=[gradcam++]", f"tracking.uri={store}", f"hydra.run.dir={tmp_path}/out",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out")
    client = MlflowClient(store)
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.status == "FINISHED"
    assert run.data.tags["cxrlab.kind"] == "explain"
    assert (
        run.data.metrics["explanation/deletion_auc"]
        == run.data.metrics["gradcam_plus_plus/deletion_auc"]
    )
    assert "explanation/randomisation_similarity" in run.data.metrics
    assert "chance/deletion_auc" in run.data.metrics
    assert {a.path for a in client.list_artifacts(run.info.run_id)} >= {
        "explanations", "figures", "quality.html", "quality.json", "explanations.csv",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["methods=[gradcm]"], ["methods", "gradcm"]),
        (["methods=[gradcam,gradcam]"], ["named twice"]),
        (["cases=0"], ["cases"]),
        (["cases=[]"], ["cases", "names no case"]),
        (["explanation.steps=512"], ["explanation.max_steps=512"]),
        (["radius=0"], ["radius=0", "greater than 0"]),
        (["method=gradcam"], ["method", "did you mean"]),
    ],
)
def test_what_is_wrong_is_said_in_a_line(compose, overrides: list[str], words: list[str]) -> None:
    from hydra.errors import ConfigCompositionException

    from cxrlab.config.app import _explain

    with pytest.raises((UserError, ConfigCompositionException)) as refused:
        compose(*overrides, command="explain")
    line = _explain(refused.value, "ExplainConfig")
    assert "\n" not in line
    assert all(word in line for word in words), line
