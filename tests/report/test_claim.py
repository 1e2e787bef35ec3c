from __future__ import annotations

from dataclasses import replace

import pytest

from cxrlab.data.audit.findings import Finding
from cxrlab.report.card import dataset_card
from cxrlab.report.claim import PARTS, Answer, checklist, tally
from cxrlab.report.claim_answer import Material
from cxrlab.report.curves import training_course
from cxrlab.report.finished import FinishedRun
from cxrlab.report.pictures import collect
from cxrlab.report.report import CONTENTS
from cxrlab.report.verdict import judge
from cxrlab.task import Task


def answers(run: FinishedRun, card: str = "chest_xray") -> dict[int, Answer]:
    material = Material(
        run,
        dataset_card(card),
        collect(run.folder, run.split),
        training_course(run.history),
        judge(run),
    )
    return {item.number: item.answer for part in checklist(material) for item in part.items}


def test_the_items_are_numbered_without_a_gap() -> None:
    numbers = [number for items in PARTS.values() for number in items]
    assert numbers == list(range(1, 45))
    topics = [topic for items in PARTS.values() for topic in items.values()]
    assert len(set(topics)) == 44


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize(
    "task",
    [Task.exclusive(("A", "B")), Task.exclusive(("A", "B", "C")), Task.multilabel(("A", "B"))],
    ids=lambda task: task.kind,
)
def test_every_item_says_something_or_asks_the_authors(make_run, task: Task, test: bool) -> None:
    for card in ("chest_xray", "csv"):
        found = answers(make_run(task, test=test).read(), card)
        assert set(found) == set(range(1, 45))
        for number, answer in found.items():
            assert answer.text or answer.authors, number
            assert answer.anchor in {"", "verdict", *CONTENTS}, number
            for text in filter(None, (answer.text, answer.authors)):
                assert text.endswith((".", "...")), (number, text)
                assert "None" not in text.replace("None: one", "").replace("None in this", ""), text


def test_a_status_follows_from_what_is_said() -> None:
    assert Answer("told").status == "filled"
    assert Answer("told", "more").status == "partly"
    assert Answer(authors="all").status == "authors"


def test_what_only_people_know_is_left_to_them(written) -> None:
    found = answers(written.read())
    for number in (3, 4, 13, 15, 17, 34, 41, 44):
        assert found[number].status == "authors", number


def test_what_the_run_knows_is_told(written) -> None:
    run = written.read()
    found = answers(run)
    assert "Kermany" in found[7].text
    assert found[9].text == "Resized to 32 x 32 pixels, stretched."
    assert found[14].text.startswith("NORMAL and PNEUMONIA, by two physicians")
    assert "training 160, validation 120, test 80 images" in found[19].text
    assert found[20].text == "By patient id: no id is in two partitions."
    assert "torch 2.6.0" in found[23].text
    assert found[24].text == "Backbone pretrained on ImageNet; the head is random, seed 0."
    assert found[26].text == "The epoch with the highest validation AUROC: 3 of 4, 0.95."
    assert "200 samples of patients" in found[29].text
    assert "completeness error 2 %" in found[31].text
    assert "360 images of 180 patients in, 0 out" in found[35].text
    assert found[36].text == "By partition: sex."
    assert "abc1234" in found[42].text


def test_patients_in_two_partitions_are_not_called_disjoint(written) -> None:
    run = written.read()
    assert run.manifest is not None
    run.manifest["patient_id"] = run.manifest["patient_id"].replace("test0", "train0")
    found = answers(run)[20]
    assert found.status == "partly"
    assert found.text == "1 patient in more than one partition: they are not disjoint."


def test_every_image_its_own_patient_proves_no_disjointness(make_run) -> None:
    found = answers(make_run(images_a_patient=1).read())[20]
    assert found.status == "partly"
    assert "Every image counts as a patient of its own" in found.text


def test_unreadable_files_are_counted_out(make_run) -> None:
    finding = Finding("unreadable", "warning", 7, "7 files", [])
    found = answers(make_run(findings=[finding]).read())
    assert "7 unreadable files left out" in found[12].text
    assert "7 out" in found[35].text


def test_without_configuration_audit_or_weights_the_authors_are_asked(written) -> None:
    run = written.read()
    bare = replace(
        run, config={}, audit=None, manifest=None, tags={}, software=type(run.software)()
    )
    found = answers(bare, "csv")
    for number in (7, 8, 9, 10, 12, 19, 20, 22, 23, 24, 25, 27, 35, 42):
        assert found[number].status == "authors", number


def test_the_tally_counts_all(written) -> None:
    run = written.read()
    material = Material(
        run, {}, collect(run.folder, "test"), training_course(run.history), judge(run)
    )
    counts = tally(checklist(material))
    assert sum(counts.values()) == 44
    assert all(counts.values())
