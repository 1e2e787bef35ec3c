from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from cxrlab import network
from cxrlab.errors import UserError
from cxrlab.model import weights as module
from cxrlab.model.backbone import Backbone
from cxrlab.model.weights import find_weights

NAME = "mobilenetv2_050"


@pytest.fixture(autouse=True)
def _fresh_network_question() -> None:
    network.is_reachable.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("CXRLAB_WEIGHTS", str(folder))
    return folder


def write(file: Path, *, name: str = NAME, **metadata: str) -> dict[str, torch.Tensor]:
    state = timm.create_model(name, num_classes=1000).state_dict()
    save_file(state, file, metadata=metadata or None)
    return state


def test_a_file_in_the_folder_wins_and_its_metadata_travels(folder: Path) -> None:
    state = write(
        folder / f"{NAME}.safetensors",
        tag="imagenet",
        mean=json.dumps([0.5, 0.5, 0.5]),
        std=json.dumps([0.25, 0.25, 0.25]),
        model_args=json.dumps({"pad_type": "same"}),
    )
    for choice in ("auto", "imagenet"):
        found = find_weights(NAME, choice)
        assert found.tag == "imagenet"
        assert (found.mean, found.std) == ((0.5,) * 3, (0.25,) * 3)
        assert found.model_args == {"pad_type": "same"}
    backbone = Backbone(
        NAME,
        mean=found.mean,
        std=found.std,
        model_args=found.model_args,
        drop_path=0.0,
        standardise=False,
    )
    backbone.load(found)
    torch.testing.assert_close(backbone.net.conv_stem.weight, state["conv_stem.weight"])
    assert "Same" in type(backbone.net.conv_stem).__name__, "TensorFlow's padding"


def test_a_file_without_metadata_has_timms_statistics_and_its_hash(tmp_path: Path) -> None:
    write(tmp_path / "own.safetensors")
    found = find_weights(NAME, str(tmp_path / "own.safetensors"))
    default = timm.get_pretrained_cfg(NAME)
    assert (found.mean, found.std) == (default.mean, default.std)
    assert len(found.tag) == 12
    int(found.tag, 16)


def test_a_torch_file_works_as_well(tmp_path: Path) -> None:
    state = timm.create_model(NAME).state_dict()
    torch.save({"state_dict": state}, tmp_path / "own.pth")
    found = find_weights(NAME, str(tmp_path / "own.pth"))
    torch.testing.assert_close(found.state["conv_stem.weight"], state["conv_stem.weight"])


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x00" * 100])
def test_a_file_that_holds_no_weights_is_one_line(tmp_path: Path, content: bytes) -> None:
    for name in ("bad.safetensors", "bad.pth"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="can't be read as weights"):
            find_weights(NAME, str(tmp_path / name))


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "other.safetensors", name="mobilenetv2_100")
    found = find_weights(NAME, str(tmp_path / "other.safetensors"))
    backbone = Backbone(
        NAME, mean=found.mean, std=found.std, model_args={}, drop_path=0.0, standardise=False
    )
    with pytest.raises(UserError, match="of another shape"):
        backbone.load(found)


def test_offline_auto_warns_and_falls_back_and_imagenet_stops(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "is_reachable", lambda url: asked.append(url) or False)
    start = time.perf_counter()
    assert find_weights(NAME, "auto").tag == "random"
    assert "RANDOM weights" in caplog.text
    assert find_weights("mobilenetv2_100", "auto").tag == "phantom"
    assert "phantom weights" in caplog.text
    with pytest.raises(UserError, match=r"can't be reached.*CXRLAB_WEIGHTS"):
        find_weights(NAME, "imagenet")
    assert time.perf_counter() - start < 10


def test_an_unreachable_hub_is_asked_once_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections: list[object] = []

    def refuse(*arguments: object, **options: object) -> None:
        connections.append(arguments)
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert find_weights(NAME, "auto").tag == "random"
    assert find_weights(NAME, "auto").tag == "random"
    assert len(connections) == 1


def test_with_a_network_timms_own_file_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "model.safetensors", name="resnet18")
    asked: list[str] = []

    def download(repository: str, file: str, **options: object) -> str:
        asked.append(f"{repository}/{file}")
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "is_reachable", lambda url: True)
    found = find_weights("resnet18", "imagenet")
    assert found.tag == "imagenet"
    assert found.mean == timm.get_pretrained_cfg("resnet18").mean
    assert asked == ["timm/resnet18.a1_in1k/model.safetensors"]


def test_an_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'mobilenetv2_100'"):
        find_weights("mobilenetv2-100", "none")


def test_the_bundled_weights_are_small_and_describe_themselves() -> None:
    assert module.BUNDLED.stat().st_size < 5_000_000
    found = find_weights("mobilenetv2_100", "phantom")
    assert found.tag == "phantom"
    assert all(torch.isfinite(t).all() for t in found.state.values())
