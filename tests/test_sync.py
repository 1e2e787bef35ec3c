from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.browser import free_port

from cxrlab.layout import ID_FILE
from cxrlab.tracking.parcels import Tags
from cxrlab.tracking.spool import Spool

# Runs the command, and fails where it imports what only sending needs.
_LIGHT = """
import runpy, sys
sys.argv[0] = "cxrlab.sync"
try: runpy.run_module("cxrlab.sync", run_name="__main__")
except SystemExit as stop: status = stop.code
heavy = {"torch", "mlflow", "pandas"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else status)
"""


def sync(*overrides: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", _LIGHT, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.fixture
def unsent(tmp_path: Path) -> Path:
    """Two runs below `outputs/`, whose server is not there."""
    for number, run_id in (("1", "ab" * 16), ("2", "ac" * 16)):
        uri = f"http://127.0.0.1:{free_port()}"
        Spool(run_id, uri, (Tags({"a": "b"}),)).write(tmp_path / "outputs" / number)
    return tmp_path / "outputs"


def test_without_anything_to_send_it_says_so() -> None:
    status, said, _ = sync()
    assert (status, said) == (0, "nothing to send: no run in outputs misses anything in its store")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a", "2 runs begin so"),
        ("ff", "neither a folder nor a run in outputs"),
        ("all", "does not answer"),
        ("ab", "does not answer"),
        ("outputs/2", "does not answer"),
        ("untracked", "no MLflow run belongs to this folder"),
    ],
)
def test_what_cannot_be_sent_is_one_line_before_anything_heavy(
    name: str, said: str, unsent: Path
) -> None:
    untracked = unsent.parent / "untracked"
    (untracked / ID_FILE).parent.mkdir(parents=True)
    (untracked / ID_FILE).write_text(str(untracked))  # as a run with tracking=none
    status, _, error = sync(f"run={name}")
    assert status == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 0
    assert said in error
    assert len(list(unsent.rglob("unsent.json"))) == 2


def test_a_run_that_misses_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "run" / ID_FILE).parent.mkdir(parents=True)
    (tmp_path / "run" / ID_FILE).write_text("ab" * 16)
    assert sync("run=run")[:2] == (0, "nothing to send: run misses nothing in its store")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "unsent.json").write_text('{"run_id": "a"')
    status, _, error = sync(f"run={tmp_path}")
    assert status == 2
    assert "unsent.json is damaged" in error


def test_help_imports_nothing_heavy() -> None:
    status, said, _ = sync("--help")
    assert status == 0
    assert "python -m cxrlab.sync" in said
