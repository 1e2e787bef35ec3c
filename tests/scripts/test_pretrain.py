"""The pretraining script, end to end at toy size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open

ROOT = Path(__file__).parents[2]


def pretrain(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "pretrain.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=240, check=False
    )


@pytest.mark.slow
def test_writes_a_backbone_that_timm_takes(tmp_path: Path) -> None:
    output = tmp_path / "weights.safetensors"
    tiny = ("--minutes", "0.15", "--size", "32", "--batch", "8", "--held-back", "8")
    done = pretrain("--output", str(output), *tiny, "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "held-back AUROC" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
    assert output.stat().st_size < 5_000_000
    with safe_open(output, "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert metadata["tag"] == "phantom"
    assert json.loads(metadata["input_size"]) == [3, 32, 32]
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    model = timm.create_model(metadata["architecture"], num_classes=0)
    missing = model.load_state_dict(tensors, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing)
    assert model.eval()(torch.zeros(1, 3, 32, 32)).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("minutes", ["0", "121"])
def test_refuses_times_out_of_range(tmp_path: Path, minutes: str) -> None:
    done = pretrain("--output", str(tmp_path / "weights.safetensors"), "--minutes", minutes)
    assert done.returncode == 2
    assert f"--minutes {minutes}: give more than 0 and at most 120" in done.stderr
