"""The script on what maps of trained models are worth: its models, labels and tables."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import commands
import measure_explanations
from cxrlab.explanation.quality.files import JSON, TABLE
from cxrlab.layout import RESULTS_FILE
from measure_explanations import Model, markdown, measure, models, shuffle_labels, verdict

SMALL = (
    "data.images=60", "data.image_size=32", "model.backbone=resnet10t", "model.weights=none",
    "trainer.max_epochs=1",
)  # fmt: skip
QUICK = ("methods=[input_x_gradient]", "cases=4", "checked_cases=0", "curve_steps=4")


def test_a_row_a_method_and_a_column_a_measure_that_any_has(tmp_path: Path) -> None:
    file = tmp_path / TABLE
    file.write_text(
        "method,measure,value,low,high\n"
        "occlusion,pointing_game,0.9,0.75,1\n"
        "occlusion,completeness_error,,,\n"
        "chance,pointing_game,0.05,,\n"
    )
    assert markdown(file).splitlines() == [
        "| method | pointing_game |",
        "| --- | --- |",
        "| occlusion | 0.90 (0.75-1.00) |",
        "| chance | 0.05 |",
    ]


def test_the_verdict_is_what_the_page_says(tmp_path: Path) -> None:
    file = tmp_path / JSON
    file.write_text(json.dumps({"verdict": [{"tone": "ok", "title": "Skill", "text": "It has."}]}))
    assert verdict(file) == "- ok: Skill. It has."


def test_every_model_is_trained_and_explained_once_by_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, ...]] = []
    monkeypatch.setattr(commands, "run", lambda *line: lines.append(line))
    for name in ("verdict", "markdown"):
        monkeypatch.setattr(measure_explanations, name, lambda file: "")
    (tmp_path / "random" / RESULTS_FILE).parent.mkdir(parents=True)
    (tmp_path / "random" / RESULTS_FILE).touch()
    for name in ("lesions", "random"):
        measure(name, models(tmp_path, "resnet18", 8)[name], tmp_path, ["seed=1"], ["cases=2"])
    assert [(line[0], line[1].removeprefix(f"hydra.run.dir={tmp_path}/")) for line in lines] == [
        ("train", "lesions"), ("explain", "lesions/quality"), ("explain", "lesions/marked"),
        ("explain", "random/quality"),
    ]  # fmt: skip
    assert [line[-1] for line in lines] == ["seed=1", *["cases=2"] * 3]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_is_explained_and_its_labels_are_shuffled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lesions = Model(("data=phantom",), {"quality": ()})
    measure("lesions", lesions, tmp_path, SMALL, QUICK)
    assert "| input_x_gradient |" in capsys.readouterr().out
    shuffle_labels(tmp_path / "lesions", tmp_path / "shuffled.csv")
    table = pd.read_csv(tmp_path / "shuffled.csv").fillna("")
    assert all(Path(path).is_file() for path in table["path"])
    truly = table["mask"].ne("").map({True: "PNEUMONIA", False: "NORMAL"})
    assert table["label"].value_counts().to_dict() == truly.value_counts().to_dict()
    assert 0.2 < (table["label"] == truly).mean() < 0.8
    measure("shuffled", models(tmp_path, "resnet18", 1)["shuffled"], tmp_path, SMALL[1:], QUICK)
    assert "| input_x_gradient |" in capsys.readouterr().out
