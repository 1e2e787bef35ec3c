"""Answers to CLAIM items 1 to 21: study, data, reference standard and partitions."""

from __future__ import annotations

from cxrlab.data.audit.findings import counted
from cxrlab.report.claim_answer import Answer, Answers, Material, left_to_authors
from cxrlab.report.reservations import fewest_patients
from cxrlab.report.tables import split_name
from cxrlab.report.words import joined, sentence, value_and_span

_UNKNOWN_SETTING = "The run kept no configuration."


def _title(material: Material) -> Answer:
    backbone = material.run.setting("model.backbone", "a convolutional network")
    return Answer(
        f"Deep learning: {backbone} classifies chest radiographs.",
        "Name the technique in the title.",
        "verdict",
    )


def _abstract(material: Material) -> Answer:
    return Answer(material.verdict.sentence, "Study design, population and conclusions.", "verdict")


def _design(material: Material) -> Answer:
    return Answer(
        "The run reads images that existed before it: retrospective, unless they were collected "
        "for this study.",
        "Whether the collection was planned beforehand.",
    )


def _goal(material: Material) -> Answer:
    classes = joined(list(material.run.task.classes[:6]))
    return Answer(
        f"To make and test a model that tells {classes}"
        f"{' and others' if len(material.run.task.classes) > 6 else ''}.",
        "The clinical question behind it.",
        "verdict",
    )


def _sources(material: Material) -> Answer:
    name = material.run.setting("data.name")
    if name is None:
        return Answer(authors="Name the data sources.")
    if not material.card:
        return Answer(
            f"Dataset {name}, of the user's own.",
            "Where and when the images were acquired, ethics approval, and access.",
            "data",
        )
    told = [material.card["title"], f"Population: {material.card['Population']}"]
    if "Citation" in material.card:
        told.append(f"Citation: {material.card['Citation']}")
    return Answer(" ".join(f"{text.rstrip('.')}." for text in told), anchor="data")


def _eligibility(material: Material) -> Answer:
    unreadable = _unreadable(material)
    if unreadable is None:
        return Answer(authors="Criteria by which patients and images were chosen.")
    view = material.run.setting("data.view")
    chosen = f" Projection kept: {view}." if view else ""
    return Answer(
        f"Every readable image of the dataset; {counted(unreadable, 'file')} left out as "
        f"unreadable.{chosen}",
        "Criteria by which patients and images entered the dataset.",
        "data",
    )


def _preprocessing(material: Material) -> Answer:
    how = material.run.setting("data.preprocess")
    side = material.run.setting("data.image_size")
    if how is None or side is None:
        return Answer(authors=f"{_UNKNOWN_SETTING} Describe the preprocessing.")
    steps = ["black borders cut off"] if how.get("crop_borders") else []
    if how.get("percentiles"):
        low, high = how["percentiles"]
        steps.append(f"gray values stretched between percentiles {low} and {high}")
    if how.get("clahe"):
        steps.append(f"local histogram equalisation (CLAHE, limit {how['clahe']})")
    fit = "keeping the aspect, padded" if how.get("resize") == "letterbox" else "stretched"
    steps.append(f"resized to {side} x {side} pixels, {fit}")
    if material.run.setting("model.standardise"):
        steps.append("each image brought to one mean and spread")
    return Answer(f"{sentence(', '.join(steps))}.", anchor="configuration")


def _subsets(material: Material) -> Answer:
    run = material.run
    if not run.config:
        return Answer(authors=f"{_UNKNOWN_SETTING} Say whether a subset was used.")
    limit, target = run.setting("data.limit"), run.setting("data.target")
    told = f"Target: {target}. " if target else ""
    told += f"At most {limit} images a split." if limit else "No subset: all readable images."
    return Answer(told, anchor="data")


def _deidentification(material: Material) -> Answer:
    how = material.run.setting("tracking.patient_ids")
    kept = {
        "hashed": "Patient ids are stored as salted hashes.",
        "plain": "Patient ids are stored as they came.",
    }.get(how, "")
    return Answer(kept, "How images and headers were de-identified before.", "provenance")


