from __future__ import annotations

import stat
from pathlib import Path

import pandas as pd
import pytest

from cxrlab.errors import UserError
from cxrlab.tracking.ids import hash_patient_ids, store_salt

SALT = "0" * 64


def test_hashes_tell_patients_apart_and_keep_the_table() -> None:
    ids = pd.Series(["p1", "p2", None, "p1"], index=[3, 1, 7, 5], name="patient_id")
    hashed = hash_patient_ids(ids, SALT)
    assert hashed.index.equals(ids.index)
    assert hashed.name == "patient_id"
    assert hashed[3] == hashed[5] != hashed[1]
    assert pd.isna(hashed[7])
    assert hashed.dropna().str.fullmatch("[0-9a-f]{16}").all()


def test_hashes_depend_on_the_salt_alone() -> None:
    ids = pd.Series(["p1"])
    assert hash_patient_ids(ids, SALT).equals(hash_patient_ids(ids, SALT))
    assert hash_patient_ids(ids, SALT)[0] != hash_patient_ids(ids, "1" * 64)[0]


def test_the_salt_is_made_once_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    salt = store_salt(folder)
    assert store_salt(folder) == salt
    assert store_salt(tmp_path / "other") != salt
    assert stat.S_IMODE((folder / "patient_salt").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "abc", "g" * 64])
def test_a_damaged_salt_is_not_replaced_in_silence(content: str, tmp_path: Path) -> None:
    (tmp_path / "patient_salt").write_text(content)
    with pytest.raises(UserError, match="patient_salt does not hold 64"):
        store_salt(tmp_path)
    assert (tmp_path / "patient_salt").read_text() == content


def test_a_salt_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="salt of the patient ids"):
        store_salt(tmp_path / "taken" / "mlruns")
