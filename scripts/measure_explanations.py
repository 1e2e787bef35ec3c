"""What maps of trained models are worth, on phantoms whose lesions are known to the pixel.

    python scripts/measure_explanations.py FOLDER
    python scripts/measure_explanations.py FOLDER --only marker,random cases=100

Five models are trained, each in a folder of its own below FOLDER, and explained: MobileNetV2 and
another backbone on phantoms, MobileNetV2 on phantoms with a marker that nearly tells the label, and
two that know nothing, with random weights and with shuffled labels (those of `lesions`). A folder
that holds a finished training is not trained again. The tables are Markdown; what each explanation
wrote lies beside its model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import commands
from cxrlab.explanation.quality.files import JSON, TABLE
from cxrlab.layout import RESULTS_FILE
from cxrlab.serving.own import own_images

METHODS = (
    "integrated_gradients", "integrated_gradients_blur", "integrated_gradients_mean",
    "integrated_gradients_average", "smoothgrad_ig", "input_x_gradient", "gradcam", "gradcam++",
    "occlusion", "rise",
)  # fmt: skip
MEASURES = (
    "pointing_game", "mass_in_mask", "iou", "auprc", "deletion_auc", "insertion_auc",
    "randomisation_similarity", "marker_pointing", "marker_share", "completeness_error",
    "seconds_per_image",
)  # fmt: skip
OPTIONS = (
    "optimizer=adamw", "optimizer.lr=2e-3", "scheduler=onecycle",
    "trainer.early_stopping=null", "explanation=none", "trainer.progress_bar=false",
    "tracking=none", "evaluation.bootstrap=0",
)  # fmt: skip
HARD = ("data.shortcut=0.95", "data.difficulty=1.0")  # lesions that are harder than the marker
MARKED = ("data=phantom", "data.images=400", "data.phantom_seed=1", *HARD)
SHUFFLED = "shuffled.csv"


@dataclass(frozen=True)
class Model:
    """A model that is trained and explained.

    Attributes:
        train: overrides of `cxrlab.train`.
        explain: overrides of `cxrlab.explain`, by the name of the folder they write.
    """

    train: tuple[str, ...]
    explain: dict[str, tuple[str, ...]]


def models(folder: Path, backbone: str, epochs: int) -> dict[str, Model]:
    """The five, by the names of their folders in this one."""
    every = (f"methods=[{','.join(METHODS)}]", "cases=40", "curve_steps=16", "checked_cases=4")
    few = ("methods=[integrated_gradients,gradcam]", "cases=40", "curve_steps=16")
    phantoms = ("data=phantom", "data.images=1500", f"trainer.max_epochs={epochs}")
    return {
        "lesions": Model(phantoms, {"quality": every, "marked": (*few, *MARKED)}),
        "backbone": Model(
            (
                *phantoms, f"model.backbone={backbone}", "model.weights=none",
                f"trainer.max_epochs={3 * epochs}",  # for it starts from nothing
            ),
            {"quality": every},
        ),
        "marker": Model(
            (*phantoms, *HARD, "trainer.max_epochs=3"), {"marked": (*few, *MARKED)}
        ),
        "random": Model(
            (*phantoms, "model.weights=none", "optimizer.lr=1e-12", "trainer.max_epochs=1"),
            {"quality": few},
        ),
        "shuffled": Model(
            (
                "data=csv", f"data.table={folder / SHUFFLED}", f"data.root={folder.anchor}",
                "data.label_columns=[label]",
                "data.patient_column=patient_id", "data.mask_column=mask", "audit=warn",
                f"trainer.max_epochs={epochs}",
            ),
            {"quality": few},
        ),
    }  # fmt: skip


def main() -> None:
    """Train and explain, and print a table of each explanation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the models lie, or will")
    parser.add_argument("--only", help="names of models, with commas between them")
    parser.add_argument("--backbone", default="resnet18", help="timm name of the other one")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--train", action="append", default=[], help="overrides of every training")
    parser.add_argument("overrides", nargs="*", help="of every explanation, such as cases=100")
    options = parser.parse_intermixed_args()
    folder = options.folder.absolute()
    chosen = models(folder, options.backbone, options.epochs)
    names = options.only.split(",") if options.only else list(chosen)
    if unknown := set(names) - set(chosen):
        parser.error(f"no model {', '.join(sorted(unknown))}; there are {', '.join(chosen)}")
    for name in names:
        measure(name, chosen[name], folder, options.train, options.overrides)


def measure(
    name: str, model: Model, folder: Path, train: Sequence[str], explain: Sequence[str]
) -> None:
    """Train a model unless it lies there, explain it, and print what was found."""
    output = folder / name
    if not (output / RESULTS_FILE).is_file():
        if name == "shuffled":
            shuffle_labels(folder / "lesions", folder / SHUFFLED)
        commands.run("train", f"hydra.run.dir={output}", *OPTIONS, *model.train, *train)
    for kind, own in model.explain.items():
        where = output / kind
        told = (f"hydra.run.dir={where}", f"run={output}", "tracking=none")
        commands.run("explain", *told, *own, *explain)
        print(f"\n## {name}, {kind}\n\n{verdict(where / JSON)}\n\n{markdown(where / TABLE)}")


def shuffle_labels(run: Path, table: Path) -> None:
    """Write a table of a run's phantoms whose labels went to other patients' images by chance."""
    found = pd.concat([own_images(run, split)[1].table for split in ("train", "val", "test")])
    root = own_images(run, "train")[1].root
    absolute = {
        kind: [str(root / path) if path else "" for path in found[kind]]
        for kind in ("path", "mask")
    }
    labels = np.random.default_rng(0).permutation(found["label"].to_numpy())
    shuffled = found[["patient_id"]].assign(**absolute, label=labels)
    shuffled.to_csv(table, index=False)


def markdown(table: Path) -> str:
    """Methods as rows and measures as columns, each with its interval."""
    found = pd.read_csv(table)
    cells = {
        (row.method, row.measure): _cell(row.value, row.low, row.high) for row in found.itertuples()
    }
    known = [m for m in MEASURES if found.loc[found["measure"] == m, "value"].notna().any()]
    lines = [" | ".join(("method", *known)), " | ".join(["---"] * (1 + len(known)))]
    for method in found["method"].unique():
        lines.append(" | ".join((method, *(cells.get((method, m), "") for m in known))))
    return "\n".join(f"| {line} |" for line in lines)


def verdict(file: Path) -> str:
    """What the page opens with, a line a finding."""
    found = json.loads(file.read_text(encoding="utf-8"))["verdict"]
    return "\n".join(f"- {one['tone']}: {one['title']}. {one['text']}" for one in found)


def _cell(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.3g}" if np.isnan(low) else f"{value:.2f} ({low:.2f}-{high:.2f})"


if __name__ == "__main__":
    main()
