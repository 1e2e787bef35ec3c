"""A run in a few lines of Markdown, for the head of its page in MLflow."""

from __future__ import annotations

import html
import re

from cxrlab.layout import REPORT_FILE
from cxrlab.report.finished import FinishedRun
from cxrlab.report.verdict import Number, judge


def run_note(run: FinishedRun, page: str) -> str:
    """The verdict of the report, its numbers, and where the report is.

    MLflow folds a note after its first lines, so the verdict comes first. Names of classes come
    from the data; nothing of them is read as Markdown or HTML.

    Args:
        run: that has finished.
        page: where the MLflow UI shows it, from `#` on.
    """
    verdict = judge(run)
    numbers = "; ".join(_shown(number) for number in verdict.numbers)
    titles = "; ".join(reservation.title for reservation in verdict.reservations)
    lines = [
        f"**{_plain(verdict.label)}.** {_plain(verdict.sentence)} "
        f"[The whole report]({page}/artifacts/{REPORT_FILE})",
        f"On {run.split}: {_plain(numbers)}.",
        *([f"Reservations: {_plain(titles)}."] if titles else []),
    ]
    return "\n\n".join(lines)


def _shown(number: Number) -> str:
    interval = f" (95 %: {number.span})" if number.span else ""
    return f"{number.name} {number.text}{interval}"


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]#|~!])", r"\\\1", html.escape(text, quote=False))
