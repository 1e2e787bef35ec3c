"""Which schema of the database the installed MLflow wants."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_ASSIGNED = re.compile(r"^(revision|down_revision)\b[^=\n]*=(.+)$", re.MULTILINE)
_QUOTED = re.compile(r"""["'](\w+)["']""")


def newest_revision(folder: Path | None = None) -> str | None:
    """The revision that no other follows, read from the text of MLflow's migration scripts.

    Alembic runs every script to find it, which takes as long as the rest of opening a database;
    it is asked only where the text leaves a doubt.

    Args:
        folder: Alembic's script folder; None for the installed MLflow's, which is not imported.
    """
    folder = folder or _migrations()
    revisions: set[str] = set()
    followed: set[str] = set()
    for file in (folder / "versions").glob("*.py"):
        for name, text in _ASSIGNED.findall(file.read_text(encoding="utf-8")):
            (revisions if name == "revision" else followed).update(_QUOTED.findall(text))
    newest = revisions - followed
    return newest.pop() if len(newest) == 1 else migration_scripts(folder).get_current_head()


def migration_scripts(folder: Path | None = None) -> ScriptDirectory:
    """The migration scripts of the installed MLflow, or of a folder, as Alembic sees them."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(folder or _migrations()))


def _migrations() -> Path:
    spec = find_spec("mlflow")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "store" / "db_migrations"
