from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.replica import write_csv

from cxrlab.errors import UserError

ROWS = "path,label,patient\na.png,normal,007\nb.png,sick,007\nc.png,sick,8\n"
FINDINGS = "path,edema,mass\na.png,1,0\nb.png,0,\nc.png,-1,1.0\n"
TWO = "data.label_columns=[edema,mass]"


@pytest.fixture
def read(tmp_path: Path, load):
    """The manifest of a table with that content, in a folder of its own."""

    def read(content: str | bytes, *options: str):
        file = tmp_path / "mine" / "table.csv"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return load("data=csv", f"data.table={file}", *options)

    return read


def test_a_table_with_everything(tmp_path: Path, load) -> None:
    file = write_csv(tmp_path / "mine", size=8)
    options = ("data.patient_column=patient", "data.report_columns=[sex,age,site]")
    manifest = load("data=csv", f"data.table={file}", *options)
    assert manifest.classes == ("normal", "sick")
    assert manifest.root == file.parent
    assert manifest.report_columns == ("sex", "age", "site")
    row = manifest.table.iloc[2]
    assert (row["path"], row["patient_id"], row["label"]) == ("images/002.png", "0001", "sick")
    assert manifest.table["age"].dtype.kind in "if"
    assert all((manifest.root / path).is_file() for path in manifest.table["path"])


