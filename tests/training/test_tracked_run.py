"""One run through the command line, then everything that MLflow and its page hold of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import mlflow_ui
from helpers.browser import browse, chromium_or_skip, free_port, serve
from mlflow.tracking import MlflowClient

from cxrlab.evaluation.predictions import read_predictions
from cxrlab.serving.runs import find_folder
from cxrlab.tracking.store import Store, open_store

OVERRIDES = (
    "data=phantom", "data.images=60", "data.image_size=32", "data.batch_size=8",
    "trainer.max_epochs=2", "trainer.log_every_n_steps=1", "model=mobilenetv2",
    "model.weights=phantom", "explanation.steps=4", "explanation.max_steps=8",
    "explanation.every_n_epochs=1", "explanation.panel_images=2", "explanation.gallery_images=1",
    "register=tracked run",
)  # fmt: skip
FINAL = (
    "auroc", "auprc", "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1",
    "brier", "nll", "ece", "tn", "fp", "fn", "tp", "threshold",
)  # fmt: skip
TAGS = (
    "command", "git_commit", "git_dirty", "data_fingerprint", "split_hash", "weights", "device",
    "version",
)  # fmt: skip
ARTIFACTS = (
    "config/config.yaml", "config/overrides.yaml", "data/manifest.csv", "data/audit.json",
    "data/audit.html", "predictions/val.csv",
    "predictions/test.csv", "figures/confusion_matrix.png", "figures/roc.png",
    "figures/precision_recall.png", "figures/reliability.png", "figures/decision_curve.png",
    "figures/scores.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt",
)  # fmt: skip


@dataclass(frozen=True)
class Tracked:
    store: Store
    client: MlflowClient
    run_id: str
    stdout: str
    folder: Path

    @property
    def run(self) -> mlflow.entities.Run:
        return self.client.get_run(self.run_id)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, cache_folder: Path) -> Tracked:
    folder = tmp_path_factory.mktemp("tracked")
    store = open_store(None, folder / "mlruns")
    done = subprocess.run(
        [sys.executable, "-m", "cxrlab.train", f"tracking.uri={store.uri}", *OVERRIDES],
        cwd=folder,
        env={**os.environ, "CXRLAB_CACHE": str(cache_folder), "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.strip().splitlines()[-1].removeprefix("run: ")
    return Tracked(store, store.client(), run_id, done.stdout, folder)


def test_the_terminal_shows_the_results_and_ends_with_the_run(tracked: Tracked) -> None:
    assert tracked.stdout.strip().splitlines()[-1] == f"run: {tracked.run_id}"
    for words in ("ROC-AUC", "confusion", "recall", "NORMAL", "PNEUMONIA"):
        assert words.lower() in tracked.stdout.lower()


def test_the_run_is_finished_and_named(tracked: Tracked) -> None:
    assert tracked.run.info.status == "FINISHED"
    assert tracked.run.info.run_name.startswith("data=phantom images=60 ")


def test_params_are_the_resolved_configuration(tracked: Tracked) -> None:
    params = tracked.run.data.params
    assert params["model.backbone"] == "mobilenetv2_100"
    assert params["optimizer.lr"] == "0.001"
    config = yaml.safe_load(_artifact(tracked, "config/config.yaml").read_text())
    assert config["data"]["images"] == 60
    assert len(params) > 60
    overrides = yaml.safe_load(_artifact(tracked, "config/overrides.yaml").read_text())
    assert "trainer.max_epochs=2" in overrides


def test_tags(tracked: Tracked) -> None:
    tags = tracked.run.data.tags
    for name in TAGS:
        assert tags[f"cxrlab.{name}"], name
    assert tags["cxrlab.weights"] == "phantom"
    assert tags["cxrlab.command"].startswith("python -m cxrlab.train ")


def test_the_note_gives_the_verdict_and_leads_to_the_report(tracked: Tracked) -> None:
    info, note = tracked.run.info, tracked.run.data.tags["mlflow.note.content"]
    assert "On test: AUROC " in note
    page = f"#/experiments/{info.experiment_id}/runs/{info.run_id}"
    assert f"[The whole report]({page}/artifacts/report.html)" in note


def test_metrics_over_time(tracked: Tracked) -> None:
    for name in ("train/images_per_second", "val/loss", "val/auroc", "lr"):
        assert len(tracked.client.get_metric_history(tracked.run_id, name)) >= 2, name
    losses = tracked.client.get_metric_history(tracked.run_id, "train/loss")
    steps = [m.step for m in losses]
    assert len(steps) == len(set(steps)) >= 8


def test_final_metrics(tracked: Tracked) -> None:
    metrics = tracked.run.data.metrics
    for split in ("val", "test"):
        for name in FINAL:
            assert f"{split}/{name}" in metrics, f"{split}/{name}"
    table = read_predictions(_artifact(tracked, "predictions/test.csv"))
    counted = sum(metrics[f"test/{cell}"] for cell in ("tn", "fp", "fn", "tp"))
    assert counted == len(table)
    assert ((table["probability"] >= metrics["test/threshold"]) == table["decision"]).all()


def test_metrics_of_explanations(tracked: Tracked) -> None:
    metrics = tracked.run.data.metrics
    for name in ("completeness_error", "seconds_per_image"):
        assert np.isfinite(metrics[f"explanation/{name}"])


def test_datasets(tracked: Tracked) -> None:
    inputs = tracked.run.inputs.dataset_inputs
    contexts = {t.value for i in inputs for t in i.tags}
    assert contexts == {"train", "validation", "test"}
    assert all(i.dataset.digest for i in inputs)


def test_artifacts(tracked: Tracked) -> None:
    for path in ARTIFACTS:
        assert _artifact(tracked, path).stat().st_size > 0
    names = [f.path for f in tracked.client.list_artifacts(tracked.run_id, "explanations")]
    assert any("gallery" in name for name in names)
    assert any("panel" in name for name in names)


def test_patients_are_hashed_in_every_artifact(tracked: Tracked) -> None:
    for path in ("data/manifest.csv", "predictions/val.csv", "predictions/test.csv"):
        rows = _artifact(tracked, path).read_text().splitlines()[1:]
        assert not any(",p0000" in row for row in rows)


def test_the_logged_model_gives_the_scores_of_the_table(tracked: Tracked) -> None:
    mlflow.set_tracking_uri(tracked.store.uri)
    model = mlflow.pyfunc.load_model(f"runs:/{tracked.run_id}/model")
    table = read_predictions(_artifact(tracked, "predictions/test.csv"))[:5]
    root = Path(next(iter(_sources(tracked))))
    images = pd.DataFrame({"image": [(root / path).read_bytes() for path in table["path"]]})
    found = model.predict(images)
    for name in ("logit", "probability", "calibrated"):
        np.testing.assert_allclose(found[name].astype(float), table[name], atol=1e-4)
    assert found["decision"].tolist() == table["decision"].tolist()


def _sources(tracked: Tracked) -> set[str]:
    import json

    inputs = tracked.run.inputs.dataset_inputs
    return {json.loads(i.dataset.source)["uri"] for i in inputs}


def _panel_key(tracked: Tracked) -> str:
    """Key of the first series of the image grid, as the page writes it."""
    names = [f.path for f in tracked.client.list_artifacts(tracked.run_id, "images")]
    stem = Path(next(n for n in names if n.endswith(".png"))).name.partition("+step+")[0]
    return stem.replace("~", "/")


def _artifact(tracked: Tracked, path: str) -> Path:
    mlflow.set_tracking_uri(tracked.store.uri)
    return Path(mlflow.artifacts.download_artifacts(run_id=tracked.run_id, artifact_path=path))


@pytest.mark.browser
def test_it_is_the_first_version_of_a_registered_model(
    tracked: Tracked, compose: Callable[..., Any]
) -> None:
    config = compose(f"tracking.uri={tracked.store.uri}").tracking
    folder = find_folder("models:/tracked run@champion", config)
    assert folder == find_folder(tracked.run_id, config)
    mlflow.set_tracking_uri(tracked.store.uri)
    served = mlflow.pyfunc.load_model("models:/tracked run/1")
    assert served.metadata.run_id == tracked.run_id


def test_a_user_finds_it_all_in_the_ui(tracked: Tracked, tmp_path: Path) -> None:
    chromium_or_skip()
    run = tracked.run
    place = run.info.experiment_id, run.info.run_id
    port = free_port()
    command = [sys.executable, "-m", "cxrlab.ui", f"port={port}"]
    command.append(f"tracking.uri={tracked.store.uri}")
    with (
        serve(command, os.environ, f"http://127.0.0.1:{port}", tmp_path / "server.log") as url,
        browse(mlflow_ui.STORAGE) as page,
    ):
        mlflow_ui.check_runs_table(page, url, place[0], [run.info.run_name])
        texts = ["The whole report", "Finished", "test/auroc", "model.backbone", "phantom_train"]
        mlflow_ui.check_overview(page, url, *place, texts)
        for metric in ("train/loss", "val/auroc", "test/auroc"):
            mlflow_ui.check_chart(page, url, *place, metric)
        paths = sorted((tracked.folder / "outputs").rglob("panel_*.png"))
        assert len(paths) == 2
        mlflow_ui.check_image_grid(page, url, *place, _panel_key(tracked))
        for path in ("report.html", "config/config.yaml", "figures/roc.png"):
            mlflow_ui.check_artifact(page, url, *place, path)
