from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.evaluation import evaluation_config

from cxrlab.augmentation.shifts import ShiftedPass
from cxrlab.data.manifest import Manifest
from cxrlab.errors import UserError
from cxrlab.evaluation import stage
from cxrlab.evaluation.calibration import fit_temperature
from cxrlab.evaluation.operating_point import margins
from cxrlab.evaluation.predictions import read_predictions, scores
from cxrlab.evaluation.threshold import choose_threshold
from cxrlab.task import Task

CONFIG = evaluation_config(bootstrap=200)
FINDINGS = Task.multilabel(("Effusion", "Mass", "Hernia"))
TASKS = {
    "binary": Task.exclusive(("NORMAL", "PNEUMONIA")),
    "multiclass": Task.exclusive(("NORMAL", "BACTERIA", "VIRUS")),
    "multilabel": FINDINGS,
}


def study(make_rows, task: Task, size: int = 40) -> tuple[Manifest, dict[str, np.ndarray]]:
    rng = np.random.default_rng(4)
    rows, logits = [], {}
    for split in ("val", "test"):
        if task.kind == "multilabel":
            target = rng.integers(0, 2, (size, 3)).astype(float)
            logits[split] = 2 * target + rng.normal(size=target.shape) - 1
            target[rng.random(target.shape) < 0.3] = np.nan
        else:
            target = np.arange(size) % len(task.classes)
            own = np.eye(len(task.classes))[target][:, -task.outputs :]
            logits[split] = np.squeeze(2 * own + rng.normal(size=own.shape) - 1)
        rows.append(make_rows(target, task, split))
    return Manifest("study", Path(), task, pd.concat(rows, ignore_index=True)), logits


@pytest.mark.parametrize("kind", TASKS)
def test_a_run_is_evaluated_and_written(make_rows, tmp_path: Path, kind: str) -> None:
    task = TASKS[kind]
    manifest, logits = study(make_rows, task)
    evaluation = stage.evaluate(manifest, logits, "youden", CONFIG)
    assert len(evaluation.point.cuts) == {"binary": 1, "multiclass": 0, "multilabel": 3}[kind]
    assert len(asdict(evaluation.point)["thresholds"]) == len(evaluation.point.cuts)
    assert evaluation.values()["test/auroc"] > 0.8
    table = evaluation.tables["test"]
    probability = scores(table, task, "probability")
    expected = (
        probability.argmax(axis=1)
        if kind == "multiclass"
        else probability >= np.array(evaluation.point.cuts)
    )
    decided = table.filter(regex="^decision").to_numpy(dtype=int)
    np.testing.assert_array_equal(decided, np.reshape(expected, decided.shape))
    stage.write(evaluation, tmp_path, draws=200)
    for split, table in evaluation.tables.items():
        read = read_predictions(tmp_path / "predictions" / f"{split}.csv")
        pd.testing.assert_frame_equal(read, table, check_exact=True)
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"roc", "val_roc", "confusion_matrix", "scores"} <= drawn
    assert ("decision_curve" in drawn) == (kind == "binary")


def test_findings_are_chosen_on_known_validation_entries(make_rows) -> None:
    manifest, logits = study(make_rows, FINDINGS)
    point = stage.evaluate(manifest, logits, "sensitivity:0.9", CONFIG).point
    truth = FINDINGS.targets(manifest.split("val"))
    known = ~np.isnan(truth)
    assert point.calibration.temperature == pytest.approx(
        fit_temperature(logits["val"][known], truth[known])
    )
    for index, threshold in enumerate(point.thresholds):
        score = 1 / (1 + np.exp(-logits["val"][known[:, index], index]))
        alone = choose_threshold("sensitivity:0.9", truth[known[:, index], index], score)
        assert threshold.value == pytest.approx(alone.value)
        assert threshold.origin == "val"


def test_output_that_is_no_number_is_said_to_the_user(make_rows) -> None:
    manifest, logits = study(make_rows, TASKS["binary"])
    logits["val"][3] = np.nan
    with pytest.raises(UserError, match=r"first val/3\.png"):
        stage.evaluate(manifest, logits, "youden", CONFIG)


def test_shifted_images_move_the_operating_point_and_are_told_of(make_rows, tmp_path: Path) -> None:
    manifest, logits = study(make_rows, TASKS["binary"])
    # Elsewhere every score is higher: the threshold has to lie higher than plain images want it.
    shifted = [
        ShiftedPass(["lighter"] * 40, logits["val"] + 2),
        ShiftedPass(["coarse"] * 40, logits["val"] + 2.5),
    ]
    plain = stage.evaluate(manifest, logits, "youden", CONFIG)
    moved = stage.evaluate(manifest, logits, "youden", CONFIG, shifted)
    together = np.concatenate([logits["val"], *(found.logits for found in shifted)])
    target = np.tile(manifest.split("val")["target"].to_numpy(), 3)
    expected = choose_threshold("youden", target, 1 / (1 + np.exp(-together)))
    assert moved.point.cuts == pytest.approx((expected.value,))
    assert moved.point.cuts[0] > plain.point.cuts[0]
    assert moved.point.thresholds[0].origin == "val and val_shifted"
    assert moved.point.calibration.temperature == fit_temperature(together, target)
    table = moved.tables["val_shifted"]
    assert table.groupby("shift", sort=False).size().to_dict() == {"lighter": 40, "coarse": 40}
    np.testing.assert_allclose(table.loc[table["shift"] == "coarse", "logit"], shifted[1].logits)
    stage.write(moved, tmp_path, draws=200)
    groups = pd.read_csv(tmp_path / "evaluation" / "subgroups_val_shifted.csv")
    assert {"lighter", "coarse"} <= set(groups["group"])


@pytest.mark.parametrize("kind", TASKS)
def test_the_share_of_validation_nearest_to_another_decision_is_for_review(
    make_rows, kind: str
) -> None:
    manifest, logits = study(make_rows, TASKS[kind])
    point = stage.evaluate(manifest, logits, "youden", CONFIG).point
    found = margins(logits["val"].reshape(40, -1), point.cuts)
    assert np.mean(found < point.margin) == pytest.approx(CONFIG.review)


def test_margins_by_hand() -> None:
    binary = margins(np.array([[2.0], [-1.0]]), (1 / (1 + np.exp(-0.5)),))
    np.testing.assert_allclose(binary, [1.5, 1.5])
    three = margins(np.array([[3.0, 1.0, 2.5], [0.0, 0.0, -4.0]]), ())
    np.testing.assert_allclose(three, [0.5, 0.0])
    findings = margins(np.array([[3.0, -0.2], [-5.0, 9.0]]), (0.5, 0.5))
    np.testing.assert_allclose(findings, [0.2, 5.0])
    assert np.isfinite(margins(np.array([[0.0]]), (0.0,))).all()
