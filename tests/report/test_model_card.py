from __future__ import annotations

import re

import pytest

from cxrlab.report.model_card import model_card, write_model_card
from cxrlab.report.tables import metric_cell
from cxrlab.task import Task

HEADINGS = [
    "Model", "Intended use", "Training data", "Results", "Operating point", "Subgroups", "Limits",
    "How to use it",
]  # fmt: skip
TASKS = {
    "binary": Task.exclusive(("NORMAL", "PNEUMONIA")),
    "multiclass": Task.exclusive(("NORMAL", "BACTERIA", "VIRUS")),
    "multilabel": Task.multilabel(("Effusion", "Mass")),
}


@pytest.mark.parametrize("kind", TASKS)
def test_the_card_has_all_sections_and_the_run_s_own_numbers(make_run, kind: str) -> None:
    run = make_run(TASKS[kind]).read()
    text = model_card(run)
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == HEADINGS
    cell = metric_cell(run.metrics, "auroc")
    shown = f"{cell.text} \\({cell.below}\\)" if cell.below else cell.text
    assert re.search(rf"^\| AUROC \|.*\| {re.escape(shown)} \|$", text, flags=re.MULTILINE)
    assert "Not a medical device" in text
    assert "run=run-1" in text


def test_every_row_of_a_table_has_as_many_cells(make_run) -> None:
    lines = model_card(make_run().read()).splitlines()
    blocks, block = [], []
    for line in [*lines, ""]:
        if line.startswith("|"):
            block.append(len(re.findall(r"(?<!\\)\|", line)))
        elif block:
            blocks.append(block)
            block = []
    assert blocks
    assert all(len(set(counts)) == 1 for counts in blocks)


def test_names_from_the_data_are_neither_markup_nor_cells(make_run) -> None:
    evil = Task.exclusive(("<script>alert(1)</script>", "a|b*c_d[e](javascript:x)"))
    run = make_run(evil, groups=("<b>F</b>", "M|x")).read()
    text, page = (file.read_text() for file in write_model_card(run))
    assert "<script>" not in text
    assert "<script" not in page
    assert "href=" not in page
    assert "a|b*c_d[e](javascript:x)" in page.replace("&lt;", "<")


def test_the_page_is_the_card_and_stands_alone(make_run) -> None:
    run = make_run().read()
    markdown, page = write_model_card(run)
    assert (markdown.name, page.name) == ("model_card.md", "model_card.html")
    html = page.read_text()
    for heading in HEADINGS:
        assert f"<h2>{heading}</h2>" in html
    assert "<table>" in html
    assert not re.search(r"(src|href)=\"http", html)


def test_what_the_gate_refuses_stands_on_it(make_run) -> None:
    written = make_run()
    with (written.folder / "metrics.csv").open("a") as file:
        file.write(
            "gate/refused_val,3,0.02,1700000000000\ngate/refused_test,3,0.05,1700000000000\n"
        )
    text = model_card(written.read())
    assert "**Gate refuses, test**: 5.0 % of images" in text
    assert "2.0 % of validation and 5.0 % of test" in text
