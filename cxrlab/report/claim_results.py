"""Answers to CLAIM items 35 to 44: results, discussion and other information."""

from __future__ import annotations

from cxrlab.data.audit.findings import counted
from cxrlab.evaluation.grouping import report_columns
from cxrlab.report.claim_answer import Answer, Answers, Material, left_to_authors
from cxrlab.report.tables import split_name
from cxrlab.report.words import joined, sentence, value_and_span


def _included(material: Material) -> Answer:
    audit = material.run.audit
    if audit is None:
        return Answer(authors="Numbers of patients and images, in and out.")
    left_out = sum(f.count for f in audit.findings if f.check == "unreadable")
    patients = material.run.manifest
    of = "" if patients is None else f" of {counted(patients['patient_id'].nunique(), 'patient')}"
    return Answer(
        f"{counted(audit.images, 'image')}{of} in, {left_out:,} out; drawn as a flow.",
        "Who was left out before the dataset was made.",
        "data",
    )


def _characteristics(material: Material) -> Answer:
    run = material.run
    columns = report_columns(run.evaluation.tables[run.split], run.task)
    known = columns if run.manifest is not None else []
    return Answer(
        f"By partition: {', '.join(columns)}." if known else "",
        "Age, sex and clinical state of the patients, as far as not given here.",
        "data" if known else "",
    )


def _performance(material: Material) -> Answer:
    run = material.run
    return Answer(
        "; ".join(
            f"{sentence(split_name(split))}: AUROC {value_and_span(metrics, 'auroc')}"
            for split, metrics in run.evaluation.metrics.items()
        )
        + ("; by subgroup below." if run.subgroups else "."),
        anchor="metrics",
    )


def _diagnostic(material: Material) -> Answer:
    metrics, split = material.run.metrics, split_name(material.run.split)
    names = {"recall": "sensitivity", "specificity": "specificity"}
    if material.run.task.kind != "binary":
        names = {"balanced_accuracy": "balanced accuracy", **names}
    told = [f"{label} {value_and_span(metrics, name)}" for name, label in names.items()]
    return Answer(f"On {split}: {', '.join(told)}.", anchor="operating")


def _failures(material: Material) -> Answer:
    counts = material.run.metrics.values
    wrong = (
        f"{int(counts['fn']):,} missed, {int(counts['fp']):,} false alarms"
        if {"fn", "fp"} <= counts.keys()
        else "confusion matrix"
    )
    if not material.album.failures:
        return Answer(f"{sentence(wrong)}.", "What the wrong cases show.", "figures")
    return Answer(
        f"{sentence(wrong)}; the surest wrong ones are drawn with their explanations.",
        "What a radiologist sees in them.",
        "failures",
    )


def _limitations(material: Material) -> Answer:
    titles = [reservation.title.lower() for reservation in material.verdict.reservations]
    return Answer(
        f"Found by this report: {joined(titles)}." if titles else "",
        "Limits of population, labels and methods.",
        "verdict" if titles else "",
    )


def _protocol(material: Material) -> Answer:
    run = material.run
    if not run.config:
        return Answer(authors="Where the protocol is.")
    commit = run.software.commit
    at = f", commit {commit}" if commit not in (None, "unknown") else ""
    return Answer(
        f"The whole configuration, the seed and versions are here{at}.",
        "A protocol fixed beforehand, if there was one.",
        "configuration",
    )


def _availability(material: Material) -> Answer:
    licence = material.card.get("Licence", "")
    return Answer(
        "Software: cxrlab, Apache-2.0. Weights: checkpoints/best.ckpt of the run."
        + (f" Data: {licence}" if licence else ""),
        "Where code, weights and data can be had.",
        "provenance",
    )


ANSWERS: Answers = {
    35: _included,
    36: _characteristics,
    37: _performance,
    38: _diagnostic,
    39: _failures,
    40: _limitations,
    41: left_to_authors("What should change in practice; this model is for research only."),
    42: _protocol,
    43: _availability,
    44: left_to_authors("Who paid, and what part they had."),
}
