"""Validation images as other hospitals might have made them, in whole runs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from cxrlab.augmentation.shifts import SHIFTS
from cxrlab.data.datamodule import to_unit
from cxrlab.errors import UserError
from cxrlab.evaluation.predictions import read_predictions
from cxrlab.layout import BEST
from cxrlab.model.classifier import Classifier

NAMES = ("lighter", "closer", "framed")
OPTIONS = ("explanation=none", f"evaluation.shifts=[{','.join(NAMES)}]", "evaluation.test=false")


def test_every_epoch_logs_them_and_the_best_epoch_may_be_theirs(run_training) -> None:
    # Ten shifts for six images: some have no image in a batch.
    output = run_training(
        "explanation=none", "evaluation=shifted", "evaluation.test=false", "trainer.max_epochs=3",
        "trainer.monitor=val_shifted/loss", "optimizer.lr=1e-4",
    ).output  # fmt: skip
    logged = pd.read_csv(output / "metrics.csv")
    loss = logged.loc[logged["name"] == "val_shifted/loss"].drop_duplicates("step")
    assert len(loss) >= 3
    assert {"val_shifted/auroc", "val_shifted/balanced_accuracy"} <= set(logged["name"])
    best = torch.load(output / BEST, weights_only=False)["global_step"]
    auroc = logged.loc[logged["name"] == "val/auroc"].drop_duplicates("step")
    lowest, highest = int(loss["value"][:3].argmin()), int(auroc["value"][:3].argmax())
    assert lowest != highest  # else this could not tell
    assert best - 1 == loss["step"].iloc[lowest]


def test_the_table_holds_what_the_model_says_of_each_changed_image(run_training) -> None:
    trained = run_training(*OPTIONS, "trainer.max_epochs=1")
    table = read_predictions(trained.output / "predictions" / "val_shifted.csv")
    val = read_predictions(trained.output / "predictions" / "val.csv")
    assert len(table) == len(NAMES) * len(val)
    classifier = Classifier.load_from_checkpoint(trained.output / BEST, map_location="cpu").eval()
    point = json.loads((trained.output / "evaluation" / "results.json").read_text())
    assert point["operating_point"]["thresholds"][0]["origin"] == "val and val_shifted"
    from cxrlab.data.prepare import prepare
    from cxrlab.data.sources import load_manifest

    data = prepare(load_manifest(trained.config.data), trained.config.data)
    rows = data.rows[(data.manifest.table["split"] == "val").to_numpy()]
    images = to_unit(torch.from_numpy(data.pixels[rows])[:, None])
    for name in NAMES:
        with torch.inference_mode():
            expected = classifier(SHIFTS[name](images)).numpy()
        of_name = table[table["shift"] == name].set_index("path")
        found = of_name.loc[val["path"], "logit"]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_the_advice_for_a_frozen_backbone_is_taken(compose) -> None:
    looks = ("model.test_windows=[1.0]", "model.test_mirror=false", "trainer.progressive=[]")
    config = compose(
        "experiment=chest_xray", "model.freeze_backbone=true", "evaluation=default",
        "trainer.monitor=val/auroc", *looks,
    )  # fmt: skip
    assert not config.evaluation.shifts


def test_images_may_take_turns_among_the_changes_after_training_too(run_training) -> None:
    trained = run_training(*OPTIONS, "trainer.max_epochs=1", "evaluation.shifts_per_image=2")
    table = read_predictions(trained.output / "predictions" / "val_shifted.csv")
    val = read_predictions(trained.output / "predictions" / "val.csv")
    assert table.groupby("path", sort=False)["shift"].nunique().tolist() == [2] * len(val)
    assert set(table["shift"]) == set(NAMES)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.monitor=val_shifted/auroc"], "add evaluation=shifted"),
        (["evaluation.shifts_per_image=3"], "nearest valid: evaluation.shifts_per_image=null"),
        (["evaluation=shifted", "evaluation.shifts_per_image=11"], "shifts_per_image=10"),
        (["evaluation=shifted", "model.freeze_backbone=true"], "take evaluation=default"),
        (["model.test_mirror=true", "model.freeze_backbone=true"], "take model.test_windows"),
    ],
)
def test_what_would_have_no_effect_is_refused(overrides, message: str, compose) -> None:
    with pytest.raises(UserError) as stopped:
        compose("data=chest_xray", *overrides)
    assert message in str(stopped.value)
