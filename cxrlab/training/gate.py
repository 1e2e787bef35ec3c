"""The gate of a run, learnt from its images."""

from __future__ import annotations

import logging

import numpy as np

from cxrlab.config.schema import EvaluationConfig
from cxrlab.data.prepare import PreparedData
from cxrlab.serving.gate import Gate, fit_gate
from cxrlab.tracking.run import Run

_CHUNK = 4096


def learn_gate(config: EvaluationConfig, data: PreparedData, run: Run) -> Gate | None:
    """Learn what tells images that the run can judge from others, if it is wanted and possible.

    What share of validation, and of test where it is read, would be refused is logged as
    `gate/refused_val` and `gate/refused_test`.
    """
    if config.refuse is None:
        return None
    split = data.manifest.table["split"].to_numpy()
    rows = {name: data.rows[split == name] for name in ("train", "val", "test")}
    gate = fit_gate(data.thumbs, rows["train"], rows["val"], config.refuse, seed=0)
    if gate is None:
        logging.getLogger("cxrlab").info(
            "no gate for other images: too few images to learn how radiographs look"
        )
        return None
    read = ("val", "test") if config.test else ("val",)
    shares = {}
    for name in read:
        parts = np.array_split(rows[name], max(1, -(-len(rows[name]) // _CHUNK)))
        refused = [gate.refused(np.asarray(data.thumbs[part])) for part in parts]
        shares[f"gate/refused_{name}"] = float(np.concatenate(refused).mean())
    run.log_metrics(shares)
    return gate
