from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_LIGHT = """
import sys
import cxrlab.audit, cxrlab.data.audit.page, cxrlab.data.audit.run, cxrlab.data.audit.table
import cxrlab.data.audit.shortcuts, cxrlab.tracking.ids
heavy = {"torch", "mlflow", "pytorch_lightning", "timm"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=dict(os.environ)
    )


def test_the_audit_needs_neither_torch_nor_mlflow() -> None:
    done = _run("-c", _LIGHT)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_command_writes_json_and_page_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "there" / "found.json"
    done = _run(
        "-m", "cxrlab.audit", "data.images=60", "data.image_size=32", f"output={file}",
        "tracking.patient_ids=plain",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(file)
    assert json.loads(file.read_text())["images"] == 60
    assert file.with_suffix(".html").read_text().startswith("<!doctype html>")


@pytest.mark.slow
def test_a_missing_folder_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = _run("-m", "cxrlab.audit", "data=chest_xray", f"data.root={tmp_path / 'none'}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
