from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.replica import write_chest_xray
from mlflow.tracking import MlflowClient

from cxrlab.config.no_effect import refuse_without_effect
from cxrlab.data.sources import load_manifest
from cxrlab.errors import UserError
from cxrlab.evaluate import again, evaluate, score
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.evaluation.predictions import read_predictions
from cxrlab.evaluation.stage import measure
from cxrlab.serving.dataset import predict_dataset
from cxrlab.serving.runs import find_folder

TESTED = "predictions/test.csv"


@pytest.fixture
def configure(compose, trained_run):
    """Evaluate the tiny run with some more overrides."""

    def configured(*overrides: str):
        return compose(
            f"run={trained_run.output}", "tracking=none", "bootstrap=0", *overrides,
            command="evaluate",
        )  # fmt: skip

    return configured


def test_the_numbers_of_a_run_come_again(trained_run) -> None:
    told = Evaluation.read(trained_run.output)
    found = again(trained_run.output, 2000)
    assert found.metrics == told.metrics
    assert found.values() == told.values()
    assert found.metrics["test"].values["n"] == len(found.tables["test"])


def test_the_run_on_its_own_data_is_its_test(trained_run, configure, caplog) -> None:
    config = configure("data=chest_xray", f"data.root={trained_run.images}")
    found = score(config, [trained_run.output])
    told = read_predictions(trained_run.output / TESTED).set_index("path")
    scored = found.tables["test"].set_index("path")
    assert set(scored.index) == set(told.index)
    np.testing.assert_allclose(
        scored["calibrated"], told.loc[scored.index, "calibrated"], atol=1e-5
    )
    assert (scored["decision"] == told.loc[scored.index, "decision"]).all()
    assert found.point == Evaluation.read(trained_run.output).point
    assert "were trained or validated on and are left out" in caplog.text


def test_images_that_the_run_knows_can_be_kept(trained_run, configure) -> None:
    config = configure("data=chest_xray", f"data.root={trained_run.images}", "seen=keep")
    table = score(config, [trained_run.output]).tables["test"]
    assert len(table) == len(list(trained_run.images.rglob("*.jpeg")))


