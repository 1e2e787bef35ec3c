from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlab.errors import UserError
from cxrlab.serving.growing import GrowingTable, open_table

COLUMNS = ("path", "probability", "error")


def rows(*paths: str) -> pd.DataFrame:
    errors = ['a "quoted", reason' for _ in paths]
    return pd.DataFrame({"path": list(paths), "probability": 0.1, "error": errors})


def test_rows_are_on_disk_at_once_and_known_when_it_is_opened_again(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "table.csv"
    with open_table(file, "a", COLUMNS) as table:
        table.append(rows("1", "2"))
        assert pd.read_csv(file, dtype={"path": str})["path"].tolist() == ["1", "2"]
    with open_table(file, "a", COLUMNS) as table:
        assert table.done == {"1", "2"}
        table.append(rows("3"))
    found = pd.read_csv(file, dtype={"path": str})
    assert found.columns.tolist() == [*COLUMNS, "run"]
    assert found["path"].tolist() == ["1", "2", "3"]
    assert set(found["run"]) == {"a"}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_it_was_cut_no_row_is_lost_or_done_twice(data, tmp_path_factory) -> None:
    file = tmp_path_factory.mktemp("cut") / "table.csv"
    paths = ["plain", "with, comma", 'with "quote"', "with\nline", "ümlaut"]
    with open_table(file, "a", COLUMNS) as table:
        table.append(rows(*paths))
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with open_table(file, "a", COLUMNS) as table:
        table.append(rows(*[path for path in paths if path not in table.done]))
    assert pd.read_csv(file)["path"].tolist() == paths


def test_a_table_of_another_run_or_kind_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    with open_table(file, "a", COLUMNS) as table:
        table.append(rows("1"))
    before = file.read_bytes()
    with pytest.raises(UserError, match="holds predictions of run a, not of b"):
        open_table(file, "b", COLUMNS).__enter__()
    with pytest.raises(UserError, match="it has other columns"):
        open_table(file, "a", (*COLUMNS, "heatmap")).__enter__()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00\n", b"path,probability,error,run\nx\ny,1\n", b"a note of one line"]
)
def test_what_is_no_table_is_left_alone(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes(content)
    with pytest.raises(UserError, match="name another file"):
        open_table(file, "a", COLUMNS).__enter__()
    assert file.read_bytes() == content


def test_two_writers_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    with (
        open_table(file, "a", COLUMNS),
        pytest.raises(UserError, match="another process writes to it"),
        open_table(file, "a", COLUMNS),
    ):
        pass


def test_a_full_disk_is_one_line() -> None:
    full = Path("/dev/full").open("wb")  # noqa: SIM115  closing it fails too
    with pytest.raises(UserError, match=r"^output=/dev/full: No space left on device; .*$"):
        GrowingTable(full, "a", [*COLUMNS, "run"], set()).append(rows("1"))
    with pytest.raises(OSError, match="No space"):
        full.close()
