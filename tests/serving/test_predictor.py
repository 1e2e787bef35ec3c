from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cxrlab.errors import UserError
from cxrlab.evaluation.predictions import read_predictions
from cxrlab.model.classifier import Classifier
from cxrlab.serving import stream as streaming
from cxrlab.serving.gate import Gate
from cxrlab.serving.predictor import NEAR, Predictor
from cxrlab.task import Task

SCORES = ["logit", "probability", "calibrated"]


def test_new_predictions_are_those_of_the_evaluation(trained_run, predictor) -> None:
    known = read_predictions(trained_run.output / "predictions/test.csv")
    table = predictor.predict([trained_run.images / path for path in known["path"]])
    np.testing.assert_allclose(table[SCORES], known[SCORES], atol=1e-4)
    assert table["decision"].tolist() == known["decision"].tolist()
    assert known["decision"].nunique() == 2, "a test that could not fail"


def test_the_rows_are_in_the_order_of_the_files(trained_run, predictor) -> None:
    files = sorted((trained_run.images / "test").rglob("*.jpeg"))
    forwards = predictor.predict(files).iloc[::-1].reset_index(drop=True)
    backwards = predictor.predict(files[::-1])
    assert backwards["path"].tolist() == [str(f) for f in files[::-1]]
    pd.testing.assert_frame_equal(forwards, backwards, check_exact=False, atol=1e-5)


def test_an_unreadable_file_is_named_and_stops_no_other(
    trained_run, predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = sorted((trained_run.images / "test").rglob("*.jpeg"))
    empty, cut = tmp_path / "empty.png", tmp_path / "cut.jpeg"
    empty.touch()
    cut.write_bytes(good[0].read_bytes()[:-40])
    files = [*good[:3], empty, *good[3:], cut, tmp_path / "missing.png"]
    table = predictor.predict(files).set_index("path")
    bad = table[table["error"] != ""]
    assert bad.index.tolist() == [str(empty), str(cut), str(tmp_path / "missing.png")]
    assert bad["error"].iloc[0] == "empty file"
    assert bad[[*SCORES, "decision"]].isna().all(axis=None)
    alone = predictor.predict(good).set_index("path")
    pd.testing.assert_frame_equal(table.drop(index=bad.index), alone, check_exact=False, atol=1e-5)
    assert "3 files can't be read" in caplog.text
    assert "cut.jpeg: cut short" in caplog.text


@pytest.mark.parametrize(
    ("task", "decisions"),
    [
        (Task.exclusive(("a", "b", "c")), ["decision"]),
        (
            Task.multilabel(("a", "b", "c")),
            [f"{what}_{name}" for what in ("decision", "threshold") for name in "abc"],
        ),
    ],
    ids=["multiclass", "multilabel"],
)
def test_every_class_has_its_columns(
    task: Task, decisions: list[str], trained_run, tmp_path: Path
) -> None:
    checkpoint = _checkpoint(task, trained_run.checkpoint, tmp_path / "best.ckpt")
    file = next((trained_run.images / "test").rglob("*.jpeg"))
    table = Predictor.load(checkpoint, torch.device("cpu")).predict([file, tmp_path / "no.png"])
    scores = [f"{kind}_{name}" for kind in SCORES for name in task.classes]
    assert table.columns.tolist() == ["path", *scores, *decisions, "verdict", "reason", "error"]
    assert table[[*scores, *decisions]].isna().all(axis=1).tolist() == [False, True]


def test_the_number_of_threads_of_the_caller_is_left_alone(trained_run, predictor) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        predictor.predict(sorted((trained_run.images / "test").rglob("*.jpeg")))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_no_more_files_are_in_flight_than_a_few_batches(trained_run, predictor, monkeypatch):
    """Memory stays the same however many files there are."""
    alive, most = 0, 0
    files = [next(trained_run.images.rglob("*.jpeg"))] * 400

    def count(predictor: Predictor, file: Path) -> str:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return "not read"

    monkeypatch.setattr(streaming, "_decode", count)
    for rows in streaming.stream(predictor, files):
        alive -= len(rows)
    assert 0 < most < 200


def test_a_refused_image_gets_a_reason_and_no_number(trained_run, predictor, monkeypatch) -> None:
    good = sorted((trained_run.images / "test").rglob("*.jpeg"))[:3]
    nothing = np.zeros(256, np.float32)
    gate = Gate(nothing, nothing[None], nothing[:1] + 1, rest=1.0, limit=1.0, detail=0.0)
    bad = predictor.decode(good[1].read_bytes(), good[1].name).pixels
    monkeypatch.setattr(
        Gate, "refusal", lambda _, image: "blank" if np.array_equal(image.pixels, bad) else ""
    )
    guarded = replace(predictor, gate=gate)
    table = guarded.predict(good)
    found = table.iloc[[1]]
    assert "abstain" not in table["verdict"].iloc[[0, 2]].tolist()
    assert guarded.predict(good, gate=False)["probability"].notna().all()
    assert found["verdict"].tolist() == ["abstain"]
    assert found["reason"].tolist() == ["blank"]
    assert found[[*SCORES, "decision", "threshold"]].isna().all(axis=None)
    assert found["error"].tolist() == [""]


def test_what_lies_near_the_threshold_is_for_review(trained_run, predictor) -> None:
    files = sorted((trained_run.images / "test").rglob("*.jpeg"))
    logits = predictor.predict(files)["logit"].to_numpy()
    (cut,) = predictor.point.cuts
    distance = np.abs(logits - np.log(cut / (1 - cut)))
    margin = float(np.median(distance))
    careful = replace(predictor, point=replace(predictor.point, margin=margin))
    table = careful.predict(files)
    near = distance < margin
    assert table["verdict"].tolist() == ["review" if n else "decide" for n in near]
    assert table["reason"].tolist() == [NEAR if n else "" for n in near]
    assert table["decision"].notna().all()
    assert 0 < near.sum() < len(files)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), "no such checkpoint"),
        (lambda file: file.write_bytes(b"PK nothing"), "damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:9000]), "damaged"),
        (lambda file: _without_point(file), "has not finished"),
    ],
    ids=["missing", "nonsense", "cut short", "unfinished"],
)
def test_a_checkpoint_that_is_of_no_use_is_one_line(
    spoil, message: str, trained_run, tmp_path: Path
) -> None:
    file = tmp_path / "best.ckpt"
    file.write_bytes(trained_run.checkpoint.read_bytes())
    spoil(file)
    with pytest.raises(UserError, match=message) as caught:
        Predictor.load(file, torch.device("cpu"))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def _without_point(file: Path) -> None:
    saved = torch.load(file, weights_only=True)
    del saved["operating_point"]
    torch.save(saved, file)


def _checkpoint(task: Task, like: Path, file: Path) -> Path:
    saved = torch.load(like, weights_only=True)
    arguments = saved["hyper_parameters"] | {
        "task": task.kind,
        "classes": list(task.classes),
        "class_weights": [1.0] * task.outputs,
    }
    saved["hyper_parameters"] = arguments
    saved["state_dict"] = Classifier(**arguments).state_dict()
    cuts = [] if task.kind == "multiclass" else [0.5] * task.outputs
    saved["operating_point"]["thresholds"] = [
        {"value": cut, "rule": "0.5", "origin": "given"} for cut in cuts
    ]
    torch.save(saved, file)
    return file
