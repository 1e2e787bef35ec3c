"""Where the run comes from, and what can be said of its use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from cxrlab.report.finished import FinishedRun
from cxrlab.report.tables import split_name
from cxrlab.report.words import joined, number, two

UNRECORDED = "not kept in the run's folder"
_WEIGHTS = {
    "imagenet": "pretrained on ImageNet",
    "phantom": "pretrained on synthetic radiographs",
    "random": "random",
}
_QUALITY = {
    "completeness_error": (
        "Completeness error",
        "Gap between the sum of a map and the change of the output it explains, median; 0 is best.",
    ),
    "completeness_error_worst": ("Worst completeness error", "Of any map drawn."),
    "pointing_game": (
        "Pointing game",
        "Share of maps whose peak lies in the known lesion; 1 is best.",
    ),
    "mass_in_mask": ("Mass in the lesion", "Share of a map inside the known lesion; 1 is best."),
    "deletion_auc": (
        "Deletion",
        "Area under the output as the highest pixels are removed; low is good.",
    ),
    "insertion_auc": (
        "Insertion",
        "Area under the output as the highest pixels are put back; high is good.",
    ),
    "randomisation_similarity": (
        "Similarity after randomisation",
        "Of maps to those of a network with random weights; high means they explain no learning.",
    ),
    "seconds_per_image": ("Seconds an image", "Time to make a map."),
}


def provenance(run: FinishedRun) -> list[tuple[str, str]]:
    """What made the run, as pairs of name and value."""
    software, tags = run.software, run.tags
    commit = software.commit or tags.get("cxrlab.git_commit")
    dirty = {"true": ", with uncommitted changes", "false": ", clean"}
    weights = tags.get("cxrlab.weights")
    rows = {
        "Run": run.run_id,
        "Command": tags.get("cxrlab.command") or " ".join(run.overrides) or None,
        "Finished": finished(run),
        "cxrlab": software.own or tags.get("cxrlab.version"),
        "Commit": commit and commit + dirty.get(tags.get("cxrlab.git_dirty", ""), ""),
        "Python": software.python,
        "Platform": software.platform,
        "Device": tags.get("cxrlab.device"),
        "Seed": _text(run.setting("seed")),
        "Weights at the start": weights and _WEIGHTS.get(weights, f"a file with digest {weights}"),
        "Data fingerprint": tags.get("cxrlab.data_fingerprint"),
        "Split hash": run.split_hash() or tags.get("cxrlab.split_hash"),
        "Dataset": _text(run.setting("data.name")),
    }
    return [(name, value or UNRECORDED) for name, value in rows.items()]


def packages(run: FinishedRun) -> str:
    """The packages that numbers depend on, in a line."""
    return ", ".join(f"{name} {version}" for name, version in run.software.packages.items())


def finished(run: FinishedRun) -> str | None:
    """When the last metric was written, in UTC."""
    times = run.history["time"]
    if times.empty:
        return None
    return datetime.fromtimestamp(float(times.max()) / 1000, UTC).strftime("%d %B %Y, %H:%M UTC")


def explanation_quality(run: FinishedRun) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each measure of the explanations that was logged."""
    return list(_quality(run))


def _quality(run: FinishedRun) -> Iterator[tuple[str, str, str]]:
    for key, (name, meaning) in _QUALITY.items():
        value = run.logged(f"explanation/{key}")
        if value is not None:
            exact = number(value) if key.startswith(("seconds", "completeness")) else two(value)
            yield name, exact, meaning


def limits(run: FinishedRun, card: dict[str, str]) -> list[str]:
    """What has to be kept in mind of any use, as far as the run knows."""
    name = run.setting("data.name")
    told = [
        f"It was made from one dataset{f', {name},' if name else ''} and holds for images like "
        "those: same population, devices and projections, same way of labelling.",
        "It knows only its findings, and says nothing of others."
        if run.task.kind == "multilabel"
        else "It knows only its classes. Whatever else an image shows, it will call one of them.",
        _gate(run),
    ]
    if not run.tested:
        told.append("It was never tested.")
    elif run.setting("data.split") == "site":
        told.append("It was tested on another site of the same dataset, on no other collection.")
    else:
        told.append("It was tested on images of the same dataset, on none from elsewhere.")
    told += [f"{field} of the dataset: {card[field]}" for field in ("Caveats",) if field in card]
    return told


def _gate(run: FinishedRun) -> str:
    shares = {split: run.logged(f"gate/refused_{split}") for split in ("val", "test")}
    told = [f"{100 * s:.1f} % of {split_name(n)}" for n, s in shares.items() if s is not None]
    if not told:
        return "It reads any image put before it, also one that is no frontal chest radiograph."
    return (
        f"It refuses images unlike those it was trained on ({joined(told)}); some that are no "
        "frontal chest radiograph will pass all the same."
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
