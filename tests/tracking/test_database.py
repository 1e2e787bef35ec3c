from __future__ import annotations

import errno
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cxrlab.errors import UserError
from cxrlab.tracking import database
from cxrlab.tracking.database import file_system, prepare_database
from cxrlab.tracking.revisions import migration_scripts


def _ask(path: Path, statement: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        (answer,) = connection.execute(statement).fetchone()
        connection.commit()
    return answer


def _head() -> str | None:
    return migration_scripts().get_current_head()


@contextmanager
def _files_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_new_database_has_the_schema_and_writes_ahead(migrated: Path) -> None:
    assert _ask(migrated, "SELECT version_num FROM alembic_version") == _head()
    assert _ask(migrated, "PRAGMA journal_mode") == "wal"
    assert _ask(migrated, "SELECT count(*) FROM experiments") == 1


def test_a_ready_database_needs_neither_lock_nor_upgrade(
    mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(database, "_build", refuse)
    begin = time.perf_counter()
    prepare_database(mlruns / "mlflow.db", mlruns / "artifacts")
    assert time.perf_counter() - begin < 1.0
    assert not (mlruns / "mlflow.db.lock").exists()


def test_odd_characters_in_the_path(mlruns: Path) -> None:
    folder = mlruns.rename(mlruns.with_name("my rüns 100% #1"))
    prepare_database(folder / "mlflow.db", folder / "artifacts")
    assert sorted(p.name for p in folder.iterdir()) == ["mlflow.db"]


def test_an_older_schema_is_upgraded_and_the_old_file_kept(mlruns: Path) -> None:
    from alembic import command
    from mlflow.store.db import utils

    path = mlruns / "mlflow.db"
    config = utils._get_alembic_config(f"sqlite:///{path}")
    config.attributes["configure_logger"] = False
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    engine.dispose()
    older = _ask(path, "SELECT version_num FROM alembic_version")
    assert older != _head()
    _ask(path, "UPDATE experiments SET name = 'mine' RETURNING name")

    prepare_database(path, mlruns / "artifacts")

    assert _ask(path, "SELECT version_num FROM alembic_version") == _head()
    assert _ask(path, "SELECT name FROM experiments") == "mine"
    assert _ask(path, "PRAGMA journal_mode") == "wal"
    backup = mlruns / f"mlflow.db.{older}.bak"
    assert _ask(backup, "SELECT version_num FROM alembic_version") == older
    assert not list(mlruns.glob("*.new*"))


def test_a_newer_schema_is_refused_untouched(mlruns: Path) -> None:
    path = mlruns / "mlflow.db"
    _ask(path, "UPDATE alembic_version SET version_num = 'ffffffffffff' RETURNING version_num")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"newer MLflow .*pip install -U mlflow"):
        prepare_database(path, mlruns / "artifacts")
    assert path.read_bytes() == before


def test_an_upgrade_waits_for_nobody_who_has_it_open(
    mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    path = mlruns / "mlflow.db"
    known = migration_scripts().get_revision(str(_head())).down_revision
    _ask(path, f"UPDATE alembic_version SET version_num = '{known}' RETURNING version_num")
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match=r"locked.*end it and start again"):
            prepare_database(path, mlruns / "artifacts")
        other.rollback()
    assert _ask(path, "SELECT version_num FROM alembic_version") == known


@pytest.mark.parametrize("damage", ["text", "truncated", "foreign"])
def test_a_file_that_is_no_mlflow_database_is_kept_and_named(damage: str, mlruns: Path) -> None:
    path = mlruns / "mlflow.db"
    if damage == "text":
        path.write_text("this is no database, " * 100)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        path.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"mlflow\.db") as caught:
        prepare_database(path, mlruns / "artifacts")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"taken/mlruns/mlflow\.db: .*can write to"):
        prepare_database(tmp_path / "taken" / "mlruns" / "mlflow.db", tmp_path)


def test_no_permission_to_write_is_named(mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so the answer of the system is replaced.
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != mlruns)
    with pytest.raises(UserError, match="no permission to write"):
        prepare_database(mlruns / "mlflow.db", mlruns / "artifacts")


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with _files_at_most(100_000), pytest.raises(UserError, match="free some space") as caught:
        prepare_database(path, tmp_path / "artifacts")
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["mlflow.db.lock"]


def test_no_space_left_is_told_apart_from_no_permission(tmp_path: Path) -> None:
    error = database._explained(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert "free some space" in str(error)


def test_what_a_killed_process_left_is_not_used(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mlflow.db"
    for name in ("mlflow.db.new", "mlflow.db.new-journal", "mlflow.db-wal"):
        (tmp_path / name).write_bytes(b"half")

    def migrate(new: Path, _: Path, *, fresh: bool) -> None:
        assert fresh
        assert not new.exists()
        new.write_bytes(migrated.read_bytes())

    monkeypatch.setattr(database, "_migrate", migrate)
    prepare_database(path, tmp_path / "artifacts")
    assert _ask(path, "PRAGMA integrity_check") == "ok"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_network_disks_get_no_write_ahead_log_but_a_warning(
    mlruns: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = mlruns / "mlflow.db"
    _ask(path, "PRAGMA journal_mode = DELETE")
    monkeypatch.setattr(database, "file_system", lambda _: "nfs4")
    prepare_database(path, mlruns / "artifacts")
    assert _ask(path, "PRAGMA journal_mode") == "delete"
    assert "network file system" in caplog.text


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\nhost:/x /home nfs4 rw 0 0\nhost:/y /home/my\\040disk xfs rw 0 0\n"
    )
    assert file_system(Path("/etc/x"), mounts) == "ext4"
    assert file_system(Path("/home/me/mlflow.db"), mounts) == "nfs4"
    assert file_system(Path("/home/my disk/mlflow.db"), mounts) == "xfs"
    assert file_system(Path("/x"), tmp_path / "absent") == "unknown"
