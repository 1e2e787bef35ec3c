"""The 44 items of CLAIM 2024, and which of them a run can answer.

Tejani et al., Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update,
Radiology: Artificial Intelligence 6(4), 2024, e240300, doi:10.1148/ryai.240300. The items are
named here in words of our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from cxrlab.report import claim_data, claim_model, claim_results
from cxrlab.report.claim_answer import Answer, Material, Status


@dataclass(frozen=True)
class Item:
    """An item of the checklist and its answer."""

    number: int
    topic: str
    answer: Answer


@dataclass(frozen=True)
class Part:
    """A part of a manuscript and its items."""

    name: str
    items: tuple[Item, ...]


PARTS: dict[str, dict[int, str]] = {
    "Title and abstract": {
        1: "AI method named in the title",
        2: "Summary of design, methods, results, conclusions",
    },
    "Introduction": {
        3: "Background, intended use and role",
        4: "Aims and hypotheses",
    },
    "Methods: study design": {
        5: "Prospective or retrospective",
        6: "Goal of the study",
    },
    "Methods: data": {
        7: "Sources of the data",
        8: "Who was included and excluded",
        9: "Preprocessing",
        10: "Choice of subsets",
        11: "De-identification",
        12: "Missing data",
        13: "How images were acquired",
    },
    "Methods: reference standard": {
        14: "How the reference standard was obtained",
        15: "Why this reference standard",
        16: "Who annotated",
        17: "Annotation of the test set",
        18: "Agreement between and within readers",
    },
    "Methods: data partitions": {
        19: "How data were assigned to partitions",
        20: "Level at which partitions are disjoint",
    },
    "Methods: testing data": {21: "Intended sample size"},
    "Methods: model": {
        22: "The model in detail",
        23: "Software with versions",
        24: "First values of the weights",
    },
    "Methods: training": {
        25: "How it was trained",
        26: "How the final model was chosen",
        27: "Ensembles",
    },
    "Methods: evaluation": {
        28: "Metrics of performance",
        29: "Significance and uncertainty",
        30: "Robustness and sensitivity",
        31: "Explanations and their validation",
        32: "Evaluation on internal data",
        33: "Testing on external data",
        34: "Registration of a clinical trial",
    },
    "Results: data": {
        35: "Numbers included and excluded",
        36: "Demographic and clinical characteristics by partition",
    },
    "Results: model performance": {
        37: "Performance with its uncertainty",
        38: "Diagnostic performance and its precision",
        39: "Analysis of failures",
    },
    "Discussion": {
        40: "Limitations",
        41: "Implications for practice",
    },
    "Other information": {
        42: "Full protocol or technical details",
        43: "Availability of software, model and data",
        44: "Funding and the funders' role",
    },
}


def checklist(material: Material) -> tuple[Part, ...]:
    """Answer every item, as far as the run can."""
    answers = {**claim_data.ANSWERS, **claim_model.ANSWERS, **claim_results.ANSWERS}
    return tuple(
        Part(name, tuple(Item(n, topic, answers[n](material)) for n, topic in items.items()))
        for name, items in PARTS.items()
    )


def tally(parts: tuple[Part, ...]) -> dict[Status, int]:
    """How many items have each status."""
    found: dict[Status, int] = {"filled": 0, "partly": 0, "authors": 0}
    for part in parts:
        for item in part.items:
            found[item.answer.status] += 1
    return found
