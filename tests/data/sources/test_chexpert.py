from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.replica import write_chexpert

from cxrlab.data.sources.chexpert import COMPETITION, FINDINGS
from cxrlab.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_chexpert(tmp_path / "chexpert")


def test_the_competition_is_five_findings_of_frontal_images(root: Path, load) -> None:
    manifest = load("data=chexpert", f"data.root={root}")
    assert manifest.classes == COMPETITION
    assert len(manifest) == 24 + 8
    assert all((manifest.root / path).is_file() for path in manifest.table["path"])
    assert manifest.table["path"].str.endswith("_frontal.jpg").all()
    assert load("data=chexpert", f"data.root={root}", "data.target=all").classes == FINDINGS


@pytest.mark.parametrize(
    ("uncertain", "value"), [("unknown", np.nan), ("negative", 0.0), ("positive", 1.0)]
)
def test_uncertain_counts_as_configured_and_not_mentioned_as_absent(
    root: Path, load, uncertain: str, value: float
) -> None:
    manifest = load("data=chexpert", f"data.root={root}", f"data.uncertain={uncertain}")
    edema = manifest.split("train")["target_Edema"].to_numpy()[:4]
    np.testing.assert_array_equal(edema, [1.0, 0.0, value, 0.0])


def test_one_finding_leaves_out_what_is_unknown_and_says_so(root: Path, load, caplog) -> None:
    manifest = load("data=chexpert", f"data.root={root}", "data.target=Edema")
    assert manifest.classes == ("No Edema", "Edema")
    assert len(manifest) == 18 + 8
    assert "6 of 32 images" in caplog.text
    assert "data.uncertain=" in caplog.text


def test_the_finding_that_there_is_none_has_a_readable_opposite(root: Path, load) -> None:
    manifest = load("data=chexpert", f"data.root={root}", "data.target=No Finding")
    assert manifest.classes == ("Finding", "No Finding")


@pytest.mark.parametrize(("test", "splits"), [(False, "train test"), (True, "train val test")])
def test_valid_is_the_test_set_unless_there_is_one(
    tmp_path: Path, load, test: bool, splits: str
) -> None:
    root = write_chexpert(tmp_path / "chexpert", test=test, small=False)
    manifest = load("data=chexpert", f"data.root={root}")
    assert set(manifest.table["split"]) == set(splits.split())
    valid = manifest.table["path"].str.startswith("valid/")
    assert set(manifest.table["split"][valid]) == {"val" if test else "test"}


def test_patients_and_report_columns(root: Path, load) -> None:
    manifest = load("data=chexpert", f"data.root={root}", "data.view=all")
    assert manifest.report_columns == ("sex", "age", "view")
    first, second = manifest.table.iloc[0], manifest.table.iloc[1]
    assert first["patient_id"] == second["patient_id"] == "patient00001"
    assert (first["sex"], first["age"], first["view"]) == ("M", 30.0, "AP")
    assert second["view"] == "lateral"


def test_lateral_images_alone(root: Path, load) -> None:
    manifest = load("data=chexpert", f"data.root={root}", "data.view=lateral")
    assert set(manifest.table["view"]) == {"lateral"}


def test_the_parent_folder_and_the_environment_work_as_well(root: Path, load, monkeypatch) -> None:
    assert load("data=chexpert", f"data.root={root.parent}").root == root
    monkeypatch.setenv("CXRLAB_DATA", str(root.parents[1]))
    assert load("data=chexpert").root == root


def test_missing_patients_are_left_out_and_counted(root: Path, load, caplog) -> None:
    shutil.rmtree(root / "train" / "patient00003")
    assert len(load("data=chexpert", f"data.root={root}")) == 31
    assert "1 of 32 images" in caplog.text


def test_the_missing_dataset_says_how_to_get_it(tmp_path: Path, load) -> None:
    with pytest.raises(UserError, match=r"no train\.csv in .*data\.root=PATH.*CXRLAB_DATA"):
        load("data=chexpert", f"data.root={tmp_path}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Pleural Effusion", "Effusion", "no column 'Pleural Effusion'; did you mean"),
        ("-1.0", "2", "column 'Edema' has '2'"),
        ("-1.0", "maybe", "column 'Edema' has 'maybe'"),
        ("/patient00001/", "/someone/", "row 2: .* is no path of CheXpert"),
    ],
)
def test_another_table_is_refused(root: Path, load, old: str, new: str, message: str) -> None:
    file = root / "train.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        load("data=chexpert", f"data.root={root}", "data.target=all")
