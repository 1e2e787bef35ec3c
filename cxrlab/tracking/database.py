"""The embedded SQLite database: made whole or not at all, upgraded once, in WAL mode."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from cxrlab.errors import UserError, warn
from cxrlab.tracking.revisions import migration_scripts, newest_revision

_LOCK_SECONDS = 300.0
_BUSY_SECONDS = 20.0
_NETWORK_FILE_SYSTEMS = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "smb3",
}  # fmt: skip
_log = logging.getLogger("cxrlab")


def prepare_database(path: Path, artifact_root: Path) -> None:
    """Create the MLflow database, or bring an older one to the installed MLflow's schema.

    Of several processes that call this at once, one works under a file lock (`<name>.lock` beside
    the database) and the others wait. The work happens in a second file that then replaces the
    first, so an interruption leaves either the old state or the new one. An upgrade keeps the old
    database as `<name>.<revision>.bak`. A database that is ready costs two reads and no lock.

    Args:
        path: Absolute path of the database file.
        artifact_root: Folder for artifacts of MLflow's `Default` experiment.

    Raises:
        UserError: The folder can't be written to, the disk is full, the file is no MLflow database,
            a newer MLflow made it, or another process holds it during an upgrade.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_writable(path)
        if _ready(path):
            return
        with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            if not _ready(path):
                _build(path, artifact_root)
    except Timeout as error:
        raise UserError(
            f"tracking store {path} is being set up by another process for more than "
            f"{_LOCK_SECONDS:.0f} s (lock {path}.lock): end that process and start again"
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise _explained(path, error) from error


def _check_writable(path: Path) -> None:
    for place in (path.parent, path):
        if place.exists() and not os.access(place, os.W_OK):
            raise PermissionError(13, "no permission to write", str(place))


def _ready(path: Path) -> bool:
    """Whether the database has the installed MLflow's schema and WAL mode as far as possible."""
    revision = _revision(path)
    if revision is None or revision != newest_revision():
        return False
    _write_ahead(path)
    return True


def _revision(path: Path) -> str | None:
    """Alembic's revision of the database; None where there is no database yet."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(_connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in names}
        if not tables:
            return None
        row = None
        if "alembic_version" in tables:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise UserError(
            f"tracking store {path} is an SQLite database of another program, not MLflow's: "
            "give another file with tracking.uri=sqlite:////FOLDER/mlflow.db"
        )
    return str(row[0])


def _connect(path: Path) -> sqlite3.Connection:
    # mode=rw: a plain connect would leave an empty file where the database is missing.
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)


def _build(path: Path, artifact_root: Path) -> None:
    """Make the new database in a second file and put it in the place of the first."""
    revision = _revision(path)
    new = path.with_name(f"{path.name}.new")
    _discard(new)  # what a killed process left; the lock says that nobody works on it
    try:
        if revision is None:
            # A log without its database would be replayed into the new one.
            _discard(path)
        else:
            _copy_for_upgrade(path, new, revision)
        _migrate(new, artifact_root, fresh=revision is None)
        _write_ahead(new)
        new.replace(path)
    finally:
        _discard(new)


def _discard(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _copy_for_upgrade(path: Path, new: Path, revision: str) -> None:
    import mlflow
    from alembic.util.exc import CommandError

    try:
        migration_scripts().get_revision(revision)
    except CommandError as error:
        raise UserError(
            f"tracking store {path} was made by a newer MLflow (schema {revision}) than the "
            f"installed {mlflow.__version__}: pip install -U mlflow, or give another tracking.uri"
        ) from error
    with closing(_connect(path)) as connection:
        # Folds the log into the file, and fails while another process has the database open.
        connection.execute("PRAGMA journal_mode = DELETE")
    backup = path.with_name(f"{path.name}.{revision}.bak")
    shutil.copy2(path, backup)
    shutil.copy2(path, new)
    _log.info("upgrading the tracking store %s; the old one is kept as %s", path, backup.name)


def _migrate(path: Path, artifact_root: Path, *, fresh: bool) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.store.db import utils
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.exc import SQLAlchemyError

    uri = f"sqlite:///{path}"
    # MLflow logs its steps, and the traceback of every error that it raises.
    logging.getLogger(utils.__name__).setLevel(logging.CRITICAL)
    try:
        if not fresh:
            # What `mlflow db upgrade` calls; MLflow has no public function for it.
            engine = utils.create_sqlalchemy_engine(uri)
            utils._upgrade_db(engine)
            engine.dispose()
        store = SqlAlchemyStore(uri, str(artifact_root))  # creates what is missing
        store.engine.dispose()
    except (MlflowException, SQLAlchemyError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise sqlite3.OperationalError(str(cause)) from error


def _write_ahead(path: Path) -> None:
    """Let readers and a writer work at once; the mode is kept in the file."""
    if file_system(path) in _NETWORK_FILE_SYSTEMS:
        _warn_no_wal(path, "lies on a network file system")
        return
    with closing(_connect(path)) as connection:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            mode = str(error)
    if mode != "wal":
        _warn_no_wal(path, f"can't use write-ahead logging ({mode})")


def _warn_no_wal(path: Path, cause: str) -> None:
    warn(
        f"tracking store {path} {cause}: processes that log at once wait for each other and may "
        "fail; keep it on a local disk (tracking.uri=sqlite:////FOLDER/mlflow.db) or run a server "
        "(tracking=server)"
    )


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Type of the file system that holds a path, `unknown` where the system has no such table."""
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    holding = [
        (len(Path(row[1]).parts), index, row[2])
        for index, row in enumerate(rows)
        if path.is_relative_to(row[1].replace("\\040", " "))
    ]
    return max(holding)[2] if holding else "unknown"


def _explained(path: Path, error: OSError | sqlite3.Error) -> UserError:
    text = str(error)
    if isinstance(error, OSError):
        reason = error.strerror or text
        remedy = "give a folder that you can write to with tracking.uri=sqlite:////FOLDER/mlflow.db"
        if error.errno == 28:
            remedy = "free some space and start again; nothing half-written is left"
    elif "full" in text or "disk I/O" in text:
        reason, remedy = text, "free some space and start again; nothing half-written is left"
    elif "locked" in text:
        reason = text
        remedy = "another process uses it (the UI? another run?): end it and start again"
    elif isinstance(error, sqlite3.OperationalError):
        reason, remedy = text, "check the file and its folder, or give another tracking.uri"
    else:
        reason = text
        remedy = "the file is damaged: move it away (a new one is made) or restore a backup"
    return UserError(f"tracking store {path}: {reason}: {remedy}")
