"""One module a dataset: each turns what lies on disk into a manifest."""

from __future__ import annotations

from cxrlab.config.schema import ChestXrayData, PhantomData
from cxrlab.data.manifest import Manifest


def load_manifest(config: PhantomData | ChestXrayData) -> Manifest:
    """The manifest of the configured dataset, split, limited and checked.

    Raises:
        UserError: the dataset is missing, or a split is empty or lacks a class.
    """
    if isinstance(config, PhantomData):
        from cxrlab.data.sources import phantom

        manifest = phantom.load(config)
    else:
        from cxrlab.data.sources import chest_xray

        manifest = chest_xray.load(config)
    manifest = manifest.limited(config.limit, config.split_seed)
    manifest.check()
    return manifest
