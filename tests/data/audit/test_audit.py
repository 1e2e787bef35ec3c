from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.leaks import TASK, jpeg, picture, prepared, sound_table, thumbs
from rich.console import Console

from cxrlab.data.audit.findings import Audit, Finding
from cxrlab.data.audit.run import audit, audit_cached
from cxrlab.data.audit.table import print_audit
from cxrlab.data.manifest import join_findings
from cxrlab.data.phantom.cohort import draw_case
from cxrlab.data.prepare import PreparedData
from cxrlab.task import Task

_SOUND = sound_table(240)
_SOUND_DATA = prepared(_SOUND)
_TRAIN, _TEST = (
    np.flatnonzero(_SOUND["split"] == "train"),
    np.flatnonzero(_SOUND["split"] == "test"),
)


def _findings(data: PreparedData) -> set[tuple[str, str]]:
    return {(f.check, f.severity) for f in audit(data).findings}


def _with_images(changes: dict[int, np.ndarray]) -> np.ndarray:
    images = _SOUND_DATA.thumbs.copy()
    for row, image in changes.items():
        images[row] = thumbs([image])[0]
    return images


def _digests(equal: tuple[int, int]) -> list[str]:
    found = [f"{i:064x}" for i in range(len(_SOUND))]
    found[equal[1]] = found[equal[0]]
    return found


def _exact(a: int, b: int, table: pd.DataFrame = _SOUND) -> PreparedData:
    images = _with_images({b: _SOUND_DATA.thumbs[a]})
    return prepared(table, images, digests=_digests((a, b)))


def _near(a: int, b: int) -> PreparedData:
    return prepared(_SOUND, _with_images({a: picture(9999), b: jpeg(picture(9999), 50)}))


def _mirrored(a: int, b: int) -> PreparedData:
    image = picture(9999)
    return prepared(_SOUND, _with_images({a: image, b: np.fliplr(image).copy()}))


def _patient(row: int, patient: str) -> pd.DataFrame:
    table = _SOUND.copy()
    table.loc[row, "patient_id"] = patient
    return table


def _relabelled(rows: np.ndarray, target: int) -> pd.DataFrame:
    table = _SOUND.copy()
    table.loc[rows, "target"] = target
    table["label"] = np.array(TASK.classes)[table["target"]]
    return table


def _lit_border() -> PreparedData:
    images = _SOUND_DATA.thumbs.copy()
    images[np.flatnonzero(_SOUND["target"] == 1), -7:, -7:] = 250
    return prepared(_SOUND, images)


