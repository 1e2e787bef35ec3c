"""What a frozen backbone makes of the images, computed once and kept for every later trial."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrlab.augmentation.augmenter import Augmenter
from cxrlab.config.paths import cache_dir
from cxrlab.config.schema import Config
from cxrlab.data.banks import Features
from cxrlab.data.cache import decoding_key
from cxrlab.data.datamodule import to_unit
from cxrlab.data.feature_store import FeatureStore
from cxrlab.data.prepare import PreparedData
from cxrlab.model.classifier import Classifier
from cxrlab.model.inference import inference_backbone
from cxrlab.progress import progress

FOLDER = "features"
_KEPT = 1024  # images between two additions to the store: what a kill loses at most
_log = logging.getLogger("cxrlab")


def feature_banks(
    config: Config, data: PreparedData, classifier: Classifier, device: torch.device
) -> tuple[Features, Features]:
    """Features of all images as they are, and of the training images in further views.

    View 0 is the image itself; the others are augmented, each by its own draw, which depends on
    the image and the number of the view alone. So trials that differ in head, optimizer, seed or
    split find them computed.

    Args:
        config: the whole configuration.
        data: the decoded images.
        classifier: its backbone makes the features.
        device: where to compute, and where the features will lie.

    Returns:
        What to train on, and what to validate and test on.

    Raises:
        UserError: the features can't be stored.
    """
    network = inference_backbone(classifier).to(device)
    batch_size = config.evaluation.batch_size
    key = "|".join(
        (
            decoding_key(config.data.image_size, config.data.preprocess),
            _digest(network),
            str(device),
        )
    )
    folder = cache_dir(config.data.cache) / FOLDER
    everything = np.arange(len(data.manifest))
    training = np.flatnonzero(data.manifest.table["split"].to_numpy() == "train")
    views = []
    for view in range(config.model.feature_views):
        change = _augmented(Augmenter(config.augmentation), view) if view else None
        name = f"{key}|{view}|{config.augmentation.model_dump_json()}" if view else key
        store = FeatureStore(folder / _hash(name), classifier.backbone.num_features)
        rows = training if view else everything
        _compute(store, network, data, rows, change, batch_size, device)
        found = np.full((len(everything), classifier.backbone.num_features), np.nan, np.float32)
        found[rows] = store.read(data.facts["digest"].iloc[rows].tolist())
        views.append(found)
    return Features(views, device), Features(views[:1], device)


def _compute(
    store: FeatureStore,
    network: nn.Module,
    data: PreparedData,
    rows: NDArray[np.int64],
    change: Callable[[Tensor, list[str]], Tensor] | None,
    batch_size: int,
    device: torch.device,
) -> None:
    """Add what the store lacks of these rows of the manifest."""
    digests = data.facts["digest"].iloc[rows].tolist()
    missing = store.missing(digests)
    if not missing:
        return
    with torch.inference_mode(), progress(len(missing), "computing features") as advance:
        for kept in _chunks(missing, _KEPT):
            parts = []
            for chosen in _chunks(kept, batch_size):
                pixels = data.pixels[data.rows[rows[chosen]]]
                images = to_unit(torch.from_numpy(pixels).to(device)).unsqueeze(1)
                if change is not None:
                    images = change(images, [digests[i] for i in chosen])
                parts.append(network(images).float().cpu().numpy())
                advance(len(chosen))
            store.add([digests[i] for i in kept], np.concatenate(parts))


def _augmented(augment: Augmenter, view: int) -> Callable[[Tensor, list[str]], Tensor]:
    """Each image by the draw of its own digest, whatever batch it is in."""

    def change(images: Tensor, digests: list[str]) -> Tensor:
        seeds = (int(_hash(f"{view}|{digest}")[:15], 16) for digest in digests)
        return torch.cat(
            [augment(image, seed) for image, seed in zip(images.split(1), seeds, strict=True)]
        )

    return change


def _digest(network: nn.Module) -> str:
    """Of every weight, and of what has none: normalisation by image, padding, activations."""
    hashed = hashlib.sha256(repr(network).encode())
    for name, tensor in sorted(network.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(tensor.cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _chunks(items: list[int], size: int) -> Iterator[list[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))
