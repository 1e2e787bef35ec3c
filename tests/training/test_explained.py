"""Other methods than the default in a training run."""

from __future__ import annotations

import pandas as pd
import pytest


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_a_run_explains_by_the_method_chosen(run_training, method: str) -> None:
    run = run_training(f"explanation={method}", "explanation.every_n_epochs=2")
    written = {file.name for file in (run.output / "explanations").iterdir()}
    assert "panel_epoch_002.png" in written
    assert any(name.startswith("gallery_") for name in written)
    told = pd.read_csv(run.output / "explanations/completeness.csv")
    assert len(told) > 0
    assert told["error"].isna().all()  # such maps need not sum to the output
    names = set(pd.read_csv(run.output / "metrics.csv")["name"])
    assert "explanation/seconds_per_image" in names
    assert "explanation/completeness_error" not in names
