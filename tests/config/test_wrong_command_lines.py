"""What users mistype, and the one line that each of it prints."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

import cxrlab.config.app

SMALL = "data.images=20 data.image_size=16"  # phantoms that are drawn at once

# Command line -> words that its single line on stderr must hold: the key, the value, the remedy.
WRONG = {
    # unknown keys
    "optimizer.lrr=1": ["optimizer.lrr", "did you mean 'optimizer.lr'"],
    "+optimizer.lrr=1": ["optimizer.lrr", "1", "did you mean 'lr'"],
    "modell=resnet50": ["modell", "did you mean 'model'"],
    "trainer.epochs=3": ["trainer.epochs", "did you mean"],
    "+foo=1": ["foo", "1"],
    "data.root=x": ["data.root", "another choice of data"],
    "optimizer/foo=x": ["optimizer/foo", "did you mean 'optimizer'"],
    # unknown choices
    "model=mobilenet2": ["model=mobilenet2", "did you mean 'mobilenetv2'"],
    "data=chestxray": ["data=chestxray", "did you mean 'chest_xray'"],
    "augmentation=stong": ["augmentation=stong", "did you mean 'strong'"],
    "experiment=keras": ["experiment=keras", "did you mean 'keras_baseline'"],
    "trainer=tpu": ["trainer=tpu", "valid: auto, cpu, ddp, gpu, slurm"],
    "data=base": ["data", "data=phantom"],
    "optimizer.name=adm": ["optimizer.name=adm", "did you mean 'adam'"],
    "tracking.patient_ids=open": ["tracking.patient_ids=open", "valid: hashed, plain"],
    "data.name=foo": ["data.name", "foo", "phantom"],
    # wrong types
    "trainer.max_epochs=abc": ["trainer.max_epochs=abc", "integer"],
    "trainer.max_epochs=1.5": ["trainer.max_epochs=1.5", "integer"],
    "seed=null": ["seed=null", "integer"],
    "model.freeze_backbone=maybe": ["model.freeze_backbone=maybe", "boolean"],
    "augmentation.crop_scale=[0.5]": ["augmentation.crop_scale"],
    "optimizer.lr=fast": ["optimizer.lr=fast", "number"],
    "trainer.max_epochs=???": ["trainer.max_epochs"],
    # impossible values
    "trainer.max_epochs=0": ["trainer.max_epochs=0", "at least 1", "trainer.max_epochs=1"],
    "optimizer.lr=-1": ["optimizer.lr=-1", "greater than 0"],
    "model.dropout=1": ["model.dropout=1", "less than 1", "model.dropout=0.99"],
    "data.difficulty=2": ["data.difficulty=2", "at most 1", "data.difficulty=1"],
    "seed=-1": ["seed=-1", "seed=0"],
    "augmentation.crop_scale=[0.9,0.1]": ["augmentation.crop_scale", "range"],
    "augmentation.crop_scale=[0.9,1.5]": ["augmentation.crop_scale", "whole image"],
    "threshold=youdn": ["threshold=youdn", "youden"],
    "threshold=1.5": ["threshold=1.5"],
    "threshold=sensitivity:97": ["threshold=sensitivity:97"],
    # values that don't go together
    "data.fold=1": ["fold needs folds", "data.folds=5"],
    "data.fold=5 data.folds=5": ["fold=5", "0..4"],
    "data.split=random": ["data.split=random", "auto, official, file, site"],
    "data.split=file": ["split=file", "data.split_file=PATH"],
    "data.split=site": ["split=site", "data.site=NAME"],
    "data.split=official data.folds=5 data.fold=0": ["split=official", "split=auto"],
    f"data.split=official {SMALL}": ["data.split=official", "phantom", "data.split=auto"],
    "data.split=file data.split_file=/no/such.csv": ["data.split_file=/no/such.csv"],
    f"data.split=site data.site=X {SMALL}": ["data.site_column=site", "pattern"],
    "data.preprocess.percentiles=[99,1]": ["data.preprocess.percentiles", "range"],
    "data.preprocess.resize=crop": ["data.preprocess.resize=crop", "stretch, letterbox"],
    "data.preprocess.clahe=0": ["data.preprocess.clahe=0", "greater than 0"],
    "audit=off": ["audit=off", "valid: stop, warn"],
    "explanation.steps=512": ["explanation.max_steps=128", "explanation.max_steps=512"],
    "model.weights=imgnet": ["model.weights=imgnet", "did you mean 'imagenet'"],
    "model.weights=phantom model=resnet50": ["model.weights=phantom", "mobilenetv2_100"],
    # not a command line at all
    "trainer": ["'trainer'", "key=value"],
    "optimizer=[adam": ["optimizer=[adam", "key=value"],
    "~optimizer": ["optimizer is missing"],
    "seed=${nothing}": ["nothing"],
    # data that is not there
    "data=chest_xray data.root=/no/such/folder": [
        "/no/such/folder",
        "data.root=PATH",
        "CXRLAB_DATA",
    ],
    "data=nih_chestxray14": ["nih_chestxray14", "data.root=PATH", "CXRLAB_DATA"],
    "data=chexpert": ["chexpert", "data.root=PATH", "CXRLAB_DATA"],
    "data=rsna_pneumonia": ["rsna_pneumonia", "data.root=PATH", "CXRLAB_DATA"],
    "data=image_folder": ["data.root"],
    "data=image_folder data.root=/no/such/folder": ["/no/such/folder"],
    "data=image_folder data.root=. data.patient=x": ["data.patient=x", "group"],
    "data=csv": ["data.table"],
    "data=csv data.table=/no/such.csv": ["/no/such.csv"],
    "data=dicom_folder data.root=/no/such/folder": ["/no/such/folder"],
    "data=medmnist data.pixels=100": ["data.pixels=100"],
    "resume=nosuchrun": ["resume=nosuchrun", "cxrlab.ui"],
    "resume=26596556": ["resume=26596556", "cxrlab.ui"],  # an id, not a number
    "register=a/b": ["register=a/b"],
    "register=mine tracking=none": ["register=mine", "tracking=local or server"],
    # folders that can't be written
    "hydra.run.dir=/dev/null/run": ["/dev/null", "hydra.run.dir=PATH"],
    "data.cache=/dev/null/cache": ["/dev/null/cache", "CXRLAB_CACHE"],
}


def run_command(*overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # The store of these commands is the working directory's, never the checkout's.
    store = f"tracking.uri=sqlite:///{Path.cwd() / 'mlruns' / 'mlflow.db'}"
    return subprocess.run(
        [sys.executable, "-m", "cxrlab.train", store, *overrides],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_prints_one_line_and_exits_with_2(line: str) -> None:
    done = run_command(*line.split(" "))
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for words in WRONG[line]:
        assert words in lines[0]
    assert not list(Path.cwd().glob("mlruns/artifacts/*"))


# Importing one of these takes longer than everything that a refused command line needs.
HEAVY = {"torch", "pytorch_lightning", "mlflow", "sklearn", "scipy", "pandas", "cv2", "numpy"}


def _imported(command: str, *arguments: str) -> tuple[str, str]:
    """Exit status and heavy imports of a command, and what it printed."""
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['cxrlab.{command}', *{arguments}]\n"
        f"try: runpy.run_module('cxrlab.{command}', run_name='__main__')\n"
        "except SystemExit as stop: status = stop.code\n"
        f"print(status, sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    *printed, imported = done.stdout.strip().splitlines()
    return imported, "\n".join(printed)


@pytest.mark.parametrize(
    "override", ["trainer.max_epochs=0", "optimizer.lrr=1", "threshold=youdn", "model=resnet"]
)
def test_configuration_errors_come_before_anything_heavy_is_imported(override: str) -> None:
    assert _imported("train", override)[0] == "2 []"


def test_the_full_error_shows_the_traceback() -> None:
    done = run_command("trainer.max_epochs=0", HYDRA_FULL_ERROR="1")
    assert done.returncode != 0
    assert "Traceback" in done.stderr or "UserError" in done.stderr


@pytest.mark.parametrize("command", ["train", "audit", "export", "demo", "ui"])
def test_help_names_groups_and_keys_without_heavy_imports(command: str) -> None:
    imported, printed = _imported(command, "--help")
    assert imported == "0 []"
    assert "tracking" in printed
    assert f"python -m cxrlab.{command}" in printed


def test_hydras_store_of_configurations_is_not_copied() -> None:
    """It was for each group that `--help` lists, which took half of its time."""
    assert cxrlab.config.app  # makes it so
    store = ConfigStore.instance()
    assert copy.deepcopy({"store": store})["store"] is store
    assert pickle.loads(pickle.dumps(store)) is store


def test_cfg_job_prints_the_configuration() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cxrlab.train", "--cfg", "job", "model=resnet50"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "backbone: resnet50" in done.stdout
