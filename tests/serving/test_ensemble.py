"""Several runs that decide together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.trained import TrainedRun
from scipy.special import expit, logit
from torch import nn

from cxrlab.errors import UserError
from cxrlab.evaluate import evaluate
from cxrlab.explanation.methods.mode import hold_exposure
from cxrlab.layout import BEST, MANIFEST_FILE
from cxrlab.model.normalise import Normalise
from cxrlab.predict import predict_files
from cxrlab.serving.ensemble import Ensemble, load_predictor
from cxrlab.serving.heatmaps import heat_maps
from cxrlab.serving.predictor import Predictor

HEATS, CUTS = (0.5, 2.0), (0.1, 0.8)
CPU = torch.device("cpu")


@pytest.fixture
def members(trained_run: TrainedRun, tmp_path: Path) -> list[Path]:
    """Folders of two runs that differ in their last layer, temperature and threshold."""
    folders = []
    for heat, cut in zip(HEATS, CUTS, strict=True):
        saved = torch.load(trained_run.checkpoint, map_location="cpu", weights_only=True)
        last = [name for name in saved["state_dict"] if name.endswith("bias")][-1]
        saved["state_dict"][last] += heat
        saved["operating_point"]["calibration"]["temperature"] = heat
        saved["operating_point"]["thresholds"][0]["value"] = cut
        folder = tmp_path / f"member{heat}"
        (folder / BEST).parent.mkdir(parents=True)
        (folder / MANIFEST_FILE).parent.mkdir(parents=True)
        torch.save(saved, folder / BEST)
        (folder / MANIFEST_FILE).write_bytes((trained_run.output / MANIFEST_FILE).read_bytes())
        folders.append(folder)
    return folders


def checkpoints(members: list[Path]) -> list[Path]:
    return [folder / BEST for folder in members]


def test_logits_over_temperatures_are_averaged_and_so_are_thresholds(
    trained_run: TrainedRun, members: list[Path], tmp_path: Path
) -> None:
    files = sorted((trained_run.images / "test").rglob("*.jpeg"))
    alone = [Predictor.load(file, CPU).predict(files)["logit"] for file in checkpoints(members)]
    expected = (alone[0] / HEATS[0] + alone[1] / HEATS[1]) / 2
    assert np.abs(alone[0] - alone[1]).min() > 0.1
    output = tmp_path / "table.csv"
    predict_files(checkpoints(members), files, output)
    table = pd.read_csv(output)
    np.testing.assert_allclose(table["logit"], expected, atol=1e-5)
    np.testing.assert_allclose(table["calibrated"], expit(expected), atol=1e-6)
    cut = expit((logit(0.1) / 0.5 + logit(0.8) / 2) / 2)  # .145
    threshold = load_predictor(checkpoints(members), CPU).point.thresholds[0]
    assert threshold.value == pytest.approx(cut)
    assert threshold.origin == "val of each member"
    assert (table["decision"] == (expit(expected) >= cut)).all()


def test_the_evidence_is_that_of_the_mean_logit(
    trained_run: TrainedRun, members: list[Path], tmp_path: Path
) -> None:
    file = sorted((trained_run.images / "test").rglob("*.jpeg"))[0]
    alone, together = (
        Predictor.load(trained_run.checkpoint, CPU),
        load_predictor(checkpoints(members), CPU),
    )
    pixels = alone.square(file.read_bytes())[None]
    for method in ("input_x_gradient", "integrated_gradients"):
        (own,) = heat_maps(alone, pixels, method=method)
        (found,) = heat_maps(together, pixels, method=method)
        # The members differ in their bias, which has no evidence, and in their temperature.
        expected = own.map * np.mean([1 / heat for heat in HEATS])
        np.testing.assert_allclose(found.map, expected, atol=0.02 * np.abs(expected).max())
    assert not found.doubtful
    predict_files(checkpoints(members), [file], tmp_path / "t.csv", method="integrated_gradients")
    (drawn,) = pd.read_csv(tmp_path / "t.csv")["heatmap"]
    assert (tmp_path / drawn).stat().st_size > 1000


def test_members_of_which_some_see_the_exposure_are_explained_as_they_are() -> None:
    seeing, blind = (
        nn.Sequential(
            Normalise([0.5], [0.2], standardise=standardise), nn.Flatten(), nn.Linear(16, 1)
        )
        for standardise in (False, True)
    )
    both = Ensemble([seeing, blind], [1.0, 1.0]).eval()
    images = torch.rand(2, 1, 4, 4)
    network, held = hold_exposure(both, images)
    assert network is both
    assert torch.equal(held, images)
    twice = Ensemble([blind, blind], [1.0, 2.0]).eval()
    network, held = hold_exposure(twice, images)
    assert not torch.equal(held, images)
    torch.testing.assert_close(network(held), twice(images))


def test_a_member_that_is_sure_of_nothing_does_not_outvote_the_others(members: list[Path]) -> None:
    _change(members[0], lambda saved: saved["operating_point"]["thresholds"][0].update(value=0.0))
    assert 0 < load_predictor(checkpoints(members), CPU).point.cuts[0] < 1


def test_a_threshold_that_was_given_stays_given(members: list[Path]) -> None:
    for folder in members:
        _change(folder, lambda saved: saved["operating_point"]["thresholds"][0].update(
            value=0.5, rule="0.5", origin="given"
        ))  # fmt: skip
    (threshold,) = load_predictor(checkpoints(members), CPU).point.thresholds
    assert (threshold.value, threshold.origin) == (pytest.approx(0.5), "given")


def test_margins_of_review_are_averaged_over_temperatures(members: list[Path]) -> None:
    for folder in members:
        _change(folder, lambda saved: saved["operating_point"].update(margin=1.0))
    point = load_predictor(checkpoints(members), CPU).point
    assert point.margin == pytest.approx((1 / HEATS[0] + 1 / HEATS[1]) / 2)


def test_one_run_is_itself(trained_run: TrainedRun) -> None:
    alone = Predictor.load(trained_run.checkpoint, CPU)
    assert load_predictor([trained_run.checkpoint], CPU).point == alone.point


def test_together_they_score_a_dataset(
    trained_run: TrainedRun, members: list[Path], tmp_path: Path, compose
) -> None:
    named = f"run=[{','.join(map(str, members))}]"
    config = compose(
        named, "tracking=none", "bootstrap=0", "data=chest_xray", f"data.root={trained_run.images}",
        "split=test", command="evaluate",
    )  # fmt: skip
    found = evaluate(config, members, tmp_path / "out")
    assert len(found.tables["test"]) == len(list((trained_run.images / "test").rglob("*.jpeg")))
    alone = compose(named, "tracking=none", command="evaluate")
    with pytest.raises(UserError, match=r"^run=\[.*: each has predictions of its own.*=test$"):
        evaluate(alone, members, tmp_path / "none")


def test_runs_that_do_not_fit_together_are_refused(members: list[Path]) -> None:
    _change(members[1], lambda saved: saved["hyper_parameters"].update(image_size=64))
    with pytest.raises(UserError, match=r"^run=.*member2.0: its image_size \(64\) is not that of"):
        load_predictor(checkpoints(members), CPU)


def test_isotonic_curves_are_refused(members: list[Path]) -> None:
    curve = {"logits": (0.0, 1.0), "probabilities": (0.2, 0.8)}
    _change(
        members[0],
        lambda saved: saved["operating_point"]["calibration"].update(curves=(curve,)),
    )
    with pytest.raises(UserError, match=r"isotonic curves can't be averaged"):
        load_predictor(checkpoints(members), CPU)


def _change(folder: Path, change) -> None:
    saved = torch.load(folder / BEST, map_location="cpu", weights_only=True)
    change(saved)
    torch.save(saved, folder / BEST)
