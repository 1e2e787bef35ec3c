"""One self-contained HTML file a run: read from its folder, written into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrlab.errors import UserError
from cxrlab.files import write_atomically
from cxrlab.layout import REPORT_FILE
from cxrlab.page import render
from cxrlab.report import claim, data, operating, pictures, probabilities, provenance, tables
from cxrlab.report.card import dataset_card
from cxrlab.report.claim_answer import Material
from cxrlab.report.curves import training_course
from cxrlab.report.finished import FinishedRun, read_run
from cxrlab.report.flow import draw_flow
from cxrlab.report.subgroups import subgroup_section
from cxrlab.report.verdict import judge
from cxrlab.task import Task

CONTENTS = {
    "data": "Data",
    "audit": "Audit",
    "training": "Training",
    "metrics": "Metrics",
    "operating": "Operating point",
    "figures": "Figures",
    "calibration": "Calibration",
    "subgroups": "Subgroups",
    "predictive": "Predictive values",
    "explanations": "Explanations",
    "failures": "Failures",
    "configuration": "Configuration",
    "provenance": "Provenance",
    "use": "Use and limits",
    "claim": "CLAIM 2024",
}
# Figures that have a section of their own.
_ELSEWHERE = ("reliability", "predictive_values", "subgroups", "augmentation")
_MOST_NAMED = 3


def write_report(
    output: Path, *, run_id: str | None, tags: Mapping[str, str] | None = None
) -> Path:
    """Write `report.html`: opens offline, needs no script, escapes every name and path.

    What the folder lacks is left out, and the page says so.

    Args:
        output: folder of a finished run.
        run_id: of the tracking store; None without one.
        tags: what only the tracking store keeps: `cxrlab.weights`, `cxrlab.device`,
            `cxrlab.data_fingerprint`, `cxrlab.git_dirty`, `cxrlab.command`.

    Returns:
        The file written.

    Raises:
        UserError: the run has not finished, a file of its is damaged, or the disk is full.
    """
    run = read_run(output, run_id, tags)
    html = render(Path(__file__).with_name("page.html.j2"), **page_content(run))
    file = output / REPORT_FILE
    try:
        write_atomically(file, html)
    except OSError as error:
        raise UserError(
            f"can't write {file}: {error.strerror}; free some space or choose another folder"
        ) from error
    return file


def page_content(run: FinishedRun) -> dict[str, Any]:
    """Everything that the template names."""
    verdict, album = judge(run), pictures.collect(run.folder, run.split)
    course, card = training_course(run.history), _card(run)
    parts = claim.checklist(Material(run, card, album, course, verdict))
    return {
        "run": run,
        "title": title(run.task),
        "contents": CONTENTS,
        "verdict": verdict,
        "split": tables.split_name(run.split),
        "course": course,
        "card": card,
        "album": album,
        "figures": [p for stem, p in album.figures.items() if stem not in _ELSEWHERE],
        "finished": provenance.finished(run),
        "provenance": provenance.provenance(run),
        "packages": provenance.packages(run),
        "limits": provenance.limits(run, card),
        "quality": provenance.explanation_quality(run),
        "parts": parts,
        "tally": claim.tally(parts),
        **_data(run),
        **_results(run),
    }


def title(task: Task) -> str:
    """What the model tells apart, as a heading."""
    if task.kind == "binary":
        return f"{task.classes[1]} against {task.classes[0]}"
    named = ", ".join(task.classes[:_MOST_NAMED])
    more = len(task.classes) - _MOST_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _card(run: FinishedRun) -> dict[str, str]:
    name = run.setting("data.name")
    return dataset_card(str(name)) if name else {}


def _data(run: FinishedRun) -> dict[str, Any]:
    audit, manifest = run.audit, run.manifest
    patients = None if manifest is None else int(manifest["patient_id"].nunique())
    return {
        "flows": () if audit is None else draw_flow(audit, patients, tested=run.tested),
        "characteristics": data.characteristics(run),
        "findings": [] if audit is None else data.told(audit),
        "shortcuts": [] if audit is None else data.shortcuts(audit),
    }


def _results(run: FinishedRun) -> dict[str, Any]:
    absent, bare = tables.gaps(run.evaluation.metrics)
    return {
        "metrics": tables.metrics_table(run.evaluation.metrics),
        "each_class": [
            (tables.split_name(split), table)
            for split, metrics in run.evaluation.metrics.items()
            if (table := tables.class_table(metrics, run.task)) is not None
        ],
        "absent": absent,
        "no_interval": bare,
        "operating": operating.operating_point(run),
        "calibration": probabilities.calibration(run),
        "predictive": probabilities.predictive_values(run),
        "subgroups": [
            (tables.split_name(split), subgroup_section(table))
            for split, table in sorted(run.subgroups.items(), key=lambda p: p[0] != run.split)
        ],
    }
