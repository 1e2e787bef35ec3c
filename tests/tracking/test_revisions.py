from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cxrlab.tracking.revisions import migration_scripts, newest_revision

SCRIPT = '''"""A step.

down_revision = "not this one"
"""
revision = {revision}
down_revision = {before}
'''


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """Alembic's folder with two steps, in the two ways that Alembic writes them."""
    steps = {"a": ('"a1"', "None"), "b": ("'b2'", "'a1'")}
    (tmp_path / "versions").mkdir()
    shutil.copy(Path(migration_scripts().dir) / "env.py", tmp_path)
    for name, (revision, before) in steps.items():
        _add(tmp_path, name, revision, before)
    return tmp_path


def _add(folder: Path, name: str, revision: str, before: str) -> None:
    text = SCRIPT.format(revision=revision, before=before)
    (folder / "versions" / f"{name}.py").write_text(text)


def test_the_installed_mlflow_wants_what_alembic_finds() -> None:
    assert newest_revision() == migration_scripts().get_current_head()


def test_the_newest_is_the_one_that_none_follows(scripts: Path) -> None:
    assert newest_revision(scripts) == "b2"


def test_a_step_may_join_two_branches(scripts: Path) -> None:
    _add(scripts, "c", '"c3"', '"a1"')
    _add(scripts, "d", '"d4"', '("b2", "c3")')
    assert newest_revision(scripts) == "d4" == migration_scripts(scripts).get_current_head()


def test_alembic_is_asked_where_the_text_leaves_a_doubt(scripts: Path) -> None:
    _add(scripts, "c", '"c" + "3"', '"b2"')
    assert newest_revision(scripts) == "c3"


def test_nothing_heavy_is_imported_for_it() -> None:
    code = (
        "import sys; from cxrlab.tracking.revisions import newest_revision; newest_revision();"
        "print(sorted({'mlflow', 'alembic', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
