from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from cxrlab.config.paths import run_folder
from cxrlab.errors import UserError
from cxrlab.training.hardware import choose_hardware
from cxrlab.training.parallel import SyncBatchNormAct, strategy
from cxrlab.training.ranks import RANK, Ranks, ranks_of


def test_a_started_process_knows_its_place(compose, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose("trainer=ddp", "trainer.devices=4").trainer
    assert ranks_of(config) == Ranks(0, 4, 0)
    monkeypatch.setenv(RANK, "3")
    assert ranks_of(config) == Ranks(3, 4, 3)


def test_slurm_says_who_a_process_is(compose, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose("trainer=slurm", "trainer.devices=2").trainer
    with pytest.raises(UserError, match="srun --nodes=2 --ntasks-per-node=2"):
        ranks_of(config)
    for name, value in (("NTASKS", "4"), ("PROCID", "3"), ("LOCALID", "1")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert ranks_of(config) == Ranks(3, 4, 1)
    monkeypatch.setenv("SLURM_NTASKS", "3")
    with pytest.raises(UserError, match="srun started 3 processes"):
        ranks_of(config)


def test_all_processes_of_a_slurm_job_and_its_restarts_share_a_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert run_folder("slurm") == "slurm-77"
    assert "slurm" not in run_folder(None), "a run of one process inside a job is like any other"
    monkeypatch.delenv("SLURM_JOB_ID")
    assert "slurm" not in run_folder("slurm")


@pytest.mark.parametrize("config", [{"data.batch_size": 9}, {"data.batch_size": 1}])
def test_a_batch_that_cannot_be_shared_names_one_that_can(compose, config: dict) -> None:
    with pytest.raises(UserError, match=r"nearest valid: data.batch_size=(8|2)$"):
        compose("trainer=ddp", *(f"{k}={v}" for k, v in config.items()))


def test_batch_norms_are_synchronised_with_their_activation_and_come_back() -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet", num_classes=2).eval()
    before = {name: type(module) for name, module in model.named_modules()}
    images = torch.rand(2, 3, 32, 32)
    expected = model(images)
    keys = list(model.state_dict())
    sync = SyncBatchNormAct()
    changed = sync.apply(nn.Sequential(model))
    norms = [m for m in changed.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(m, nn.SyncBatchNorm) for m in norms)
    assert torch.allclose(changed(images), expected), "torch's own would lose activations"
    with torch.no_grad():
        for norm in norms:
            norm.weight.mul_(2)
            norm.running_mean.add_(1)
    trained = changed(images)
    reverted = sync.revert(changed)[0]
    assert {name: type(module) for name, module in reverted.named_modules()} == before
    assert list(reverted.state_dict()) == keys
    assert torch.allclose(reverted(images), trained)
    assert not torch.allclose(trained, expected)


def test_batch_norms_are_synchronised_where_asked_for(
    compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXRLAB_PORT", "12345")
    kinds = {}
    for asked in ("true", "false"):
        config = compose("trainer=ddp", f"trainer.sync_batchnorm={asked}").trainer
        kinds[asked] = [type(p) for p in strategy(config, Ranks(0, 2), print)["plugins"]]
    assert SyncBatchNormAct in kinds["true"]
    assert SyncBatchNormAct not in kinds["false"]
    assert "strategy" not in strategy(config, Ranks(), print)


@pytest.mark.parametrize("ranks", [Ranks(), Ranks(0, 2)])
def test_batch_norms_that_nothing_can_synchronise_are_refused(
    compose, monkeypatch: pytest.MonkeyPatch, ranks: Ranks
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = compose("trainer=ddp", "trainer.sync_batchnorm=true").trainer
    with pytest.raises(UserError, match=r"take trainer\.sync_batchnorm=false"):
        choose_hardware(config, ranks)
