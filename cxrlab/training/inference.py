"""Logits of a whole split, in float32."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cxrlab.data.batches import BatchLoader
from cxrlab.data.datamodule import to_unit
from cxrlab.model.classifier import Classifier
from cxrlab.progress import track


@torch.inference_mode()
def predict_logits(
    classifier: Classifier, loader: BatchLoader, device: torch.device, what: str
) -> NDArray[np.float64]:
    """Logits of every image of a loader, in its order.

    In float32 whatever the training precision was: bfloat16 keeps three digits, which makes ties
    of scores that differ and puts exported models off.

    Args:
        classifier: switched to evaluation.
        loader: batches in order.
        device: where to compute.
        what: what the progress bar says.

    Returns:
        (N,) for two classes, else (N, K).
    """
    classifier.eval().to(device)
    layout = torch.channels_last if _is_channels_last(classifier) else torch.contiguous_format
    parts = []
    for batch in track(loader, total=len(loader), what=what):
        images = to_unit(batch["image"].to(device)).contiguous(memory_format=layout)
        parts.append(classifier(images).float().cpu())
    return torch.cat(parts).double().numpy()


def _is_channels_last(classifier: Classifier) -> bool:
    weights = next(p for p in classifier.parameters() if p.ndim == 4)
    return weights.is_contiguous(memory_format=torch.channels_last)
