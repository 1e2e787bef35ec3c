from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.trained import TrainedRun

import cxrlab.exporting.export as exporting
from cxrlab.errors import UserError
from cxrlab.exporting import check
from cxrlab.exporting.check import run_scores
from cxrlab.exporting.export import INT8, RUN, Export, export
from cxrlab.exporting.formats import FORMATS
from cxrlab.exporting.images import phantoms
from cxrlab.exporting.summary import print_export
from cxrlab.report.finished import read_run
from cxrlab.serving.predictor import Predictor

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module", autouse=True)
def _briefly_timed():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def exported(trained_run: TrainedRun, tmp_path_factory, tiny_export) -> tuple[Export, Path]:
    output = tmp_path_factory.mktemp("files")
    config = tiny_export("format=[onnx,torchscript,pt2]", "int8=true", "int8_loss=0.5")
    return export(config, read_run(trained_run.output), "a run", output), output


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_a_file_says_what_the_run_says_in_batches_of_any_size(
    name: str, batch: int, exported, trained_run: TrainedRun
) -> None:
    predictor = Predictor.load(trained_run.checkpoint, torch.device("cpu"))
    pixels = phantoms(predictor, batch)
    expected = run_scores(predictor, pixels)
    file = exported[1] / f"model{FORMATS[name].suffix}"
    logit, probability, calibrated = FORMATS[name].open(file)(pixels)
    assert logit.shape == (batch,)
    np.testing.assert_allclose(probability, expected.probability, atol=1e-4)
    np.testing.assert_allclose(calibrated, expected.calibrated, atol=1e-4)


def test_what_was_compared_is_told(exported, trained_run: TrainedRun) -> None:
    found, output = exported
    assert [file.name for file in found.files] == [RUN, "onnx", INT8, "torchscript", "pt2"]
    assert found.validation + found.phantoms == 100, "a tiny dataset, filled up"
    assert 0 < found.validation == (read_run(trained_run.output).manifest["split"] == "val").sum()
    run, *files = found.files
    assert (run.difference, run.changed) == (0, 0)
    for file in files:
        assert file.file.parent == output
        assert file.megabytes == file.file.stat().st_size / 1e6
        assert file.single_ms > 0
        if file.name != INT8:
            assert file.difference <= 1e-4
            assert file.auroc == pytest.approx(run.auroc)
    told = json.loads((output / "export.json").read_text())
    assert [file["name"] for file in told["files"]] == [file.name for file in found.files]
    assert told["run"] == "a run"


def test_eight_bits_are_smaller_and_not_the_same(exported) -> None:
    by_name = {file.name: file for file in exported[0].files}
    assert by_name[INT8].megabytes < 0.5 * by_name["onnx"].megabytes
    assert 0 < by_name[INT8].difference < 0.5


@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx", "model.pt", "model.pt2"])
def test_a_file_carries_what_is_done_before_and_after_it(file: str, exported, trained_run) -> None:
    predictor = Predictor.load(trained_run.checkpoint, torch.device("cpu"))
    told = _description(exported[1] / file)
    assert told["task"] == {"kind": "binary", "classes": ["NORMAL", "PNEUMONIA"]}
    assert told["image_size"] == predictor.image_size
    assert told["preprocess"]["percentiles"] == [1, 99]
    assert told["operating_point"]["thresholds"][0]["value"] == predictor.point.cuts[0]


def test_a_file_that_differs_is_not_kept(
    trained_run: TrainedRun, tiny_export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pt2 = FORMATS["pt2"]

    def write(graph, example, description, file: Path) -> None:
        with torch.no_grad():
            bias = graph.network[1].layers[-1].bias
            bias += 0.05
            pt2.write(graph, example, description, file)
            bias -= 0.05

    monkeypatch.setitem(exporting.FORMATS, "pt2", replace(pt2, write=write))
    with pytest.raises(UserError, match=r"format=pt2: a probability differs .* not kept; take"):
        export(tiny_export("format=pt2"), read_run(trained_run.output), "", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_a_format_can_not_hold_is_one_line(
    trained_run: TrainedRun, tiny_export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object) -> None:
        raise NotImplementedError("no such\noperator")

    monkeypatch.setitem(exporting.FORMATS, "pt2", replace(FORMATS["pt2"], write=write))
    with pytest.raises(UserError, match=r"format=pt2: can't hold this network .*no such operator"):
        export(tiny_export("format=pt2"), read_run(trained_run.output), "", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_dataset_phantoms_are_compared_and_nothing_is_said_of_auroc(
    trained_run: TrainedRun, tiny_export, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = read_run(trained_run.output)
    gone = {**run.config, "data": {**run.config["data"], "root": str(tmp_path / "gone")}}
    run = replace(run, config=gone)
    found = export(tiny_export("format=pt2"), run, "", tmp_path / "out")
    assert (found.validation, found.phantoms) == (0, 100)
    assert {file.auroc for file in found.files} == {None}
    assert "checked on phantoms alone" in caplog.text
    with pytest.raises(UserError, match="gone"):  # eight bits need training images
        export(tiny_export("format=onnx", "int8=true"), run, "", tmp_path / "int8")


def test_eight_bits_that_lose_too_much_are_not_kept(
    trained_run: TrainedRun, tiny_export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruin(source: Path, target: Path, images, description) -> None:
        model = onnx.load(source)
        last = next(
            w for w in model.graph.initializer if list(w.dims)[:1] == [1] and len(w.dims) == 2
        )
        turned = -onnx.numpy_helper.to_array(last)
        last.CopyFrom(onnx.numpy_helper.from_array(turned, last.name))
        onnx.save(model, target)

    monkeypatch.setattr(exporting, "quantise", ruin)
    with pytest.raises(UserError, match=r"int8=true: ROC-AUC on validation falls by .* not kept"):
        export(tiny_export("int8=true"), read_run(trained_run.output), "", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_the_table_has_a_row_a_file(exported, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    print_export(exported[0], Console(width=80))
    printed = capsys.readouterr().out
    for file in exported[0].files:
        assert re.search(rf"^ *{file.name} +{file.megabytes:.1f} ", printed, re.MULTILINE)
    assert f"{exported[0].validation} validation images and" in printed


@pytest.mark.slow
def test_the_command_prints_the_folder(trained_run: TrainedRun, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cxrlab.export", f"run={trained_run.output}", "tracking=none",
         f"output={tmp_path / 'out'}", "format=pt2"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out")
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["export.json", "model.pt2"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("format=tflite", "tflite"),
        ("images=99", "at least 100"),
        ("format=pt2 int8=true", "only ONNX has eight bits"),
    ],
)
def test_what_can_not_be_is_one_line(override: str, message: str, compose) -> None:
    with pytest.raises(UserError, match=message):
        compose(*override.split(" "), command="export")


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from cxrlab import export as command

    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cxrlab\[export\]'"):
        command.check_installed(("pt2", "onnx"))
    command.check_installed(("pt2",))


def _description(file: Path) -> dict:
    if file.suffix == ".onnx":
        (entry,) = (e for e in onnx.load(file).metadata_props if e.key == "cxrlab")
        return json.loads(entry.value)
    extra = {"cxrlab.json": ""}
    opener = torch.jit.load if file.suffix == ".pt" else torch.export.load
    key = "_extra_files" if file.suffix == ".pt" else "extra_files"
    opener(file, **{key: extra})
    return json.loads(extra["cxrlab.json"])
