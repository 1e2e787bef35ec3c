"""Explain chosen cases of a split, write their gallery and say how far the maps can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cxrlab import errors
from cxrlab.explanation import captions, figures, maps
from cxrlab.explanation.attribution import Attribution, AttributionMethod, to_model_input
from cxrlab.explanation.maps import ColourScale
from cxrlab.explanation.quality.evidence import SMOOTHING
from cxrlab.explanation.quality.localisation import mass_in_mask, pointing_game
from cxrlab.task import Task

FOLDER = "explanations"

# Positions in a split (M,) to lesions, bool (M, H, W), True inside and all False where there is
# none; None where the dataset has no masks.
Masks: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.bool_] | None]


def _no_masks(positions: NDArray[np.int64]) -> None:
    return None


def explain_cases(
    network: nn.Module,
    method: AttributionMethod,
    cases: Mapping[str, pd.DataFrame],
    images: NDArray[np.uint8],
    *,
    task: Task,
    thresholds: Sequence[float],
    output: Path,
    masks: Masks = _no_masks,
    sigma: float = SMOOTHING,
) -> dict[str, float]:
    """Explain cases; write `explanations/gallery_<kind>.png` and `explanations/completeness.csv`.

    Args:
        network: frozen, as `inference_network` makes it.
        method: how to attribute.
        cases: by kind, as `gallery_cases` returns them: the index is the position in `images`,
            `explained` the class whose logit is explained. Kinds without rows get no figure.
        images: uint8 (N, H, W), the split the predictions belong to.
        task: what was predicted.
        thresholds: on the probability, for the captions; see `prediction_facts`.
        output: the run's output folder.
        masks: reads the lesions of the images at some positions, for the cases alone.
        sigma: smoothing of overlays and of the pointing game, in pixels.

    Returns:
        `explanation/completeness_error` (median over the cases), `.._worst`,
        `explanation/seconds_per_image` and, if masks of positive cases are not all empty,
        `explanation/pointing_game` and `explanation/mass_in_mask` (means over these cases).
        Without any case, nothing.

    Raises:
        UserError: the masks are not as large as the images.
    """
    folder = output / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    chosen = _join(cases)
    positions = chosen.index.to_numpy(dtype=np.int64)
    if chosen.empty:
        _write_completeness(chosen, np.empty(0), np.empty(0, dtype=np.int64), folder)
        return {}
    case_images, case_masks = np.asarray(images[positions]), masks(positions)
    if case_masks is not None and case_masks.shape != case_images.shape:
        raise errors.UserError(
            f"lesion masks of shape {case_masks.shape} do not fit images of shape "
            f"{case_images.shape}: give one mask an image, resized as the image is"
        )
    targets = torch.tensor(chosen["explained"].tolist())
    attribution = method(network, to_model_input(case_images), targets)
    named = chosen.assign(explained=[task.classes[index] for index in chosen["explained"]])
    _write_completeness(named, attribution.completeness_error, attribution.steps, folder)
    _warn_of_doubtful(chosen, attribution, method.tolerance)
    strips, scale = maps.paint(case_images, attribution.maps, sigma)
    drawn = [
        figures.Case(
            strip=strips[number],
            name=PurePosixPath(row["path"]).name,
            facts=captions.prediction_facts(row, task, thresholds),
            completeness_error=float(attribution.completeness_error[number]),
            doubtful=bool(attribution.completeness_error[number] > method.tolerance),
            mask=None if case_masks is None else case_masks[number],
        )
        for number, (_, row) in enumerate(chosen.iterrows())
    ]
    _draw(drawn, chosen["kind"].tolist(), scale, method, folder)
    metrics = _trust(attribution)
    if case_masks is not None:
        positive = chosen["target"].to_numpy() != 0
        metrics |= _agreement(attribution.maps[positive], case_masks[positive], sigma)
    return metrics


def _join(cases: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All cases below one another, with their `kind`."""
    tables = [rows.assign(kind=kind) for kind, rows in cases.items()]
    return pd.concat(tables) if tables else pd.DataFrame({"path": [], "kind": [], "explained": []})


def _draw(
    drawn: Sequence[figures.Case],
    kinds: Sequence[str],
    scale: ColourScale,
    method: AttributionMethod,
    folder: Path,
) -> None:
    for kind in dict.fromkeys(kinds):
        members = [case for case, its_kind in zip(drawn, kinds, strict=True) if its_kind == kind]
        figure = figures.draw_gallery(members, kind, scale, method.name)
        figure.savefig(folder / f"gallery_{kind}.png")


def _write_completeness(
    chosen: pd.DataFrame, error: NDArray[np.float64], steps: NDArray[np.int64], folder: Path
) -> None:
    table = chosen[["path", "kind", "explained"]].assign(error=error, steps=steps)
    table.to_csv(folder / "completeness.csv", index=False)


def _warn_of_doubtful(chosen: pd.DataFrame, attribution: Attribution, tolerance: float) -> None:
    doubtful = attribution.completeness_error > tolerance
    if doubtful.any():
        names = ", ".join(sorted(set(chosen["path"][doubtful])))
        errors.warn(
            f"{int(doubtful.sum())} of {len(chosen)} explained images miss the completeness "
            f"tolerance {tolerance:g}: their maps are marked as doubtful; more steps may mend "
            f"them ({names})"
        )


def _trust(attribution: Attribution) -> dict[str, float]:
    error = attribution.completeness_error
    metrics = {"explanation/seconds_per_image": attribution.seconds / len(error)}
    if not np.isnan(error).all():
        metrics["explanation/completeness_error"] = float(np.nanmedian(error))
        metrics["explanation/completeness_error_worst"] = float(np.nanmax(error))
    return metrics


def _agreement(
    maps: NDArray[np.float32], masks: NDArray[np.bool_], sigma: float
) -> dict[str, float]:
    """Mean pointing game and mass in the mask over the maps (B, H, W) with a known lesion."""
    known = [pair for pair in zip(maps, masks, strict=True) if pair[1].any()]
    if not known:
        return {}
    hits = [pointing_game(attribution, mask, sigma) for attribution, mask in known]
    mass = [mass_in_mask(attribution, mask) for attribution, mask in known]
    return {
        "explanation/pointing_game": float(np.mean(hits)),
        "explanation/mass_in_mask": float(np.mean(mass)),
    }
