from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cxrlab.errors import UserError
from cxrlab.predict import find_images, predict_files

_LIGHT = """
import sys
import cxrlab.predict
cxrlab.predict.find_images(sys.argv[1])
heavy = {"torch", "mlflow", "pytorch_lightning", "timm"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    for name in ("b.png", "a.jpeg", "deep/er/c.DCM", "notes.txt", ".hidden.png"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def _names(found: list[Path], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in found]


def test_a_folder_means_all_images_below_it(scans: Path) -> None:
    assert _names(find_images(str(scans)), scans) == ["a.jpeg", "b.png", "deep/er/c.DCM"]


def test_a_glob_means_what_it_matches_and_a_file_itself(scans: Path) -> None:
    assert _names(find_images(f"{scans}/*.png"), scans) == ["b.png"]
    assert _names(find_images(f"{scans}/**/*.DCM"), scans) == ["deep/er/c.DCM"]
    assert find_images(f"{scans}/notes.txt") == [scans / "notes.txt"]


@pytest.mark.parametrize("named", ["nowhere", "*.png", "empty"])
def test_nothing_found_is_one_line(named: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"^input=.*; give .*$"):
        find_images(named)


def test_if_no_file_can_be_read_the_table_says_why(trained_run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.touch()
    output = tmp_path / "there" / "table.csv"
    with pytest.raises(UserError, match=r"none of 1 files can be read, first .*: empty file"):
        predict_files([trained_run.checkpoint], [bad], output)
    assert pd.read_csv(output)["error"].tolist() == ["empty file"]


def test_images_are_found_before_torch_is_imported(scans: Path) -> None:
    done = _python("-c", _LIGHT, str(scans))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_command_writes_a_table_and_says_where(trained_run, tmp_path: Path) -> None:
    images = trained_run.images / "test"
    done = _python("-m", "cxrlab.predict", f"run={trained_run.output}", f"input={images}")
    assert done.returncode == 0, done.stderr
    file = Path(done.stdout.splitlines()[-1])
    assert file.is_relative_to(tmp_path)
    table = pd.read_csv(file)
    assert len(table) == len(list(images.rglob("*.jpeg")))
    assert table["probability"].between(0, 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["input=nowhere"], "input=nowhere: no such file"),
        ([], "input=null: names no images"),
        (["input={images}", "run={tmp}"], "holds no checkpoints/best.ckpt"),
        (["input={images}", "run=nosuchrun", "tracking=none"], "run=nosuchrun: no such folder"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], message: str, trained_run, tmp_path: Path
) -> None:
    filled = [a.format(images=trained_run.images, tmp=tmp_path) for a in arguments]
    done = _python("-m", "cxrlab.predict", *filled)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=dict(os.environ)
    )
