"""Logits of a whole split, in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrlab.data.batches import BatchLoader
from cxrlab.data.datamodule import to_unit
from cxrlab.model.classifier import Classifier
from cxrlab.model.inference import inference_network
from cxrlab.progress import track


@torch.inference_mode()
def predict_logits(
    classifier: Classifier,
    loader: BatchLoader,
    device: torch.device,
    what: str,
    change: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> NDArray[np.float64]:
    """Logits of every image of a loader, in its order.

    In float32 whatever the training precision was: bfloat16 keeps three digits, which makes ties
    of scores that differ and puts exported models off.

    Args:
        classifier: not changed, but switched to evaluation and moved to the device.
        loader: batches in order, of images or of features.
        device: where to compute.
        what: what the progress bar says.
        change: maps a batch of images (B, 1, H, W) float32 in [0, 1] and their rows in the split
            (B,) to what is looked at in their place.

    Returns:
        (N,) for two classes, else (N, K).
    """
    classifier.eval().to(device)
    network = inference_network(classifier)
    parts = []
    for batch in track(loader, total=len(loader), what=what):
        if "features" in batch:
            logits = classifier.head(batch["features"].to(device))
        else:
            images = to_unit(batch["image"].to(device))
            logits = network(images if change is None else change(images, batch["index"]))
        parts.append(logits.float().cpu())
    return torch.cat(parts).double().numpy()
