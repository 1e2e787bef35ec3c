"""Preprocessing for tests: everything off, or some of it on."""

from __future__ import annotations

from cxrlab.config.datasets import Preprocess


def preprocess(**changes: object) -> Preprocess:
    plain = {"crop_borders": False, "percentiles": None, "resize": "stretch", "clahe": None}
    return Preprocess.model_validate({**plain, **changes})


PLAIN = preprocess()
