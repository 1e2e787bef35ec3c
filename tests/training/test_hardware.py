from __future__ import annotations

import pytest
import torch

from cxrlab.errors import UserError
from cxrlab.training import hardware as module
from cxrlab.training.hardware import choose_hardware


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(("multiplies", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_takes_bfloat16_where_the_hardware_multiplies_it(
    multiplies: bool, precision: str, monkeypatch: pytest.MonkeyPatch, compose
) -> None:
    monkeypatch.setattr(module, "_cpu_multiplies_bf16", lambda: multiplies)
    chosen = choose_hardware(compose().trainer)
    assert (chosen.accelerator, chosen.precision) == ("cpu", precision)
    assert precision in chosen.description
    assert "channels_last" in chosen.description


def test_bfloat16_without_instructions_for_it_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, compose
) -> None:
    monkeypatch.setattr(module, "_cpu_multiplies_bf16", lambda: False)
    chosen = choose_hardware(compose("trainer.precision=bf16-mixed").trainer)
    assert chosen.precision == "bf16-mixed"
    assert "trainer.precision=auto" in caplog.text


def test_a_missing_gpu_is_an_error_where_one_is_asked_for(compose) -> None:
    with pytest.raises(UserError, match="no GPU"):
        choose_hardware(compose("trainer=gpu").trainer)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch, compose) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    chosen = choose_hardware(compose().trainer)
    assert (chosen.accelerator, chosen.precision, chosen.device.type) == (
        "gpu",
        "bf16-mixed",
        "cuda",
    )
    assert "Some GPU" in chosen.description
    assert choose_hardware(compose("trainer=cpu").trainer).accelerator == "cpu"
