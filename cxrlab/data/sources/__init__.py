"""One module a dataset: each turns what lies on disk into a manifest."""

from __future__ import annotations

import importlib

from cxrlab.config.datasets import DataConfig
from cxrlab.data.manifest import Manifest


def load_manifest(config: DataConfig) -> Manifest:
    """Every image of the configured dataset, with its official split where it has one.

    A dataset is the module of its name in this package; its one duty is `load(config)`.

    Raises:
        UserError: the dataset is missing or not what it should be.
    """
    source = importlib.import_module(f"{__name__}.{config.name}")
    manifest: Manifest = source.load(config)
    return manifest
