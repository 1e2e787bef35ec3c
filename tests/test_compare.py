from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.compared import FINDINGS, THREE, TWO, write_run
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from cxrlab.compare import compare
from cxrlab.config.commands import CompareConfig
from cxrlab.config.paths import conf_dir
from cxrlab.config.validate import validate
from cxrlab.errors import UserError
from cxrlab.serving.runs import find_folders
from cxrlab.task import Task
from cxrlab.tracking.find import OUTPUT_TAG
from cxrlab.tracking.store import Store, open_store

FILES = ("comparison.csv", "comparison.json", "comparison.png")

_LIGHT = """
import sys
import cxrlab.compare
from cxrlab.serving.runs import find_folders
from cxrlab.config.commands import CompareConfig
from cxrlab.config.schema import TrackingConfig
tracking = TrackingConfig(
    enabled=False, uri=None, experiment="x", name=None, patient_ids="plain", log_model=False,
    grace=0,
)
config = CompareConfig(runs=sys.argv[1:], split="test", bootstrap=0, tracking=tracking)
assert len(find_folders(config.runs, config.tracking)) == 2
heavy = {"torch", "mlflow", "pandas", "matplotlib"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def configured(*overrides: str) -> CompareConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return validate(compose("compare", list(overrides)), CompareConfig)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    return open_store(f"sqlite:///{folder}/mlflow.db", folder)


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "one", size=60),
        write_run(tmp_path / "two", size=60, quality=3.0, seed=4, backbone="resnet50"),
    ]


def _found(config: CompareConfig) -> list[Path]:
    return find_folders(config.runs, config.tracking, key="runs")


def tracked(store: Store, folder: Path) -> str:
    """Let the store know a finished run of this folder."""
    client = store.client()
    run_id = client.create_run("0").info.run_id
    client.set_tag(run_id, OUTPUT_TAG, str(folder))
    client.set_terminated(run_id, "FINISHED")
    (folder / "config/run_id.txt").write_text(run_id)
    return run_id


def test_the_bare_command_says_what_it_needs() -> None:
    with pytest.raises(UserError, match=r"^runs=.*two runs at least; give runs=\[RUN,RUN\]$"):
        configured()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("runs=[one]", "two runs at least"),
        ("runs=one", "two runs at least"),
        ("runs=null", "two runs at least"),
        ("runs=[one,two,one]", "one is named twice; name each run once"),
        ("runs=[12e4,latest]", "a run id was read as a number; quote it"),
        ("runs=[one,two] split=train", "split=train: not a choice"),
        ("runs=[one,two] bootstrap=100", "no 2.5 % tail worth telling"),
    ],
)
def test_a_wrong_command_line_is_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        configured(*override.split(" "))
    assert "\n" not in str(caught.value)


def test_an_id_of_digits_alone_is_an_id() -> None:
    assert configured("runs=[12345678,latest]").runs == ("12345678", "latest")


def test_runs_are_found_by_id_prefix_latest_and_folder(store: Store, pair: list[Path]) -> None:
    one, two = (tracked(store, folder) for folder in pair)
    known = ["tracking=local", f"tracking.uri={store.uri}"]
    for names in ([one, "latest"], [one[:12], two], [str(pair[0]), two]):
        assert _found(configured(f'runs=["{names[0]}","{names[1]}"]', *known)) == pair
    for name in (str(pair[1]), "latest", f"{pair[0]}/../two"):
        with pytest.raises(UserError, match=r"are the same run; name each run once"):
            _found(configured(f'runs=["{two}","{name}"]', *known))
    with pytest.raises(UserError, match=r"^runs=nosuch: neither a folder nor a run in "):
        _found(configured(f"runs=[{two},nosuch]", *known))


@pytest.mark.parametrize("task", [TWO, THREE, FINDINGS], ids=lambda task: task.kind)
def test_without_tracking_the_folder_holds_everything(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        write_run(tmp_path / name, task=task, size=60, backbone=name) for name in ("one", "two")
    ]
    output = tmp_path / "output"
    output.mkdir()
    config = configured("runs=[one,two]", "tracking=none", "bootstrap=200")
    found = compare(config, folders, output)
    assert [len(system.runs) for system in found.systems] == [1, 1]
    assert {file.name for file in output.iterdir()} == {*FILES, "metrics.csv"}
    table = pd.read_csv(output / "comparison.csv")
    assert set(table["system"]) == {"one", "two"}
    assert json.loads((output / "comparison.json").read_text())["draws"] == 200
    with Image.open(output / "comparison.png") as image:
        assert image.width > 1000
    assert "B against A" in capsys.readouterr().out


def test_the_comparison_is_a_run_of_its_own(store: Store, pair: list[Path], tmp_path: Path) -> None:
    ids = [tracked(store, folder) for folder in pair]
    output = tmp_path / "output"
    output.mkdir()
    config = configured("runs=[one,two]", f"tracking.uri={store.uri}", "bootstrap=200")
    found = compare(config, pair, output)
    client = store.client()
    experiment = client.get_experiment_by_name(config.tracking.experiment)
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id])[0]
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("compare mobilenetv2_100 vs resnet50 ")
    assert run.data.tags["cxrlab.compared"] == ",".join(ids)
    assert {"cxrlab.command", "cxrlab.git_commit", "cxrlab.version"} <= run.data.tags.keys()
    assert OUTPUT_TAG not in run.data.tags, "latest would mean it"
    assert run.data.params["split"] == "test"
    contrast = found.systems[1].contrast("auroc")
    assert contrast is not None
    assert run.data.metrics["B-A/auroc"] == contrast.difference
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= set(FILES)


def test_a_run_that_has_not_finished_is_one_line(pair: list[Path], tmp_path: Path) -> None:
    (pair[1] / "evaluation/results.json").unlink()
    config = configured("runs=[one,two]", "tracking=none")
    with pytest.raises(UserError, match=r"two holds no evaluation/results\.json: its run has not"):
        compare(config, pair, tmp_path)


def test_the_runs_are_left_as_they_were(pair: list[Path], tmp_path: Path) -> None:
    def content() -> dict[Path, bytes]:
        files = (f for folder in pair for f in folder.rglob("*") if f.is_file())
        return {file: file.read_bytes() for file in files}

    before = content()
    output = tmp_path / "output"
    output.mkdir()
    compare(configured("runs=[one,two]", "tracking=none", "bootstrap=0"), pair, output)
    assert content() == before


def test_runs_are_found_before_anything_heavy_is_imported(pair: list[Path]) -> None:
    done = _python("-c", _LIGHT, *map(str, pair))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_command_ends_with_the_folder(pair: list[Path], tmp_path: Path) -> None:
    done = _python("-m", "cxrlab.compare", "runs=[one,two]", "tracking=none", "bootstrap=200")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    assert folder.is_relative_to(tmp_path / "outputs")
    assert set(FILES) <= {file.name for file in folder.iterdir()}
    assert "B against A" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "runs=[]: a comparison needs two runs"),
        (["runs=[one,./one]"], "one and ./one are the same run"),
        (["runs=[one,three]"], "one predicts the classes NORMAL, PNEUMONIA, three the classes"),
        (["runs=[one,nosuch]"], "runs=nosuch: no such folder"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], message: str, pair: list[Path], tmp_path: Path
) -> None:
    write_run(tmp_path / "three", task=THREE, size=60)
    done = _python("-m", "cxrlab.compare", *arguments, "tracking=none", "bootstrap=0")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=dict(os.environ)
    )
