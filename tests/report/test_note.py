"""The gist of a report as Markdown."""

from __future__ import annotations

from cxrlab.report.note import run_note
from cxrlab.report.verdict import judge
from cxrlab.task import Task

PAGE = "#/experiments/1/runs/abc"


def test_it_begins_with_the_verdict_and_leads_to_the_report(written) -> None:
    run = written.read()
    verdict = judge(run)
    first, second, *_ = run_note(run, PAGE).split("\n\n")
    assert first.startswith(f"**{verdict.label}.** {verdict.sentence}")
    assert first.endswith(f"[The whole report]({PAGE}/artifacts/report.html)")
    auroc = verdict.numbers[0]
    assert second.startswith(f"On test: AUROC {auroc.text} (95 %: {auroc.span}); Sensitivity ")


def test_reservations_are_named(make_run) -> None:
    run = make_run(shift=2.0).read()
    titles = [reservation.title for reservation in judge(run).reservations]
    assert titles
    assert run_note(run, PAGE).split("\n\n")[2] == f"Reservations: {'; '.join(titles)}."


def test_names_of_classes_are_no_markup(make_run) -> None:
    run = make_run(Task.exclusive(("NORMAL", "<b>*x*</b>[y](z)"))).read()
    note = run_note(run, PAGE)
    assert r"&lt;b&gt;\*x\*&lt;/b&gt;\[y\](z)" in note
    assert "<b>" not in note
