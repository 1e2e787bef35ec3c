"""The model card of a run (Mitchell et al. 2019), as Markdown and as a page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from cxrlab.files import write_atomically
from cxrlab.layout import MODEL_CARD
from cxrlab.page import render
from cxrlab.report import operating, provenance, tables
from cxrlab.report.card import dataset_card
from cxrlab.report.finished import FinishedRun
from cxrlab.report.subgroups import subgroup_section
from cxrlab.report.tables import Table
from cxrlab.report.verdict import judge
from cxrlab.report.words import joined, number, percent, value_and_span
from cxrlab.task import Task

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+|~!])")


def write_model_card(run: FinishedRun) -> tuple[Path, Path]:
    """Write `model_card.md` and `model_card.html` into the run's folder.

    Args:
        run: that has finished.

    Raises:
        OSError: they can't be written.
    """
    text = model_card(run)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    page = render(Path(__file__).with_name("model_card.html.j2"), title=title(run.task), body=body)
    written = run.folder / f"{MODEL_CARD}.md", run.folder / f"{MODEL_CARD}.html"
    for file, content in zip(written, (text, page), strict=True):
        write_atomically(file, content)
    return written


def title(task: Task) -> str:
    """What the card is of."""
    return f"Model card: {', '.join(task.classes[:4])}{', ...' if len(task.classes) > 4 else ''}"


def model_card(run: FinishedRun) -> str:
    """The card as Markdown; names from the data are escaped."""
    verdict = judge(run)
    sections = {
        "Model": _list(_model(run)),
        "Intended use": _list(_use(run)),
        "Training data": _list(_data(run)),
        "Results": [*_counts(run), "", *_table(_results(run))],
        "Operating point": _list(_operating(run)),
        "Subgroups": _subgroups(run),
        "Limits": _list(_limits(run)),
        "How to use it": _commands(run),
    }
    parts = [
        f"# {_plain(title(run.task))}",
        "Research use only. Not a medical device.",
        f"**{_plain(verdict.label)}.** {_plain(verdict.sentence)}",
    ]
    for heading, lines in sections.items():
        parts += [f"## {heading}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _model(run: FinishedRun) -> Iterator[tuple[str, str]]:
    shown = dict(provenance.provenance(run))
    for name in ("Run", "Finished", "cxrlab", "Commit"):
        yield name, shown[name]
    frozen = ", frozen" if run.setting("model.freeze_backbone") else ""
    yield "Backbone", f"{run.setting('model.backbone', 'unknown')}{frozen}"
    yield "Weights at the start", shown["Weights at the start"]
    size = run.setting("data.image_size", "?")
    looks = len(run.setting("model.test_windows", [1.0]))
    looks *= 2 if run.setting("model.test_mirror") else 1
    seen = f", looked at {looks} times" if looks > 1 else ""
    yield "Input", f"one image of {size} x {size} gray values{seen}"
    if run.setting("data.preprocess"):
        steps = [f"{k} {v}" for k, v in run.setting("data.preprocess").items() if v]
        steps += ["one mean and spread"] if run.setting("model.standardise") else []
        yield "Preprocessing", ", ".join(steps)
    yield "Output", f"{run.task.kind}: {', '.join(run.task.classes)}"


def _use(run: FinishedRun) -> Iterator[tuple[str, str]]:
    classes = joined(list(run.task.classes))
    yield "Made for", f"research on {classes} in frontal chest radiographs like those below"
    yield "By", "people who can judge its errors; a reader sees the image too"
    yield (
        "Not for",
        "diagnosis or triage of patients, other projections, other parts of the body, other "
        "populations without a test of its own",
    )


def _data(run: FinishedRun) -> Iterator[tuple[str, str]]:
    name = run.setting("data.name")
    card = dataset_card(str(name)) if name else {}
    yield "Dataset", card.get("title", str(name or provenance.UNRECORDED))
    for field in ("Population", "Labels", "Overlap", "Citation", "Licence"):
        if field in card:
            yield field, card[field]
    if run.manifest is not None:
        for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test")):
            rows = run.manifest[run.manifest["split"] == split]
            patients = number(float(rows["patient_id"].nunique()))
            yield name, f"{number(float(len(rows)))} images of {patients} patients"
    yield "Split hash", dict(provenance.provenance(run))["Split hash"]


def _counts(run: FinishedRun) -> list[str]:
    told = [
        f"{tables.split_name(split)} {number(metrics.values['n'])} images of "
        f"{number(float(run.patients(split)))} patients"
        for split, metrics in run.evaluation.metrics.items()
    ]
    return [_plain(f"Measured on {'; '.join(told)}. In brackets 95 % intervals, by patients.")]


def _results(run: FinishedRun) -> Table:
    return tables.metrics_table(run.evaluation.metrics)


def _operating(run: FinishedRun) -> Iterator[tuple[str, str]]:
    for rule in operating.operating_point(run).rules:
        yield "Decision", rule
    if run.task.kind == "binary":
        for name, label in (("recall", "Sensitivity"), ("specificity", "Specificity")):
            yield f"{label}, {tables.split_name(run.split)}", value_and_span(run.metrics, name)
    review = run.setting("evaluation.review")
    if review:
        yield "Review", f"decisions as near to the threshold as {percent(review, 1)} of validation"
    for split in ("val", "test"):
        refused = run.logged(f"gate/refused_{split}")
        if refused is not None:
            yield f"Gate refuses, {tables.split_name(split)}", f"{100 * refused:.1f} % of images"


def _subgroups(run: FinishedRun) -> list[str]:
    table = run.subgroups.get(run.split)
    if table is None:
        return ["None were asked for: `data.report_columns`."]
    found = subgroup_section(table)
    return [*_table(found.table), "", *map(_plain, found.notes)]


def _limits(run: FinishedRun) -> Iterator[tuple[str, str]]:
    name = run.setting("data.name")
    for reservation in judge(run).reservations:
        yield reservation.title, reservation.text
    for told in provenance.limits(run, dataset_card(str(name)) if name else {}):
        yield "", told


def _commands(run: FinishedRun) -> list[str]:
    named = run.run_id or run.folder.name
    return [
        "```bash",
        f"python -m cxrlab.predict run={named} input=FOLDER",
        f"python -m cxrlab.explain run={named}",
        f"python -m cxrlab.demo run={named}",
        "```",
    ]


def _list(items: Iterator[tuple[str, str]]) -> list[str]:
    return [f"- {f'**{_plain(name)}**: ' if name else ''}{_plain(text)}" for name, text in items]


def _table(table: Table) -> list[str]:
    lines = [_row(table.head), _row(["---"] * len(table.head), raw=True)]
    for name, cells in table.rows:
        if not cells:
            lines.append(_row([f"**{_plain(name)}**", *[""] * (len(table.head) - 1)], raw=True))
            continue
        texts = [f"{cell.text} ({cell.below})" if cell.below else cell.text for cell in cells]
        lines.append(_row([name, *texts]))
    return lines


def _row(cells: Sequence[str], *, raw: bool = False) -> str:
    return f"| {' | '.join(cells if raw else map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Text that stays as it is, in a line of its own or a cell."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(str(text).split()), quote=False))
