"""What the report says to an item of the checklist, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from cxrlab.report.curves import Course
from cxrlab.report.finished import FinishedRun
from cxrlab.report.pictures import Album
from cxrlab.report.verdict import Verdict

Status = Literal["filled", "partly", "authors"]


@dataclass(frozen=True)
class Material:
    """What answers are made of.

    Attributes:
        run: as read from its folder.
        card: of its dataset; empty for one of the user's own.
        album: its figures.
        course: of its training.
        verdict: with the reservations.
    """

    run: FinishedRun
    card: Mapping[str, str]
    album: Album
    course: Course
    verdict: Verdict


@dataclass(frozen=True)
class Answer:
    """What the report says to an item.

    Attributes:
        text: the content in a line; empty where the report has none.
        authors: what only the authors can add; empty where nothing is missing.
        anchor: the section that tells more; empty for none.
    """

    text: str = ""
    authors: str = ""
    anchor: str = ""

    @property
    def status(self) -> Status:
        """`filled` by this report, `partly`, or left to the `authors`."""
        if not self.text:
            return "authors"
        return "partly" if self.authors else "filled"


Answers = Mapping[int, Callable[[Material], Answer]]


def left_to_authors(what: str) -> Callable[[Material], Answer]:
    """The answer to an item that no run can know anything of."""
    return lambda _: Answer(authors=what)
