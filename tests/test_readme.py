"""Every command of the README is one that works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cxrlab.config import commands, schema
from cxrlab.config.paths import conf_dir

ROOT = conf_dir().parent
TEXT = (ROOT / "README.md").read_text()
DOCS = "\n".join(file.read_text() for file in sorted((ROOT / "docs").glob("*.md")))
COMMANDS = re.findall(
    r"^python -m cxrlab\.(train|audit|predict|evaluate|explain|compare|export|demo)(.*)$",
    TEXT + DOCS,
    flags=re.MULTILINE,
)


@pytest.mark.parametrize(("command", "line"), COMMANDS)
def test_every_command_is_a_valid_configuration(
    command: str, line: str, compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "series.csv").touch()  # made by the command before the one that takes it
    monkeypatch.chdir(tmp_path)
    schemas = {
        "train": schema.Config,
        "audit": commands.AuditConfig,
        "predict": commands.PredictConfig,
        "evaluate": commands.EvaluateConfig,
        "explain": commands.ExplainConfig,
        "compare": commands.CompareConfig,
        "export": commands.ExportConfig,
        "demo": commands.DemoConfig,
    }
    # Of a sweep the first trial stands for all.
    overrides = [re.sub(r"=([^\[{,]+),.*", r"=\1", o) for o in shlex.split(line) if "=" in o]
    config = compose(*overrides, command=command)
    assert type(config) is schemas[command]


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http)[^)]+)\)", TEXT))
def test_every_local_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_table_of_choices_is_the_folder_of_choices() -> None:
    for group in (d for d in conf_dir().iterdir() if d.is_dir() and d.name != "hydra"):
        choices = {f.stem for f in group.glob("*.yaml")} - {"base"}
        row = next((r for r in TEXT.splitlines() if r.startswith(f"| `{group.name}` |")), None)
        if row is not None:
            assert set(re.findall(r"`([\w]+)`", row.split("|")[2])) == choices


def test_make_has_the_targets_that_the_readme_names() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make ([\w-]+)", TEXT, flags=re.MULTILINE)) <= targets


def test_nothing_large_or_private_is_in_the_package() -> None:
    for file in (ROOT / "cxrlab").rglob("*"):
        assert not file.is_file() or file.stat().st_size < 5_000_000, Path(file)