def _brighter() -> PreparedData:
    sick = (_SOUND["target"] == 1).to_numpy()[:, None, None]
    images = np.where(sick, _SOUND_DATA.thumbs // 2 + 120, _SOUND_DATA.thumbs // 2)
    return prepared(_SOUND, images.astype(np.uint8))


def _wider() -> PreparedData:
    return prepared(_SOUND, facts={"width": np.where(_SOUND["target"] == 1, 1024, 2048)})


def _few() -> PreparedData:
    small = sound_table(60)
    return prepared(small)


_SAME_CLASS_TEST = int(_TEST[_SOUND["target"].iloc[_TEST] == 0][0])
_A, _B = (int(row) for row in _TRAIN[_SOUND["target"].iloc[_TRAIN] == 0][:2])
_SICK_TRAIN = int(_TRAIN[_SOUND["target"].iloc[_TRAIN] == 1][0])

_FAULTS: dict[str, tuple[Callable[[], PreparedData], str, str]] = {
    "equal files across splits": (
        lambda: _exact(_A, _SAME_CLASS_TEST),
        "exact_duplicates",
        "fatal",
    ),
    "equal files in a split": (lambda: _exact(_A, _B), "exact_duplicates", "info"),
    "a JPEG across splits": (lambda: _near(_A, _SAME_CLASS_TEST), "near_duplicates", "fatal"),
    "a JPEG in a split": (lambda: _near(_A, _B), "near_duplicates", "info"),
    "a mirrored image across splits": (
        lambda: _mirrored(_A, _SAME_CLASS_TEST),
        "mirrored_duplicates",
        "warning",
    ),
    "a mirrored image in a split": (lambda: _mirrored(_A, _B), "mirrored_duplicates", "info"),
    "two labels": (lambda: _exact(_A, _SICK_TRAIN), "conflicting_labels", "warning"),
    "two patients": (lambda: _exact(_A, _B), "duplicate_patients", "warning"),
    "a patient in two splits": (
        lambda: prepared(_patient(_SAME_CLASS_TEST, _SOUND["patient_id"][_A])),
        "patient_overlap",
        "fatal",
    ),
    "no sick test image": (lambda: prepared(_relabelled(_TEST, 0)), "class_missing", "fatal"),
    "another prevalence": (
        lambda: prepared(_relabelled(_TEST[: len(_TEST) // 3], 1)),
        "class_balance",
        "warning",
    ),
    "few patients": (_few, "few_patients", "warning"),
    "a blank image": (
        lambda: prepared(_SOUND, _with_images({5: np.full((64, 64), 7, np.uint8)})),
        "constant_images",
        "warning",
    ),
    "an unreadable file": (
        lambda: prepared(_SOUND, bad={"train/x.png": "empty file"}),
        "unreadable",
        "warning",
    ),
    "a width for each class": (_wider, "shortcut_metadata", "warning"),
    "a brightness for each class": (_brighter, "shortcut_exposure", "warning"),
    "a corner marker": (_lit_border, "shortcut_border", "warning"),
    "a class told by 8 x 8 pixels": (_brighter, "shortcut_thumbnail", "warning"),
}


@pytest.mark.parametrize(("make", "check", "severity"), _FAULTS.values(), ids=_FAULTS)
def test_a_planted_fault_is_found(
    make: Callable[[], PreparedData], check: str, severity: str
) -> None:
    found = {f.check: f for f in audit(make()).findings if f.severity == severity}
    assert check in found
    assert found[check].count >= (0 if severity == "info" else 1)
    assert "\n" not in found[check].message


def test_a_sound_dataset_is_ok() -> None:
    found = audit(_SOUND_DATA)
    assert found.verdict == "ok"
    assert {f.check for f in found.findings} == {
        "class_balance",
        "shortcut_metadata",
        "shortcut_exposure",
        "shortcut_border",
        "shortcut_thumbnail",
    }


def test_a_leak_names_both_files_splits_and_labels() -> None:
    found = {f.check: f for f in audit(_near(_A, _SAME_CLASS_TEST)).findings}
    leak = found["near_duplicates"]
    assert leak.count == 1
    item = leak.items[0]
    assert {item["a"], item["b"]} == {_SOUND["path"][_A], _SOUND["path"][_SAME_CLASS_TEST]}
    assert sorted(item["splits"]) == ["test", "train"]
    assert item["labels"] == ["NORMAL", "NORMAL"]
    assert 0.85 <= item["similarity"] <= 1
    assert item["a"] in leak.message


def test_duplicates_of_one_patient_and_label_raise_nothing_more() -> None:
    table = _patient(_B, _SOUND["patient_id"][_A])
    found = _findings(_exact(_A, _B, table))
    assert ("exact_duplicates", "info") in found
    assert not {"conflicting_labels", "duplicate_patients", "patient_overlap"} & {
        c for c, _ in found
    }


def test_many_duplicates_in_a_split_are_a_warning() -> None:
    rows = _TRAIN[:12]
    images = _SOUND_DATA.thumbs.copy()
    images[rows] = images[rows[0]]
    assert ("near_duplicates", "warning") in _findings(prepared(_SOUND, images))


@pytest.mark.slow
@pytest.mark.parametrize(("strength", "severity"), [(0.0, "info"), (0.95, "warning")])
def test_the_corner_marker_of_the_phantoms_alarms(strength: float, severity: str) -> None:
    cases = [
        draw_case(3, patient, 0, prevalence=0.5, difficulty=0.5, shortcut=strength)
        for patient in range(300)
    ]
    target = np.array([case.label for case in cases])
    table = sound_table(300).assign(target=target, label=np.array(TASK.classes)[target])
    found = audit(prepared(table, np.stack([case.render(64).image for case in cases]))).findings
    assert {f.check: f.severity for f in found}["shortcut_border"] == severity


def test_items_are_cut_but_counted() -> None:
    images = _SOUND_DATA.thumbs.copy()
    images[:] = images[0]
    found = {(f.check, f.severity): f for f in audit(prepared(_SOUND, images)).findings}
    leak = found["near_duplicates", "fatal"]
    assert len(leak.items) == 100
    elsewhere = int((_SOUND["split"] != _SOUND["split"][0]).sum())
    assert f"1 group of {elsewhere + 1} images" in leak.message


def _multilabel() -> tuple[pd.DataFrame, Task]:
    task = Task.multilabel(["Mass", "Edema"])
    rng = np.random.default_rng(0)
    table = _SOUND.drop(columns="target")
    targets = (rng.random((len(table), 2)) < 0.5).astype(np.float32)
    targets[rng.random(targets.shape) < 0.2] = np.nan
    table["target_Mass"], table["target_Edema"] = targets.T
    table["label"] = join_findings(task, targets)
    return table, task


def test_findings_are_probed_one_by_one_and_unknown_ones_left_out() -> None:
    table, task = _multilabel()
    images = _SOUND_DATA.thumbs.copy()
    images[np.flatnonzero(table["target_Edema"] == 1), :7, :7] = 250
    found = {f.check: f for f in audit(prepared(table, images, task=task)).findings}
    border = found["shortcut_border"]
    assert (border.severity, border.count) == ("warning", 1)
    assert [item["class"] for item in border.items] == ["Edema", "Mass"]


def test_an_unknown_finding_conflicts_with_nothing() -> None:
    table, task = _multilabel()
    columns = ["target_Mass", "target_Edema"]
    table.loc[_A, columns] = 1.0, np.nan
    table.loc[_B, columns] = 1.0, 0.0
    images = _with_images({_B: _SOUND_DATA.thumbs[_A]})
    assert "conflicting_labels" not in {c for c, _ in _findings(prepared(table, images, task=task))}
    table.loc[_B, columns] = 0.0, 0.0
    assert "conflicting_labels" in {c for c, _ in _findings(prepared(table, images, task=task))}


def test_the_json_is_as_promised() -> None:
    data = replace(_near(_A, _SAME_CLASS_TEST), bad={"x.png": "empty file"})
    found = audit(data)
    content = json.loads(json.dumps(found.to_json()))
    assert set(content) == {"verdict", "images", "splits", "findings"}
    assert content["verdict"] == "fatal"
    assert content["images"] == len(_SOUND)
    assert content["splits"]["test"] == {
        "images": 60,
        "patients": 60,
        "classes": {"NORMAL": 30, "PNEUMONIA": 30},
    }
    for finding in content["findings"]:
        assert set(finding) == {"check", "severity", "count", "message", "items"}
    order = [f["severity"] for f in content["findings"]]
    assert order == sorted(order, key=["fatal", "warning", "info"].index)
    assert Audit.from_json(content) == found


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [
        ([], "ok"),
        (["info"], "ok"),
        (["info", "warning"], "warning"),
        (["warning", "fatal", "info"], "fatal"),
    ],
)
def test_the_verdict_is_the_worst_severity(severities: list, verdict: str) -> None:
    findings = tuple(Finding("c", severity, 1, "m", []) for severity in severities)
    assert Audit(0, {}, findings).verdict == verdict


def test_a_second_audit_is_read_and_a_changed_dataset_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = audit_cached(_SOUND_DATA, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("cxrlab.data.audit.run.audit", lambda _: pytest.fail("audited again"))
        assert audit_cached(_SOUND_DATA, tmp_path) == first
    moved = prepared(_patient(_SAME_CLASS_TEST, _SOUND["patient_id"][_A]))
    assert audit_cached(moved, tmp_path).verdict == "fatal"
    worse = replace(_SOUND_DATA, bad={"x.png": "empty file"})
    assert audit_cached(worse, tmp_path).verdict == "warning"
    assert all(file.suffix == ".json" for file in (tmp_path / "audit").iterdir())


def test_the_table_has_splits_findings_and_the_verdict_in_plain_text() -> None:
    stream = io.StringIO()
    found = audit(_exact(_A, _SAME_CLASS_TEST))
    print_audit(found, Console(file=stream, width=200))
    text = stream.getvalue()
    assert "\x1b" not in text
    for word in ("train", "patients", "PNEUMONIA", "exact_duplicates", "Not fit to train on"):
        assert word in text
    assert text.index("exact_duplicates") < text.index("shortcut_border")


def test_a_label_with_brackets_is_no_markup() -> None:
    stream = io.StringIO()
    task = Task.exclusive(["[bold]", "[/red]"])
    print_audit(audit(prepared(sound_table(80, task), task=task)), Console(file=stream, width=200))
    assert "[bold]" in stream.getvalue()
    assert "[/red]" in stream.getvalue()


def test_duplicates_are_counted_in_groups_not_in_pairs() -> None:
    images = _SOUND_DATA.thumbs.copy()
    images[_TRAIN[:3]] = images[_TRAIN[0]]
    images[_TRAIN[4:6]] = images[_TRAIN[4]]
    found = {f.check: f for f in audit(prepared(_SOUND, images)).findings}
    assert found["near_duplicates"].count == 2
    assert "2 groups of 5 images" in found["near_duplicates"].message
