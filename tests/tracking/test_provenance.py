from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import cxrlab
from cxrlab.tracking.provenance import environment_text, git_state, package_versions, run_tags


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    _git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_checkout_gives_its_commit(checkout: Path) -> None:
    assert git_state(checkout) == (_git(checkout, "rev-parse", "HEAD"), "false")


@pytest.mark.parametrize("name", ["file", "new"])
def test_changed_and_new_files_make_it_dirty(name: str, checkout: Path) -> None:
    (checkout / name).write_text("two")
    assert git_state(checkout)[1] == "true"


def test_only_the_packages_own_checkout_counts(checkout: Path) -> None:
    inner = checkout / "site-packages"
    inner.mkdir()
    assert git_state(inner) == ("unknown", "unknown")


def test_without_git_it_is_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout / "empty"))
    assert git_state(checkout) == ("unknown", "unknown")


def test_the_environment_lists_the_core_packages() -> None:
    versions = package_versions()
    assert versions["cxrlab"] == cxrlab.__version__
    lines = environment_text().splitlines()
    assert f"torch=={versions['torch']}" in lines
    assert f"mlflow=={versions['mlflow']}" in lines
    assert lines[0].startswith("# Python 3.")


def test_the_tags_of_the_contract_are_all_there() -> None:
    tags = run_tags("python -m cxrlab.train", device="cpu")
    assert set(tags) == {
        "cxrlab.command", "cxrlab.git_commit", "cxrlab.git_dirty", "cxrlab.device", "cxrlab.version"
    }  # fmt: skip
    assert tags["cxrlab.device"].startswith("cpu (")
    assert run_tags("x", device="NVIDIA H200")["cxrlab.device"] == "NVIDIA H200"
