"""Batch size and rate found before training, of which only the numbers are left."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from cxrlab.config.schema import Config
from cxrlab.data.prepare import PreparedData, prepare
from cxrlab.data.sources import load_manifest
from cxrlab.errors import UserError
from cxrlab.layout import CONFIG_FILE, LAST, METRICS_FILE
from cxrlab.sweeps.plan import Plan, check_tuned
from cxrlab.training import tuning
from cxrlab.training.build import build_classifier
from cxrlab.training.hardware import Hardware
from cxrlab.training.probe import _STEP_OVER_KEPT, SizeProbe, kept_bytes
from cxrlab.training.range_test import RangeTest
from cxrlab.training.tuning import FIGURE, TAG, free_memory, tune

QUICK = ("model.backbone=resnet10t", "explanation=none", "tune.steps=30")
CPU = Hardware("cpu", "32-true", torch.device("cpu"), "")


@pytest.fixture
def tuned(tiny_compose, replica: Path, tmp_path: Path):
    """Tune on the replica; returns what was found."""

    def run(*overrides: str) -> tuning.Tuning:
        config, data = prepared(tiny_compose, replica, *overrides)
        return tune(config, data, CPU, tmp_path / "run")

    return run


def prepared(compose, root: Path, *overrides: str) -> tuple[Config, PreparedData]:
    config = compose("data=chest_xray", f"data.root={root}", *QUICK, *overrides)
    return config, prepare(load_manifest(config.data), config.data)


@pytest.mark.parametrize(
    "extra",
    [
        (),
        pytest.param(("model.dropout=0.5", "trainer.accumulate=2"), marks=pytest.mark.slow),
    ],
    ids=["plain", "dropout and accumulated gradients"],
)
def test_a_tuned_run_is_to_the_bit_one_that_was_given_what_was_found(
    run_training, extra: tuple[str, ...]
) -> None:
    found = run_training(*QUICK, *extra, "tune=both", "tune.max_batch_size=16", name="tuned").output
    config = yaml.safe_load((found / CONFIG_FILE).read_text())
    assert config["data"]["batch_size"] == 16
    values = (f"optimizer.lr={config['optimizer']['lr']}", "data.batch_size=16")
    given = run_training(*QUICK, *extra, *values, name="given").output
    one, other = (torch.load(o / LAST, weights_only=False)["state_dict"] for o in (found, given))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    predictions = [(o / "predictions" / "test.csv").read_text() for o in (found, given)]
    assert predictions[0] == predictions[1]


def test_the_run_holds_the_figure_and_the_curve(run_training) -> None:
    output = run_training(*QUICK, "tune=lr", "trainer.max_epochs=1").output
    assert (output / FIGURE).stat().st_size > 1000
    rows = pd.read_csv(output / METRICS_FILE)
    rates = rows[rows["name"] == "tune/lr"]["value"].to_numpy()
    assert len(rates) == (rows["name"] == "tune/loss").sum() <= 30
    np.testing.assert_allclose(rates[[0, 1]], [1e-6, 1e-6 * 1e6 ** (2 / 30)], rtol=0.3)


def test_every_group_keeps_its_proportion_of_the_rate(
    tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[list[float]] = []
    step = torch.optim.AdamW.step

    def noted(self, *arguments, **named):
        used.append([group["lr"] for group in self.param_groups])
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    curve = tuned("tune=lr", "optimizer.backbone_lr_factor=0.25").curve
    assert len(used) == len(curve.rates)
    for groups, rate in zip(used, curve.rates, strict=True):
        np.testing.assert_allclose(groups, [0.25 * rate, 0.25 * rate, rate, rate])
    assert used[-1][-1] > 1e4 * used[0][-1]


@pytest.mark.parametrize(
    ("losses", "told"),
    [(np.linspace(0.7, 2.0, 30), "never fell"), ([0.7] * 3 + [np.nan] * 27, "diverged at once")],
)
def test_without_a_fall_the_configured_rate_is_kept_with_a_warning(
    losses, told: str, tuned, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    curve = RangeTest(np.geomspace(1e-6, 1, 30), np.array(losses))
    monkeypatch.setattr(tuning, "_range_test", lambda *_: curve)
    found = tuned("tune=lr", "optimizer.lr=0.002")
    assert found.config.optimizer.lr == 0.002
    (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    for words in (told, "optimizer.lr=0.002 is kept", "tune.min_lr"):
        assert words in warning
    assert told in found.tags[TAG]


def test_a_head_on_stored_features_is_tuned_too(tuned) -> None:
    found = tuned("tune=lr", "model.freeze_backbone=true")
    assert found.curve is not None
    assert np.isfinite(found.curve.losses).all()


@pytest.mark.parametrize(
    ("overrides", "size", "why"),
    [
        (["tune.max_batch_size=20"], 16, "not 32: tune.max_batch_size=20"),
        (["tune.max_batch_size=4"], 4, "not 8: tune.max_batch_size=4"),
        ([], 32, "not 64: there are 46 training images"),
    ],
)
def test_the_batch_grows_to_what_is_allowed(
    overrides: list[str], size: int, why: str, tuned
) -> None:
    found = tuned("tune=batch_size", *overrides)
    assert found.config.data.batch_size == size
    assert why in found.tags[TAG]


def test_the_batch_grows_to_what_memory_holds(tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_bytes(tuned("tune=batch_size", "tune.max_batch_size=4").config)
    room = 20 * image * _STEP_OVER_KEPT / tuning._SHARE_OF_MEMORY
    monkeypatch.setattr(tuning, "free_memory", lambda: int(room))
    found = tuned("tune=batch_size")
    assert found.config.data.batch_size == 16
    assert "not 32: a step would need" in found.tags[TAG]


def test_a_configured_batch_that_is_too_large_shrinks(
    tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_bytes(tuned("tune=batch_size", "tune.max_batch_size=4").config)
    room = 3 * image * _STEP_OVER_KEPT / tuning._SHARE_OF_MEMORY
    monkeypatch.setattr(tuning, "free_memory", lambda: int(room))
    assert tuned("tune=batch_size").config.data.batch_size == 2


def test_where_not_one_image_fits_one_line_says_so(tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "free_memory", lambda: 1000)
    with pytest.raises(UserError, match="not even one image fits"):
        tuned("tune=batch_size")


def image_bytes(config: Config) -> float:
    classifier, _ = build_classifier(config, prepare(load_manifest(config.data), config.data))
    few, more = (kept_bytes(classifier, count, config.data.image_size) for count in (2, 4))
    return (more - few) / 2


def test_kept_bytes_of_a_linear_head_are_its_inputs(tiny_compose, replica: Path) -> None:
    config, data = prepared(tiny_compose, replica, "model.freeze_backbone=true", "model.dropout=0",
                            "model.hidden=null")  # fmt: skip
    classifier, _ = build_classifier(config, data)
    few, more = (kept_bytes(classifier, count, 32) for count in (2, 4))
    assert more - few == 2 * 4 * classifier.backbone.num_features


def test_a_real_out_of_memory_is_the_end_too(
    tiny_compose, replica: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where nothing is estimated."""
    train = SizeProbe.training_step

    def limited(self, batch, batch_idx):
        if len(batch["target"]) > 8:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return train(self, batch, batch_idx)

    monkeypatch.setattr(SizeProbe, "training_step", limited)
    config, data = prepared(tiny_compose, replica, "tune=batch_size")
    found = tune(config, data, CPU, tmp_path)
    assert found.config.data.batch_size == 8
    assert "not 16: out of memory" in found.tags[TAG]