def test_a_copied_training_image_is_known_under_any_name(
    trained_run, configure, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    trained = pd.read_csv(trained_run.output / "data/manifest.csv").query("split == 'train'")
    tested = pd.read_csv(trained_run.output / "data/manifest.csv").query("split == 'test'")
    for label in ("NORMAL", "PNEUMONIA"):
        (folder / label).mkdir(parents=True)
        for name, table in (("new", tested), ("old", trained)):
            path = table.loc[table["label"] == label, "path"].iloc[0]
            shutil.copy(trained_run.images / path, folder / label / f"{name}.jpeg")
    found = score(configure("data=image_folder", f"data.root={folder}"), [trained_run.output])
    assert sorted(found.tables["test"]["path"]) == ["NORMAL/new.jpeg", "PNEUMONIA/new.jpeg"]


def test_another_dataset_with_other_names(trained_run, configure, tmp_path: Path, caplog) -> None:
    folder = tmp_path / "hospital"
    images = sorted((write_chest_xray(tmp_path / "new") / "test").rglob("*.jpeg"))
    for number, image in enumerate(images):
        target = folder / ("ill" if number % 2 else "well") / f"{number}.jpeg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, target)
    (folder / "ill" / "broken.jpeg").write_bytes(b"\xff\xd8 no image")
    here = ("data=image_folder", f"data.root={folder}", "seen=keep")
    with pytest.raises(UserError, match="none has the same name"):
        score(configure(*here), [trained_run.output])
    config = configure(*here, "labels={PNEUMONIA: ill, NORMAL: well}", "batch_size=3")
    found = evaluate(config, [trained_run.output], tmp_path / "out")
    table = read_predictions(tmp_path / "out" / TESTED)
    assert len(table) == len(images)
    assert set(table["label"]) == {"NORMAL", "PNEUMONIA"}
    assert "1 of" in caplog.text
    assert "broken.jpeg" in caplog.text
    assert (tmp_path / "out/figures/roc.png").stat().st_size > 0
    assert Evaluation.read(tmp_path / "out").metrics == found.metrics


def test_only_one_split(trained_run, configure) -> None:
    here = ("data=chest_xray", f"data.root={trained_run.images}", "seen=keep")
    found = score(configure(*here, "split=test"), [trained_run.output])
    told = read_predictions(trained_run.output / TESTED)
    assert set(found.tables["test"]["path"]) == set(told["path"])


def test_a_dataset_of_one_class_has_what_it_can_have(trained_run, configure, predictor) -> None:
    config = configure("data=chest_xray", f"data.root={trained_run.images}").data
    manifest = load_manifest(config)
    ill = manifest.with_table(manifest.table[manifest.table["label"] == "PNEUMONIA"])
    table = predict_dataset(predictor, ill, frozenset(), config, batch=4)
    found = measure(table, predictor.task, predictor.point, draws=200)
    assert found.absent["auroc"] == "no image is NORMAL"
    assert "recall" in found.intervals
    with pytest.raises(UserError, match="none is left to score"):
        predict_dataset(predictor, ill.with_table(ill.table[:0]), frozenset(), config, batch=4)


def test_what_cannot_be_evaluated_is_one_line(trained_run, configure, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no evaluation/results\.json"):
        again(tmp_path, 0)
    copy = tmp_path / "copy"
    shutil.copytree(trained_run.output, copy)
    (copy / TESTED).unlink()
    found = again(copy, 0)
    assert set(found.metrics) == {"val"}
    (copy / "predictions/val.csv").unlink()
    with pytest.raises(UserError, match="no predictions"):
        again(copy, 0)
    (copy / "evaluation/results.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        again(copy, 0)
    (copy / "data/manifest.csv").unlink()
    config = configure("data=chest_xray", f"data.root={trained_run.images}")
    with pytest.raises(UserError, match="seen=keep"):
        score(config, [copy])


def test_a_split_that_the_dataset_lacks(trained_run, configure, tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    for label in ("NORMAL", "PNEUMONIA"):
        (folder / label).mkdir(parents=True)
        image = next((trained_run.images / "test" / label).glob("*.jpeg"))
        shutil.copy(image, folder / label)
    config = configure("data=image_folder", f"data.root={folder}", "split=test")
    with pytest.raises(UserError, match="has no such split of its own"):
        score(config, [trained_run.output])


@pytest.mark.slow
def test_the_command_prints_where_it_wrote(trained_run, compose, tmp_path: Path) -> None:
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-m", "cxrlab.evaluate", f"run={trained_run.output}", store,
         f"hydra.run.dir={tmp_path}/out"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out")
    told = trained_run.output / "evaluation/results.json"
    assert (tmp_path / "out/evaluation/results.json").read_bytes() == told.read_bytes()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert run.info.status == "FINISHED"
    assert run.data.tags["cxrlab.kind"] == "evaluate"
    values = Evaluation.read(trained_run.output).values()
    assert run.data.metrics["test/auroc"] == pytest.approx(values["test/auroc"])
    assert {a.path for a in client.list_artifacts(run.info.run_id)} >= {"evaluation", "figures"}
    with pytest.raises(UserError, match="no finished run"):
        # It has no model of its own, so no command takes it for the latest run.
        find_folder("latest", compose(store, command="evaluate").tracking)


@pytest.mark.parametrize("override", ["data.image_size=64", "data.folds=5", "++data.split=file"])
def test_what_has_no_effect_is_refused(override: str) -> None:
    with pytest.raises(UserError, match="has no effect"):
        refuse_without_effect([override])
    refuse_without_effect(["data.split_seed=3", "data.limit=5", "split=test"])
