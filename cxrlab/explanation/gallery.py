"""Explain chosen cases of a split, write their gallery and say how far the maps can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cxrlab import errors
from cxrlab.explanation import captions, figures, quality
from cxrlab.explanation.attribution import Attribution, AttributionMethod, to_model_input
from cxrlab.explanation.maps import ColourScale

FOLDER = "explanations"


def explain_cases(
    model: nn.Module,
    method: AttributionMethod,
    cases: Mapping[str, pd.DataFrame],
    images: NDArray[np.uint8],
    *,
    classes: Sequence[str],
    threshold: float | None,
    output: Path,
    masks: NDArray[np.bool_] | None = None,
    sigma: float = quality.SMOOTHING,
) -> dict[str, float]:
    """Explain cases; write `explanations/gallery_<kind>.png` and `explanations/completeness.csv`.

    With two classes the logit of the positive class is explained, with more that of the class
    the model decided for.

    Args:
        model: (B, 1, H, W) in [0, 1] to logits.
        method: how to attribute.
        cases: by kind, rows of a prediction table whose index is the position in `images`, as
            `gallery_cases` returns them. Kinds without rows get no figure.
        images: uint8 (N, H, W), the split the predictions belong to.
        classes: names by class index.
        threshold: on the probability, for the captions; None for more than two classes.
        output: the run's output folder.
        masks: lesions, bool (N, H, W), True inside; all-False where there is none.
        sigma: smoothing of overlays and of the pointing game, in pixels.

    Returns:
        `explanation/completeness_error` (median over the cases), `.._worst`,
        `explanation/seconds_per_image` and, if masks of positive cases are not all empty,
        `explanation/pointing_game` and `explanation/mass_in_mask` (means over these cases).
        Without any case, nothing.

    Raises:
        UserError: the masks are not as large as the images.
    """
    if masks is not None and masks.shape != images.shape:
        raise errors.UserError(
            f"lesion masks of shape {masks.shape} do not fit images of shape {images.shape}: "
            "give one mask an image, resized as the image is"
        )
    folder = output / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    chosen = _join(cases)
    positions = chosen.index.to_numpy(dtype=np.int64)
    case_images = np.asarray(images[positions])
    case_masks = None if masks is None else np.asarray(masks[positions], dtype=bool)
    if chosen.empty:
        _write_completeness(chosen, np.empty(0), np.empty(0, dtype=np.int64), folder)
        return {}
    targets = torch.tensor(chosen["decision"].tolist())
    attribution = method(model, to_model_input(case_images), targets)
    _write_completeness(chosen, attribution.completeness_error, attribution.steps, folder)
    _warn_of_doubtful(chosen, attribution, method.tolerance)
    drawn = [
        figures.Case(
            image=case_images[number],
            attribution=attribution.maps[number],
            name=PurePosixPath(row["path"]).name,
            facts=captions.prediction_facts(row, classes, threshold),
            completeness_error=float(attribution.completeness_error[number]),
            doubtful=bool(attribution.completeness_error[number] > method.tolerance),
            mask=None if case_masks is None else case_masks[number],
        )
        for number, (_, row) in enumerate(chosen.iterrows())
    ]
    _draw(drawn, chosen["kind"].tolist(), ColourScale.of(attribution.maps, sigma), method, folder)
    metrics = _trust(attribution)
    if case_masks is not None:
        positive = chosen["target"].to_numpy() != 0
        metrics |= _agreement(attribution.maps[positive], case_masks[positive], sigma)
    return metrics


def _join(cases: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All cases below one another, with their `kind`."""
    tables = [rows.assign(kind=kind) for kind, rows in cases.items()]
    return pd.concat(tables) if tables else pd.DataFrame({"path": [], "kind": []})


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
    table = chosen[["path", "kind"]].assign(error=error, steps=steps)
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
    hits = [quality.pointing_game(attribution, mask, sigma) for attribution, mask in known]
    mass = [quality.mass_in_mask(attribution, mask) for attribution, mask in known]
    return {
        "explanation/pointing_game": float(np.mean(hits)),
        "explanation/mass_in_mask": float(np.mean(mass)),
    }
