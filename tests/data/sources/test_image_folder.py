from __future__ import annotations

from pathlib import Path

import pytest
from helpers.replica import write_image_folder

from cxrlab.errors import UserError

PATIENT = r"data.patient='^(p\d+)_'"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_image_folder(tmp_path / "mine", size=8)


def test_folders_are_classes_in_alphabetical_order(root: Path, load) -> None:
    manifest = load("data=image_folder", f"data.root={root}", PATIENT)
    assert manifest.classes == ("normal", "sick")
    assert manifest.table["target"].tolist() == [0] * 12 + [1] * 12
    assert set(manifest.table["split"]) == {""}
    assert manifest.table["patient_id"].tolist()[:3] == ["p0000", "p0000", "p0001"]


def test_classes_can_be_ordered_and_chosen(tmp_path: Path, load, caplog) -> None:
    root = write_image_folder(tmp_path / "mine", classes=("a", "b", "c"), images=2, size=8)
    assert load("data=image_folder", f"data.root={root}").task.kind == "multiclass"
    manifest = load("data=image_folder", f"data.root={root}", "data.classes=[c,a]")
    assert manifest.classes == ("c", "a")
    assert len(manifest) == 4
    assert "left out (b)" in caplog.text


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_split_folders_are_the_official_split(tmp_path: Path, load, validation: str) -> None:
    splits = ("train", validation, "test")
    root = write_image_folder(tmp_path / "mine", splits=splits, images=2, size=8)
    table = load("data=image_folder", f"data.root={root}").table
    assert table["split"].value_counts().to_dict() == {"train": 4, "val": 4, "test": 4}


def test_images_may_lie_deeper_and_other_files_are_ignored(root: Path, load) -> None:
    deeper = root / "sick" / "ward 3" / "2020"
    deeper.mkdir(parents=True)
    (root / "sick" / "p0100_0.png").rename(deeper / "p0100_0.png")
    (root / "sick" / "notes.txt").write_text("")
    (root / "sick" / "._p0101_0.png").write_text("")
    (root / ".cache").mkdir()
    (root / "readme.md").write_text("")
    table = load("data=image_folder", f"data.root={root}", PATIENT).table
    assert len(table) == 24
    assert "sick/ward 3/2020/p0100_0.png" in set(table["path"])


def test_links_are_followed_once_and_never_upwards(root: Path, load) -> None:
    (root / "sick" / "loop").symlink_to(root / "sick", target_is_directory=True)
    (root / "sick" / "up").symlink_to(root, target_is_directory=True)
    elsewhere = write_image_folder(root.parent / "other", images=2, size=8)
    (root / "sick" / "more").symlink_to(elsewhere / "normal", target_is_directory=True)
    table = load("data=image_folder", f"data.root={root}", PATIENT).table
    assert table["label"].value_counts().to_dict() == {"normal": 12, "sick": 14}


def test_without_patients_leaks_cannot_be_seen(root: Path, load, caplog) -> None:
    manifest = load("data=image_folder", f"data.root={root}")
    assert manifest.table["patient_id"].is_unique
    assert "data.patient=" in caplog.text


def test_a_name_that_the_expression_does_not_fit_is_its_own_patient(
    root: Path, load, caplog
) -> None:
    (root / "sick" / "p0100_0.png").rename(root / "sick" / "odd.png")
    table = load("data=image_folder", f"data.root={root}", PATIENT).table
    assert table.set_index("path")["patient_id"]["sick/odd.png"] == "sick/odd.png"
    assert "1 of 24 file names" in caplog.text


def test_an_expression_that_fits_nothing_is_refused(root: Path, load) -> None:
    with pytest.raises(UserError, match=r"data\.patient=.*fits no file name"):
        load("data=image_folder", f"data.root={root}", r"data.patient='^case(\d+)'")


@pytest.mark.parametrize("missing", [None, "nowhere"])
def test_a_missing_folder_is_one_clear_line(load, missing: str | None) -> None:
    options = [f"data.root={missing}"] if missing else []
    with pytest.raises(UserError, match=r"data\.root=PATH"):
        load("data=image_folder", *options)


def _only_one_class(root: Path) -> None:
    for file in (root / "sick").iterdir():
        file.unlink()
    (root / "sick").rmdir()


def _empty_class(root: Path) -> None:
    (root / "covid").mkdir()


def _mixed(root: Path) -> None:
    (root / "train").mkdir()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (_only_one_class, [], r"1 class folders \(normal\); two or more"),
        (_empty_class, [], "class folder covid holds no image"),
        (_mixed, [], r"holds split folders \(train\) and others \(normal, sick\)"),
        (lambda root: None, ["data.classes=[normal,sik]"], "no folder 'sik'; did you mean 'sick'"),
        (lambda root: None, ["data.classes=[normal]"], r"1 class folders \(normal\)"),
    ],
)
def test_another_layout_is_refused(root: Path, load, change, options, message: str) -> None:
    change(root)
    with pytest.raises(UserError, match=message):
        load("data=image_folder", f"data.root={root}", *options)