def test_a_run_that_goes_on_is_not_tuned_again(tuned) -> None:
    assert tuned("tune=both", "resume=latest").curve is None


def test_nothing_is_left_but_the_figure_and_a_plain_configuration(tuned, tmp_path: Path) -> None:
    assert json.dumps(tuned("tune=lr").config.plain())
    left = [str(f.relative_to(tmp_path / "run")) for f in (tmp_path / "run").rglob("*.*")]
    assert left == [FIGURE]


def test_ctrl_c_is_an_interruption(tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning.RateProbe, "training_step", press)
    with pytest.raises(KeyboardInterrupt):
        tuned("tune=lr")


def test_in_a_container_its_limit_counts(tmp_path: Path) -> None:
    whole = free_memory(tmp_path / "none")
    for name, text in {
        "memory.max": "1000000",
        "memory.current": "700000",
        "memory.stat": "inactive_file 200000\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == 500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) == pytest.approx(whole, rel=0.2)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tune=both", "trainer=ddp"], ["tune=both", "trainer.devices=1"]),
        (["tune=batch_size", "model.freeze_backbone=true"], ["tune=batch_size", "tune=lr"]),
        (["tune=lr", "tune.max_lr=1e-5"], ["tune.max_lr", "two decades"]),
    ],
)
def test_what_has_no_meaning_is_refused(
    overrides: list[str], words: list[str], tiny_compose
) -> None:
    with pytest.raises(UserError) as refused:
        tiny_compose(*overrides)
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_batch_comes_first_and_once(tiny_compose) -> None:
    assert tiny_compose("tune=lr", "tune.what=[lr,batch_size,lr]").tune.what == ("batch_size", "lr")


@pytest.mark.parametrize(
    ("varied", "tuned", "refused"),
    [
        ("optimizer.lr=1e-3,1e-4", "tune=lr", True),
        ("data.batch_size=8,16", "tune=both", True),
        ("seed=0,1", "tune=both", False),
    ],
)
def test_a_sweep_may_not_vary_what_is_tuned(
    varied: str, tuned: str, refused: bool, tiny_compose
) -> None:
    key, _, values = varied.partition("=")
    plan = Plan((), {key: tuple(f"{key}={value}" for value in values.split(","))}, {})
    if not refused:
        check_tuned(plan, [tiny_compose(tuned)])
        return
    with pytest.raises(UserError, match=f"replaces {key}, which the sweep varies"):
        check_tuned(plan, [tiny_compose(tuned)])
