"""The small parts of the page: words, cards, tables, what is read of a folder."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.audit.findings import Audit, Finding
from cxrlab.evaluation.metrics import Interval, Metrics
from cxrlab.evaluation.predictive_values import predictive_values as by_bayes
from cxrlab.report import data, probabilities, provenance, tables, words
from cxrlab.report.card import dataset_card
from cxrlab.report.subgroups import subgroup_section
from cxrlab.task import Task


@given(st.floats(1e-5, 1 - 1e-5))
def test_a_share_is_never_rounded_to_none_or_all(value: float) -> None:
    for text in (words.two(value), words.three(value)):
        assert 0 < float(text) < 1
        assert float(text) == pytest.approx(value, abs=0.00501)


def test_numbers_as_a_reader_reads_them() -> None:
    assert (words.two(0.954), words.two(1.0), words.two(0.9991)) == ("0.95", "1.00", "0.999")
    assert (words.signed(0.0123), words.signed(-0.4), words.signed(0.00001)) == (
        "+0.012",
        "−0.400",  # noqa: RUF001
        "0.000",
    )
    assert (words.number(1234.0), words.number(0.01234)) == ("1,234", "0.0123")
    assert (words.percent(1, 3), words.percent(1, 0)) == ("33 %", "")
    assert [words.joined(list("abc"[:n])) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_a_known_dataset_has_a_card_and_the_user_s_own_has_none() -> None:
    for name in ("chest_xray", "nih_chestxray14", "chexpert", "rsna_pneumonia", "phantom"):
        card = dataset_card(name)
        assert card["title"]
        assert len(card["Population"]) > 20
        assert card["Labels"]
    assert dataset_card("csv") == dataset_card("image_folder") == {}
    assert dataset_card("../secret") == dataset_card("no_such_dataset") == {}


def test_a_table_of_metrics_has_a_dash_for_what_is_absent() -> None:
    full = Metrics({"auroc": 0.9, "n": 10.0, "tp": 4.0}, {}, {"auroc": Interval(0.8, 0.95)})
    empty = Metrics({"n": 2.0}, {"auroc": "one class", "auprc": "one class"}, {})
    table = tables.metrics_table({"val": full, "test": empty})
    rows = dict(table.rows)
    assert table.head == ("", "validation", "test")
    assert rows["AUROC"] == (tables.Cell("0.900", "0.800 to 0.950"), tables.Cell(words.ABSENT))
    assert rows["True positives"] == (tables.Cell("4"), tables.Cell(words.ABSENT))
    assert "False positives" not in rows
    absent, bare = tables.gaps({"val": full, "test": empty})
    assert absent == [tables.Gap("test", "auroc, auprc", "one class")]
    assert bare == []


def test_long_lists_of_absent_metrics_are_cut() -> None:
    many = Metrics({}, {f"m{i}": "why" for i in range(20)}, {})
    (gap,) = tables.gaps({"test": many})[0]
    assert gap.names.endswith("m11 and 8 more")


def test_each_class_has_its_images_and_metrics(make_run) -> None:
    task = Task.multilabel(("Edema", "Mass"))
    metrics = make_run(task).evaluation.metrics["test"]
    table = tables.class_table(metrics, task)
    assert table is not None
    name, cells = table.rows[0]
    # The last patient's two images are unknown for the first finding.
    assert (name, cells[0].below) == ("Edema", "of 78")
    assert cells[1].text == f"{metrics.values['auroc_Edema']:.3f}"
    assert tables.class_table(metrics, Task.exclusive(("A", "B"))) is None


def test_probes_are_drawn_and_told_only_where_they_alarm() -> None:
    area = {"class": "ILL", "auroc": 0.9, "low": 0.8, "high": 0.95}
    border = Finding("shortcut_border", "warning", 1, "told", [area | {"feature": "rim"}])
    file = Finding("shortcut_metadata", "info", 0, "no alarm", [area | {"feature": "bytes"}])
    same = Finding("shortcut_exposure", "info", 0, "nothing differs", [])
    audit = Audit(9, {}, (file, border, same))
    assert [told.check for told in data.told(audit)] == ["shortcut_border"]
    probes = data.shortcuts(audit)
    assert [(p.feature, p.tone) for p in probes] == [("bytes", "info"), ("rim", "warning")]
    assert probes[0].bar == tables.Bar(0.9, 0.8, 0.95)


def test_characteristics_by_split(written) -> None:
    table = data.characteristics(written.read())
    assert table is not None
    assert table.head == ("", "training", "validation", "test")
    assert table.rows[0] == ("sex", ())
    manifest = written.read().manifest
    women = ((manifest["sex"] == "F") & (manifest["split"] == "test")).sum()
    name, cells = table.rows[1]
    assert name == "F"
    assert cells[2] == tables.Cell(str(women), f"{100 * women / 80:.0f} %")


def test_predictive_values_follow_bayes(written) -> None:
    run = written.read()
    table = probabilities.predictive_values(run)
    assert table is not None
    values = run.metrics.values
    name, cells = table.rows[0]
    assert name == "1 %"
    ppv, npv = by_bayes(values["recall"], values["specificity"], 0.01)
    assert [cell.text for cell in cells[:2]] == [words.three(float(v)) for v in (ppv, npv)]
    assert any(name.endswith("(this test)") for name, _ in table.rows)


def test_predictive_values_need_a_call(make_run) -> None:
    three = make_run(Task.exclusive(("A", "B", "C"))).read()
    assert probabilities.predictive_values(three) is None
    findings = probabilities.predictive_values(make_run(Task.multilabel(("A", "B"))).read())
    assert findings is not None
    assert [name for name, _ in findings.rows] == ["A", "B"]


def test_calibration_before_and_after(written, make_run) -> None:
    run = written.read()
    note = probabilities.calibration(run)
    temperature = run.evaluation.point.calibration.temperature
    assert f"a temperature of {temperature:.3g} fitted on validation" in note.method
    assert note.table is not None
    test = run.metrics.values
    assert [cell.text for cell in note.table.rows[0][1][2:]] == [
        words.three(test["ece"]),
        words.three(test["ece_calibrated"]),
    ]
    isotonic = make_run(overrides=("evaluation.calibration=isotonic",), sizes={
        "train": 20, "val": 200, "test": 80}).read()  # fmt: skip
    assert "isotonic regression" in probabilities.calibration(isotonic).method


def test_without_a_calibrated_metric_it_says_so(written) -> None:
    run = written.read()
    for metrics in run.evaluation.metrics.values():
        for name in [name for name in metrics.values if "calibrated" in name]:
            del metrics.values[name]
    note = probabilities.calibration(run)
    assert note.table is None
    assert "no calibrated metric" in note.method


def test_groups_of_findings_name_both() -> None:
    section = subgroup_section(
        pd.DataFrame(
            {
                "column": ["sex", "sex"],
                "group": ["F", "F"],
                "class": ["Edema", "Mass"],
                "images": [30, 5],
                "patients": [20, 4],
                "small": ["False", "True"],
                "auroc": [0.9, float("nan")],
                "auroc_low": [0.8, float("nan")],
                "auroc_high": [0.95, float("nan")],
            }
        )
    )
    assert section.table.head == ("", "Images", "AUROC")
    assert [name for name, _ in section.table.rows] == ["sex", "F: Edema", "F: Mass *"]
    assert section.table.rows[2][1][1].text == words.ABSENT
    assert section.notes == ("* marks groups too small to judge by.",)


def test_what_is_read_of_a_folder(written) -> None:
    run = written.read()
    assert (run.software.python, run.software.platform) == ("3.11.7 (CPython)", "Linux-6.1-x86_64")
    assert (run.software.own, run.software.commit) == ("0.1.0", "abc1234")
    assert run.software.packages == {"torch": "2.6.0", "timm": "1.0.15"}
    assert run.setting("data.image_size") == 32
    assert run.setting("data.nothing.there", 7) == 7
    assert run.logged("explanation/completeness_error") == 0.02
    assert run.logged("nothing") is None
    rows = dict(provenance.provenance(run))
    assert rows["Weights at the start"] == "pretrained on ImageNet"
    assert rows["Device"] == provenance.UNRECORDED
    assert rows["Split hash"] == run.split_hash()


def test_texts_that_look_like_nothing_stay_texts(make_run) -> None:
    run = make_run(Task.exclusive(("NA", "007")), groups=("nan", "None")).read()
    assert run.manifest is not None
    assert set(run.manifest["label"]) == {"NA", "007"}
    assert set(run.manifest["path"].str[:7]) == {"images/"}
