from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrlab.data.labels import relabel
from cxrlab.data.manifest import Manifest, join_findings
from cxrlab.errors import UserError
from cxrlab.task import Task

PNEUMONIA = Task.exclusive(("NORMAL", "PNEUMONIA"))
PATHOGEN = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))
FINDINGS = Task.multilabel(("Pneumonia", "Effusion"))
NAN = np.nan


def dataset(task: Task, targets: list) -> Manifest:
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(len(targets))], "split": ""})
    table["patient_id"] = table["path"]
    if task.kind == "multilabel":
        truth = np.array(targets, dtype=np.float32)
        table[task.target_columns] = truth
        table["label"] = join_findings(task, truth)
    else:
        table["target"] = targets
        table["label"] = np.array(task.classes)[targets]
    return Manifest("other", Path("there"), task, table)


def test_the_same_names_need_no_words() -> None:
    theirs = Task.exclusive(("Pneumonia", "Normal"))  # the other way round
    found = relabel(dataset(theirs, [0, 1, 0]), PNEUMONIA, None)
    assert found.task == PNEUMONIA
    assert found.table["target"].tolist() == [1, 0, 1]
    assert found.table["label"].tolist() == ["PNEUMONIA", "NORMAL", "PNEUMONIA"]


def test_two_classes_can_stand_for_one() -> None:
    labels = {"NORMAL": "NORMAL", "PNEUMONIA": ["BACTERIA", "VIRUS"]}
    found = relabel(dataset(PATHOGEN, [0, 1, 2]), PNEUMONIA, labels)
    assert found.table["target"].tolist() == [0, 1, 1]


def test_images_of_no_class_are_left_out_and_counted(caplog) -> None:
    found = relabel(dataset(PATHOGEN, [0, 1, 2, 2]), PNEUMONIA,
                    {"NORMAL": "NORMAL", "PNEUMONIA": "BACTERIA"})  # fmt: skip
    assert found.table["path"].tolist() == ["0.png", "1.png"]
    assert "2 of 4 images of other have none of the model's classes" in caplog.text


def test_of_findings_the_negative_class_is_the_known_absence(caplog) -> None:
    theirs = dataset(FINDINGS, [[1, 0], [0, 1], [NAN, 0], [0, NAN]])
    found = relabel(theirs, PNEUMONIA, {"PNEUMONIA": "Pneumonia"})
    assert found.table["path"].tolist() == ["0.png", "1.png", "3.png"]
    assert found.table["target"].tolist() == [1, 0, 0]
    assert "1 of 4 images" in caplog.text
    assert not set(FINDINGS.target_columns) & set(found.table)


def test_no_finding_at_all_can_be_asked_for() -> None:
    theirs = dataset(FINDINGS, [[1, 0], [0, 1], [0, 0], [0, NAN]])
    labels = {"PNEUMONIA": "Pneumonia", "NORMAL": "none"}
    found = relabel(theirs, PNEUMONIA, labels)
    assert dict(zip(found.table["path"], found.table["target"], strict=True)) == {
        "0.png": 1, "2.png": 0,
    }  # fmt: skip


def test_findings_of_findings_keep_what_is_unknown() -> None:
    ours = Task.multilabel(("Opacity", "Hernia"))
    theirs = dataset(FINDINGS, [[1, 0], [0, 0], [0, NAN], [NAN, 1]])
    found = relabel(theirs, ours, {"Opacity": ["Pneumonia", "Effusion"]})
    np.testing.assert_array_equal(found.table["target_Opacity"], [1, 0, NAN, 1])
    assert found.table["target_Hernia"].isna().all()
    assert found.table["label"].tolist() == ["Opacity", "none", "unknown", "Opacity"]


def test_a_class_can_be_a_finding() -> None:
    found = relabel(dataset(PNEUMONIA, [0, 1]), FINDINGS, None)
    np.testing.assert_array_equal(found.table["target_Pneumonia"], [0, 1])
    assert found.table["target_Effusion"].isna().all()
    assert "target" not in found.table


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, r"none has the same name; say which stands for which, 'labels=\{VIRUS: Effusion\}'"),
        ({"FLU": "Pneumonia"}, "FLU is no class of the model"),
        ({"VIRUS": "Flu"}, r"Flu is no class of other \(Effusion, Pneumonia, none\)"),
        ({"VIRUS": "Effusion", "BACTERIA": "Effusion"}, "Effusion stands for two classes"),
        ({"VIRUS": []}, "none has the same name"),
    ],
)
def test_labels_that_do_not_fit(labels, words: str) -> None:
    with pytest.raises(UserError, match=words):
        relabel(dataset(FINDINGS, [[1, 0], [0, 1]]), PATHOGEN, labels)
