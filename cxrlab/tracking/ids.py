"""Patient ids that can be told apart but not read."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

import pandas as pd

from cxrlab.data.manifest import Manifest
from cxrlab.errors import UserError

_HASH_BYTES = 8
_SALT_BYTES = 32
_SALT_NAME = "patient_salt"


def hash_patient_ids(series: pd.Series, salt: str) -> pd.Series:
    """Replace each id by 16 hexadecimal digits, a BLAKE2s hash keyed with the salt.

    Equal ids give equal hashes, so tables of one store can be joined; without the salt the short
    list of possible ids can't be tried out. Missing values stay missing.

    Args:
        series: Patient ids; index and name are kept.
        salt: 64 hexadecimal digits from `store_salt`.
    """
    key = bytes.fromhex(salt)
    hashes = {
        value: hashlib.blake2s(str(value).encode(), key=key, digest_size=_HASH_BYTES).hexdigest()
        for value in series.dropna().unique()
    }
    return series.map(hashes)


def hash_patients(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest with its patient ids hashed with the salt of the store in a folder.

    Raises:
        UserError: The salt can't be written or read.
    """
    hashed = hash_patient_ids(manifest.table["patient_id"], store_salt(folder))
    return manifest.with_table(manifest.table.assign(patient_id=hashed))


def store_salt(folder: Path) -> str:
    """The salt of the store in a folder: made once, readable by its owner alone.

    It lies beside the database, where no artifact is served from. Whoever loses it can no longer
    match patients between old and new runs; whoever publishes it publishes the ids.

    Returns:
        64 hexadecimal digits.

    Raises:
        UserError: The file can't be written or read, or holds something else.
    """
    from filelock import FileLock

    path = folder / _SALT_NAME
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock", timeout=60):
                if not path.exists():
                    _write_private(path, secrets.token_hex(_SALT_BYTES))
        salt = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise UserError(
            f"salt of the patient ids {path}: {error.strerror or error}: give a folder that you "
            "can write to with tracking.uri, or tracking.patient_ids=plain"
        ) from error
    if not re.fullmatch(rf"[0-9a-f]{{{2 * _SALT_BYTES}}}", salt):
        raise UserError(
            f"salt of the patient ids {path} does not hold {2 * _SALT_BYTES} hexadecimal digits: "
            "restore it from a backup, or delete it to begin with new hashes"
        )
    return salt


def _write_private(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
