from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from cxrlab.errors import UserError
from cxrlab.layout import VERSION_FILE
from cxrlab.training.resume import check_version, data_changes, in_use


def table(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["path", "label", "split", "digest"])


BEFORE = table(("a", "NORMAL", "train", "1"), ("b", "NORMAL", "val", "2"))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (BEFORE, []),
        (BEFORE[::-1], []),
        (pd.concat([BEFORE, table(("c", "X", "test", "3"))]), ["1 image added (c)"]),
        (BEFORE[:1], ["1 image removed (b)"]),
        (BEFORE.assign(label=["NORMAL", "X"]), ["1 image relabelled (b)"]),
        (BEFORE.assign(digest=["9", "8"]), ["2 images replaced by other contents (a, b)"]),
        (BEFORE.assign(split=["val", "val"]), ["1 image moved to another split (a)"]),
        (
            table(("b", "X", "val", "2"), ("d", "X", "val", "4")),
            ["1 image added (d)", "1 image removed (a)", "1 image relabelled (b)"],
        ),
    ],
)
def test_changes_are_named(now: pd.DataFrame, words: list[str]) -> None:
    assert data_changes(BEFORE, now) == words


def test_another_versions_run_is_refused(tmp_path: Path) -> None:
    check_version("latest", tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / VERSION_FILE).write_text("0.0.1\n")
    with pytest.raises(UserError, match=r"cxrlab 0\.0\.1 began this run"):
        check_version("latest", tmp_path)


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        in_use(tmp_path),
        pytest.raises(UserError, match="another process is training"),
        in_use(tmp_path),
    ):
        pytest.fail("both hold it")
    with in_use(tmp_path):
        pass  # free again


def test_a_run_whose_data_changed_goes_on_only_when_told(
    run_training, replica: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(replica, copy)
    options = ("explanation=none", "trainer.max_epochs=1", f"data.root={copy}", "audit=warn")
    run_training(*options)
    removed = sorted((copy / "train" / "NORMAL").iterdir())[0]
    removed.unlink()
    with pytest.raises(UserError, match=rf"1 image removed \(train/NORMAL/{removed.name}\)"):
        run_training(*options, "resume=latest")
    run_training(*options, "resume=latest", "resume_changed=true")
    assert "1 image removed" in caplog.text
