from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cxrlab.training.optimizers import build_optimizer, configure, rate_factor, total_steps


@pytest.fixture
def parts() -> tuple[nn.Module, nn.Module]:
    backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    return backbone, nn.Linear(2, 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_kinds(name: str, kind: type, parts, compose) -> None:
    config = compose(f"optimizer={name}").optimizer.model_dump()
    assert type(build_optimizer(*parts, config)) is kind


def test_rates_and_decay_by_group(parts, compose) -> None:
    config = compose("optimizer=adamw", "optimizer.lr=0.1").optimizer.model_dump()
    groups = build_optimizer(*parts, config).param_groups
    found = {
        (round(g["lr"], 6), g["weight_decay"], sum(p.numel() for p in g["params"])) for g in groups
    }
    # Backbone: 18 weights of the convolution decay; its 2 biases and 4 norm weights do not.
    assert found == {(0.03, 0.05, 18), (0.03, 0.0, 6), (0.1, 0.05, 2), (0.1, 0.0, 1)}


def test_frozen_parameters_are_not_handed_to_the_optimizer(parts, compose) -> None:
    parts[0].requires_grad_(False)
    groups = build_optimizer(*parts, compose().optimizer.model_dump()).param_groups
    assert sum(p.numel() for g in groups for p in g["params"]) == 3


def test_cosine_warms_up_and_ends_at_its_last_factor(compose) -> None:
    config = compose("scheduler=cosine", "scheduler.warmup=0.1").scheduler.model_dump()
    rates = [rate_factor(step, 100, config) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx((1 + 0.01) / 2, abs=1e-6)
    assert rates[100] == pytest.approx(0.01)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_warmup_is_followed_by_one_rate(compose) -> None:
    config = compose("scheduler=warmup").scheduler.model_dump()
    rates = [rate_factor(step, 100, config) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10:] == pytest.approx([1.0] * 91)


def test_onecycle_is_torchs(compose) -> None:
    config = compose("scheduler=onecycle", "scheduler.final_factor=0.001").scheduler.model_dump()
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=0.3, final_div_factor=1000 / 25
    )
    for step in range(101):
        expected = optimizer.param_groups[0]["lr"]
        assert rate_factor(step, 100, config) == pytest.approx(expected, abs=0.04)
        optimizer.step()
        if step < 100:
            reference.step()


def test_plateau_watches_validation_auroc(parts, compose) -> None:
    config = compose("scheduler=plateau")
    made = configure(*parts, config.optimizer.model_dump(), config.scheduler.model_dump(), steps=10)
    assert isinstance(made["lr_scheduler"]["scheduler"], ReduceLROnPlateau)
    assert made["lr_scheduler"]["monitor"] == "val/auroc"


@pytest.mark.parametrize(
    ("limit", "accumulate", "steps"),
    [(1.0, 1, 30), (3, 1, 9), (0.5, 1, 15), (1.0, 4, 9), (99, 1, 30)],
)
def test_total_steps_of_three_epochs_of_ten_batches(
    limit: float, accumulate: int, steps: int
) -> None:
    trainer = SimpleNamespace(
        datamodule=SimpleNamespace(train_dataloader=lambda: range(10)),
        limit_train_batches=limit,
        accumulate_grad_batches=accumulate,
        max_epochs=3,
    )
    assert total_steps(trainer) == steps
