from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrlab.data.prepare import PreparedData, prepare
from cxrlab.data.sources import load_manifest
from cxrlab.tracking.run import NullRun
from cxrlab.training.gate import learn_gate

PHANTOM = ("data=phantom", "data.images=320", "data.image_size=32")


@pytest.fixture(scope="module")
def data(tiny_compose) -> PreparedData:
    config = tiny_compose(*PHANTOM)
    return prepare(load_manifest(config.data), config.data)


def logged(run: NullRun) -> dict[str, float]:
    run.flush()
    table = pd.read_csv(run.output / "metrics.csv")
    return dict(zip(table["name"], table["value"], strict=True))


def test_it_is_learnt_of_training_and_validation_and_its_cost_is_logged(
    data: PreparedData, tiny_compose, tmp_path: Path
) -> None:
    run = NullRun(tmp_path)
    gate = learn_gate(tiny_compose(*PHANTOM, "evaluation.refuse=0.1").evaluation, data, run)
    assert gate is not None
    split = data.manifest.table["split"].to_numpy()
    for name, share in logged(run).items():
        thumbs = data.thumbs[data.rows[split == name.rpartition("_")[2]]]
        assert share == np.mean([gate.distance(t[None])[0] > gate.limit for t in thumbs])
    assert 0 < logged(run)["gate/refused_val"] <= 0.1
    assert set(logged(run)) == {"gate/refused_val", "gate/refused_test"}


def test_test_is_not_looked_at_before_it_is_read(
    data: PreparedData, tiny_compose, tmp_path: Path
) -> None:
    run = NullRun(tmp_path)
    learn_gate(tiny_compose(*PHANTOM, "evaluation.test=false").evaluation, data, run)
    assert set(logged(run)) == {"gate/refused_val"}


def test_none_is_learnt_where_none_is_wanted(
    data: PreparedData, tiny_compose, tmp_path: Path
) -> None:
    config = tiny_compose(*PHANTOM, "evaluation.refuse=null").evaluation
    assert learn_gate(config, data, NullRun(tmp_path)) is None
