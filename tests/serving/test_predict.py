from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrlab.errors import UserError
from cxrlab.predict import predict_files
from cxrlab.serving.inputs import find_images

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


def test_a_csv_file_lists_images_relative_to_itself_each_once(scans: Path) -> None:
    table = scans / "list.csv"
    table.write_text(f"path;site\na.jpeg;x\n{scans / 'b.png'};y\na.jpeg;x\ngone.png;z\n")
    found = find_images(str(table))
    assert found == [scans / "a.jpeg", scans / "b.png", scans / "gone.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.png\n", "no column 'path'"),
        ("path,site\n,x\n", "row 2: no path"),
        ("path\n", "a header and no row"),
        ("", "the table is empty"),
    ],
)
def test_a_list_that_is_none_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        find_images(str(tmp_path / "list.csv"))


def test_a_table_is_continued_with_the_files_that_it_lacks(trained_run, tmp_path: Path) -> None:
    files = sorted((trained_run.images / "test").rglob("*.jpeg"))
    output = tmp_path / "table.csv"
    predict_files([trained_run.checkpoint], files[:5], output)
    first = output.read_bytes()
    predict_files([trained_run.checkpoint], files, output)
    assert output.read_bytes().startswith(first)
    assert pd.read_csv(output)["path"].tolist() == [str(file) for file in files]
    whole = output.read_bytes()
    predict_files([trained_run.checkpoint], files, output)
    assert output.read_bytes() == whole


def test_heat_maps_lie_beside_the_table_and_nowhere_else(trained_run, tmp_path: Path) -> None:
    image = next((trained_run.images / "test").rglob("*.jpeg")).read_bytes()
    odd = tmp_path / "scans" / "%2f.. <b>x.jpeg"
    for file in (odd, tmp_path / "scans" / "other" / odd.name):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image)
    output = tmp_path / "there" / "table.csv"
    files = find_images(str(tmp_path / "scans"))
    predict_files([trained_run.checkpoint], files, output, method="gradcam")
    table = pd.read_csv(output)
    assert table["heatmap"].nunique() == 2
    drawn = [output.parent / name for name in table["heatmap"]]
    assert sorted((output.parent / "table_heatmaps").iterdir()) == sorted(drawn)
    height, width = cv2.imread(str(drawn[0])).shape[:2]
    assert width == 2 * height
    found = sorted(f.name for f in tmp_path.rglob("*") if f.is_file() and f.suffix == ".png")
    assert found == sorted(file.name for file in drawn)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_five_times_nothing_is_lost_or_done_twice(trained_run, tmp_path: Path) -> None:
    images = sorted((trained_run.images / "test").rglob("*.jpeg"))
    folder, output, files = tmp_path / "many", tmp_path / "table.csv", 5000
    folder.mkdir()
    for number in range(files):
        (folder / f"{number:05d}.jpeg").symlink_to(images[number % len(images)])
    command = [
        sys.executable, "-m", "cxrlab.predict", f"run={trained_run.output}", f"input={folder}",
        f"output={output}",
    ]  # fmt: skip
    rng, begun = random.Random(5), 0
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = begun + rng.randint(1, 600)
        while (begun := _lines(output)) < wanted:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        process.kill()
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    table = pd.read_csv(output)
    assert table["path"].tolist() == [str(folder / f"{n:05d}.jpeg") for n in range(files)]
    assert table["probability"].notna().all()
    same = table.groupby(np.arange(files) % len(images))["probability"].agg(np.ptp)
    assert same.max() < 1e-5


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


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


def test_a_method_of_one_layer_is_refused_for_several_runs(compose) -> None:
    several = ("run=[a,b]", "input=scans", "heatmaps=true")
    with pytest.raises(UserError, match="method=gradcam: several runs have no last layer"):
        compose(*several, "method=gradcam", command="predict")
    assert compose(*several, command="predict").method == "integrated_gradients"