def _missing(material: Material) -> Answer:
    unreadable = _unreadable(material)
    if unreadable is None:
        return Answer(authors="How missing images, labels and clinical data were handled.")
    labels = (
        " Findings with an unknown label are left out of loss and metrics."
        if material.run.task.kind == "multilabel"
        else " Every image kept has a label."
    )
    return Answer(
        f"{counted(unreadable, 'unreadable file')} left out, none imputed.{labels}",
        "Missing clinical data, and bias that exclusions may bring.",
        "data",
    )


def _acquisition(material: Material) -> Answer:
    return Answer(authors="Devices, projections, positions and exposure.")


def _reference(material: Material) -> Answer:
    return Answer(
        material.card.get("Labels", ""),
        "" if material.card else "How each label was obtained.",
        "data" if material.card else "",
    )


def _annotators(material: Material) -> Answer:
    labels = material.card.get("Labels", "")
    return Answer(
        labels and "As far as the dataset's authors tell it: see item 14.",
        "Who annotated, with which training and instructions.",
        "data" if labels else "",
    )


def _agreement(material: Material) -> Answer:
    audit = material.run.audit
    found = [f for f in audit.findings if f.check == "conflicting_labels"] if audit else []
    text = (
        f"The audit found pairs of one picture with two labels: {found[0].count}." if found else ""
    )
    return Answer(text, "Agreement of readers, and how they settled differences.", "audit")


def _partitions(material: Material) -> Answer:
    run = material.run
    if run.audit is None:
        return Answer(authors="How images were assigned to training, tuning and testing.")
    sizes = [f"{split_name(name)} {summary.images:,}" for name, summary in run.audit.splits.items()]
    how, seed = run.setting("data.split"), run.setting("data.split_seed")
    fold = run.setting("data.fold")
    ways = {
        "auto": "the dataset's own parts where it has them, the rest cut at random",
        "official": "the dataset's own parts",
        "file": "a table of the user's",
        "site": f"one site held out ({run.setting('data.site')})",
    }
    told = f"By {ways[how]}, seed {seed}: " if how in ways else ""
    folds = "" if fold is None else f" Fold {fold} of {run.setting('data.folds')} validates."
    text = f"{told}{', '.join(sizes)} images.{folds} Validation is what CLAIM calls tuning."
    return Answer(sentence(text), anchor="data")


def _disjoint(material: Material) -> Answer:
    run = material.run
    if run.manifest is None:
        return Answer(authors="At which level partitions are disjoint.")
    shared = int((run.manifest.groupby("patient_id")["split"].nunique() > 1).sum())
    if shared:
        return Answer(
            f"{counted(shared, 'patient')} in more than one partition: they are not disjoint.",
            "Why, or a new cut.",
            "audit",
        )
    images = len(run.manifest)
    own = run.manifest["patient_id"].nunique() == images
    return Answer(
        "By patient id: no id is in two partitions."
        + (" Every image counts as a patient of its own." if own else ""),
        "Whether images without a patient id share patients." if own else "",
        "audit",
    )


def _sample_size(material: Material) -> Answer:
    run = material.run
    fewest = fewest_patients(run, run.split)
    least = f", with {fewest[0]} at least {fewest[1]}" if fewest else ""
    told = f"{split_name(run.split)} has {run.patients(run.split):,} patients{least}"
    return Answer(
        f"{sentence(told)}; they give AUROC {value_and_span(run.metrics, 'auroc')}.",
        "How the size was planned.",
        "data",
    )


def _unreadable(material: Material) -> int | None:
    audit = material.run.audit
    if audit is None:
        return None
    return sum(f.count for f in audit.findings if f.check == "unreadable")


ANSWERS: Answers = {
    1: _title,
    2: _abstract,
    3: left_to_authors("The clinical problem, present practice, and the model's place in it."),
    4: left_to_authors("What was asked, and what was expected."),
    5: _design,
    6: _goal,
    7: _sources,
    8: _eligibility,
    9: _preprocessing,
    10: _subsets,
    11: _deidentification,
    12: _missing,
    13: _acquisition,
    14: _reference,
    15: left_to_authors("Why these labels, and what better ones there are."),
    16: _annotators,
    17: left_to_authors("How the test images were annotated, and with which tools."),
    18: _agreement,
    19: _partitions,
    20: _disjoint,
    21: _sample_size,
}