ACCEPTED = {
    "plain": (ROWS, []),
    "byte order mark": (b"\xef\xbb\xbf" + ROWS.encode(), []),
    "semicolons": (ROWS.replace(",", ";"), []),
    "tabs": (ROWS.replace(",", "\t"), []),
    "UTF-16, as spreadsheets write text": (ROWS.replace(",", "\t").encode("utf-16"), []),
    "line ends of Windows": (ROWS.replace("\n", "\r\n"), []),
    "blanks around cells and names": (ROWS.replace(",", " , "), []),
    "quotes": (ROWS.replace("a.png", '"a.png"'), []),
    "a blank line": (ROWS.replace("b.png", "\nb.png"), []),
    "no last line end": (ROWS.rstrip(), []),
    "classes in order": (ROWS, ["data.classes=[normal,sick]"]),
    "a path with a dot": (ROWS.replace("a.png", "./x/../a.png"), []),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_tables_as_spreadsheets_write_them_are_read(case: str, read) -> None:
    content, options = ACCEPTED[case]
    table = read(content, "data.patient_column=patient", *options).table
    assert table["path"].tolist() == ["a.png", "b.png", "c.png"]
    assert table["label"].tolist() == ["normal", "sick", "sick"]
    assert table["target"].tolist() == [0, 1, 1]
    assert table["patient_id"].tolist() == ["007", "007", "8"]


REJECTED = {
    "empty file": ("", [], "the table is empty"),
    "blank file": (" \n\n", [], "the table is empty"),
    "header alone": ("path,label,patient\n", [], "a header and no row"),
    "a spreadsheet": (b"PK\x03\x04\x00\x00\x08", [], "holds no text; save the table as CSV"),
    "bytes of no encoding": (ROWS.encode() + b"\x81\x8d", [], "save the table as UTF-8"),
    "a row too long": (ROWS + "d.png,sick,9,10\n", [], r"not a table .*line 5"),
    "a first row too long": (
        ROWS.replace("normal,007", "normal,007,x"),
        [],
        "not a table",
    ),
    "an open quote": (ROWS + '"d.png,sick,9\n', [], "not a table .*EOF inside string"),
    "no path column": (ROWS.replace("path", "paths"), [], "'path'; did you mean 'paths'"),
    "no label column": (ROWS, ["data.label_columns=[lable]"], "'lable'; did you mean 'label'"),
    "no patient column": (ROWS, ["data.patient_column=pat"], "'pat'; did you mean 'path'"),
    "no report column": (ROWS, ["data.report_columns=[sexx]"], "no column 'sexx'"),
    "no split column": (ROWS, ["data.split_column=split"], "no column 'split'"),
    "an image twice": (ROWS + "a.png,sick,9\n", [], r"a\.png is in row 2 and again in row 5"),
    "an image twice, written otherwise": (ROWS + "./a.png,sick,9\n", [], "row 2 and again"),
    "a path out of the folder": (
        ROWS.replace("b.png", "../b.png"),
        [],
        r"row 3: \.\./b\.png leads out of .*data\.root=PATH",
    ),
    "an absolute path elsewhere": (ROWS.replace("b.png", "/etc/b.png"), [], "row 3: /etc/b.png"),
    "the folder itself": (ROWS.replace("b.png", "."), [], "row 3: . leads out"),
    "no path": (ROWS.replace("b.png", ""), [], "row 3: no path in column 'path'"),
    "a label of no class": (
        ROWS.replace("b.png,sick", "b.png,sik"),
        ["data.classes=[normal,sick]"],
        "row 3: label 'sik' is not in data.classes; did you mean 'sick'",
    ),
    "one class": (ROWS.replace("normal", "sick"), [], r"holds 1 classes \(sick\)"),
    "no label at all": ("path,label\na.png,\nb.png,\n", [], r"holds 0 classes \(none\)"),
    "an unknown split": (
        ROWS.replace("patient", "split").replace("007", "trian"),
        ["data.split_column=split"],
        "row 2: split 'trian'; did you mean 'train'",
    ),
    "a word for a finding": (FINDINGS.replace("-1", "yes"), [TWO], "row 4: edema is 'yes'"),
    "a share for a finding": (FINDINGS.replace("-1", "0.5"), [TWO], "row 4: edema is '0.5'"),
    "a report column of ours": (ROWS, ["data.report_columns=[label]"], "'label' is a name that"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_tables_that_cannot_be_used_are_one_line_with_the_row(case: str, read) -> None:
    content, options, message = REJECTED[case]
    with pytest.raises(UserError, match=message) as caught:
        read(content, *options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["data.table=null", "data.table=nowhere.csv"])
def test_a_missing_table_is_one_clear_line(option: str, load) -> None:
    with pytest.raises(UserError, match=r"data\.table=PATH|nowhere\.csv: can't be read"):
        load("data=csv", option)


def test_two_label_columns_are_findings_present_absent_or_unknown(read) -> None:
    manifest = read(FINDINGS, TWO)
    assert manifest.task.kind == "multilabel"
    nan = np.nan
    np.testing.assert_array_equal(
        manifest.task.targets(manifest.table), np.float32([[1, 0], [0, nan], [nan, 1]])
    )
    assert manifest.table["label"].tolist() == ["edema", "none", "mass"]


def test_a_row_without_a_label_is_left_out_and_counted(read, caplog) -> None:
    manifest = read(ROWS.replace("b.png,sick", "b.png,"))
    assert manifest.table["path"].tolist() == ["a.png", "c.png"]
    assert "1 of 3 rows have no label" in caplog.text


def test_classes_that_are_numbers_are_in_the_order_of_numbers(read) -> None:
    assert read("path,label\na,10\nb,9\nc,1\n").classes == ("1", "9", "10")


def test_splits_are_official_by_any_usual_name(read) -> None:
    names = ("train", "Valid", "validation", "val", "TEST", "")
    rows = "".join(f"{i}.png,{'ab'[i % 2]},{name}\n" for i, name in enumerate(names))
    table = read("path,label,split\n" + rows, "data.split_column=split").table
    assert table["split"].tolist() == ["train", "val", "val", "val", "test", ""]


def test_patients_that_are_not_known_are_each_their_own(read, caplog) -> None:
    assert read(ROWS).table["patient_id"].is_unique
    assert "data.patient_column=NAME" in caplog.text
    caplog.clear()
    table = read(ROWS.replace(",8", ","), "data.patient_column=patient").table
    assert table["patient_id"].tolist() == ["007", "007", "c.png"]
    assert "1 rows have no patient" in caplog.text


def test_absolute_paths_inside_the_folder_become_relative(tmp_path: Path, read) -> None:
    inside = tmp_path / "mine" / "x" / "b.png"
    assert read(ROWS.replace("b.png", str(inside))).table["path"][1] == "x/b.png"


def test_a_linked_folder_counts_as_the_folder_it_leads_to(tmp_path: Path, read) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine", target_is_directory=True)
    path = tmp_path / "link" / "b.png"
    assert read(ROWS.replace("b.png", str(path))).table["path"][1] == "b.png"


def test_another_root_is_what_paths_are_relative_to(tmp_path: Path, read) -> None:
    manifest = read(ROWS, f"data.root={tmp_path / 'images'}")
    assert manifest.root == tmp_path / "images"


def test_masks_may_be_missing(read) -> None:
    content = "path,label,m\na.png,x,masks/a.png\nb.png,y,\n"
    assert read(content, "data.mask_column=m").table["mask"].tolist() == ["masks/a.png", ""]


def test_report_columns_are_numbers_or_text_and_codes_keep_their_zeros(read) -> None:
    content = "path,label,age,site,sex\na,x,40,007,F\nb,y,,010,\n"
    table = read(content, "data.report_columns=[age,site,sex]").table
    assert table["age"].isna().tolist() == [False, True]
    assert table["site"].tolist() == ["007", "010"]
    assert table["sex"].tolist() == ["F", ""]


def test_the_site_to_hold_out_is_kept_as_text(read) -> None:
    content = "path,label,clinic\na,x,1\nb,y,\n"
    table = read(content, "data.split=site", "data.site='1'", "data.site_column=clinic").table
    assert table["clinic"].tolist() == ["1", ""]


def test_names_with_accents_of_windows_are_read_with_a_warning(read, caplog) -> None:
    table = read(ROWS.replace("a.png", "ä.png").encode("cp1252")).table
    assert table["path"][0] == "ä.png"
    assert "Windows-1252" in caplog.text
