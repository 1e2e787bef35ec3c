"""`python -m cxrlab.disk` in a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cxrlab.housekeeping.table import age_text, size_text


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    for name, size in (("small", 2_000), ("large", 3_000_000)):
        folder = tmp_path / "cache" / "features" / name
        folder.mkdir(parents=True)
        (folder / "features.f32").write_bytes(b"x" * size)
    return tmp_path / "cache"


def run_disk(*overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cxrlab.disk", "tracking.enabled=false", *overrides]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_table_has_the_largest_first_and_the_sum(caches: Path) -> None:
    done = run_disk(f"cache={caches}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rows = [line for line in lines if "features" in line]
    assert [row.split()[:3] for row in rows] == [["3", "MB", "cache"], ["2", "kB", "cache"]]
    assert str(caches / "features" / "large") in rows[0]
    assert lines[-1] == "3 MB in all"
    assert not (Path.cwd() / "outputs").exists()


def test_every_path_is_named_and_deleted_only_when_told(caches: Path) -> None:
    told = [
        f"     3 MB  {caches / 'features' / 'large'}",
        f"     2 kB  {caches / 'features' / 'small'}",
    ]
    dry = run_disk(f"cache={caches}", "clean=caches").stdout.splitlines()
    assert dry == [*told, "3 MB would be deleted; nothing is yet: add yes=true"]
    assert len(list(caches.rglob("*.f32"))) == 2
    done = run_disk(f"cache={caches}", "clean=caches", "yes=true").stdout.splitlines()
    assert done == [*told, "3 MB deleted"]
    assert list(caches.rglob("*.f32")) == []
    again = run_disk(f"cache={caches}", "clean=caches", "yes=true").stdout.splitlines()
    assert again == ["clean=caches: nothing to delete"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("clean=cache", ["clean=cache", "valid: caches"]),
        ("older_than=30", ["older_than=30", "30d"]),
        ("older_than=1y", ["older_than=1y", "30d"]),
        ("keep=last", ["keep=last", "best"]),
        ("runs=['']", ["runs"]),
    ],
)
def test_a_mistake_is_one_line(override: str, words: list[str]) -> None:
    done = run_disk(override)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_499, "999 kB"), (999_600, "1 MB"),
     (13_800_000, "13.8 MB"), (2_500_000_000, "2.5 GB"), (7 * 10**12, "7 TB")],
)  # fmt: skip
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "now"), (59, "now"), (60, "1 min"), (7199, "1 h"), (86400, "1 d"), (90 * 86400, "90 d")],
)
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
