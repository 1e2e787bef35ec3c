"""The page of a run that was trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.replica import write_chest_xray

from cxrlab.data.prepare import prepare
from cxrlab.data.sources import load_manifest
from cxrlab.report.report import write_report
from cxrlab.train import train
from cxrlab.training.session import Session


@pytest.mark.slow
def test_the_folder_of_a_training_becomes_a_page(tmp_path: Path, tiny_compose) -> None:
    root = write_chest_xray(tmp_path / "chest_xray")
    overrides = ("data=chest_xray", f"data.root={root}", "data.target=pathogen")
    config = tiny_compose(*overrides)
    output = tmp_path / "run"
    output.mkdir()
    session = Session(config, output, overrides, "python -m cxrlab.train")
    train(session, prepare(load_manifest(config.data), config.data))
    html = write_report(output, run_id=None).read_text(encoding="utf-8")
    assert "NORMAL, BACTERIA, VIRUS" in html
    for heading in ("Validation panel after epoch 2", "Confusion matrix", "Reliability"):
        assert heading in html
    assert "not kept" not in html.partition('id="provenance"')[0]
