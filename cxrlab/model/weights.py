"""Where a backbone's first weights come from, and what travels with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cxrlab.config.paths import weights_dir
from cxrlab.config.validate import PHANTOM_BACKBONE, nearest
from cxrlab.errors import UserError, warn
from cxrlab.network import SECONDS, is_reachable

BUNDLED = Path(__file__).with_name("assets") / "mobilenetv2_phantom.safetensors"
_READING_ERRORS = (
    OSError, SafetensorError, UnpicklingError, RuntimeError, ValueError, KeyError, EOFError,
)  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """First weights of a backbone and the input that they were trained for.

    Attributes:
        tag: what the run calls them: imagenet, phantom, random, or the file's hash.
        mean: mean of each channel of the input, in [0, 1].
        std: SD of each channel.
        model_args: arguments of the timm constructor that they need, such as padding.
        state: parameters and buffers by name; None for random weights.
    """

    tag: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    model_args: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Tensor] | None = None


def find_weights(backbone: str, choice: str) -> Weights:
    """Resolve `model.weights`.

    `auto` takes `<backbone>.safetensors` in the folder `CXRLAB_WEIGHTS`, else timm's download (or
    its copy from an earlier one), else the bundled phantom weights (MobileNetV2) or random ones,
    with a warning. `imagenet` is the same but stops where `auto` would fall back.

    Args:
        backbone: a timm model name.
        choice: auto, imagenet, phantom, none, or the path of a .safetensors or .pth file.

    Raises:
        UserError: the backbone is unknown, the file can't be read, or `imagenet` is nowhere.
    """
    config = _timm_config(backbone)
    if choice == "none":
        return _random(config)
    if choice == "phantom":
        return read_weights(BUNDLED, config)
    if choice not in ("auto", "imagenet"):
        return read_weights(Path(choice).expanduser(), config)
    folder = weights_dir()
    local = folder / f"{backbone}.safetensors" if folder else None
    if local and local.is_file():
        return read_weights(local, config)
    try:
        return read_weights(_download(backbone, config), config, tag="imagenet")
    except UserError as error:
        if choice == "imagenet":
            raise
        return _fall_back(backbone, config, error)


def read_weights(file: Path, config: Mapping[str, Any], tag: str | None = None) -> Weights:
    """Read a weights file; what its metadata says of the input wins over timm's defaults.

    Args:
        file: .safetensors, or a .pth file of a state dict.
        config: timm's pretrained configuration of the architecture.
        tag: name of the weights where the file gives none; None: the start of its SHA-256.

    Raises:
        UserError: the file can't be read as weights.
    """
    try:
        metadata, state = _read_safetensors(file) if _is_safe(file) else ({}, _read_torch(file))
        return Weights(
            tag=metadata.get("tag") or tag or _hash(file),
            mean=tuple(json.loads(metadata.get("mean", json.dumps(config["mean"])))),
            std=tuple(json.loads(metadata.get("std", json.dumps(config["std"])))),
            model_args=json.loads(metadata.get("model_args", "{}")),
            state={name: tensor.float() for name, tensor in state.items()},
        )
    except _READING_ERRORS as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"model.weights: {file} can't be read as weights ({reason}); "
            "give a .safetensors or .pth file of this backbone"
        ) from error


def _is_safe(file: Path) -> bool:
    return file.suffix == ".safetensors"


def _read_safetensors(file: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(file, framework="pt") as opened:
        return opened.metadata() or {}, {k: opened.get_tensor(k) for k in opened.keys()}  # noqa: SIM118


def _read_torch(file: Path) -> dict[str, Tensor]:
    loaded = torch.load(file, map_location="cpu", weights_only=True)
    return dict(loaded.get("state_dict", loaded))


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _timm_config(backbone: str) -> dict[str, Any]:
    if not timm.is_model(backbone.partition(".")[0]):
        hint = nearest(backbone, timm.list_models())
        raise UserError(
            f"model.backbone={backbone}: timm {timm.__version__} has no such model; {hint}"
        )
    found = timm.models.get_pretrained_cfg(backbone)
    return found.to_dict() if found else {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def _random(config: Mapping[str, Any]) -> Weights:
    return Weights("random", tuple(config["mean"]), tuple(config["std"]))


def _download(backbone: str, config: Mapping[str, Any]) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = config.get("hf_hub_id")
    if not repository:
        raise UserError(f"model.weights=imagenet: timm has no pretrained weights for {backbone}")
    repository = (
        f"timm/{config['architecture']}.{config['tag']}" if repository == "timm/" else repository
    )
    offline = constants.HF_HUB_OFFLINE or not is_reachable(constants.ENDPOINT)
    try:
        return Path(
            hf_hub_download(
                repository, "model.safetensors", local_files_only=offline, etag_timeout=SECONDS
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        hub = "the model hub can't be reached" if offline else f"{constants.ENDPOINT} refused it"
        raise UserError(
            f"model.weights=imagenet: {repository} was never downloaded and {hub}; put "
            f"{backbone}.safetensors into the folder that CXRLAB_WEIGHTS names{_unset()}, "
            "or take model.weights=auto"
        ) from error


def _unset() -> str:
    return "" if weights_dir() else " (not set)"


def _fall_back(backbone: str, config: Mapping[str, Any], error: UserError) -> Weights:
    cause = str(error).removeprefix("model.weights=imagenet: ").split(";")[0]
    remedy = f"put {backbone}.safetensors into the folder that CXRLAB_WEIGHTS names"
    if backbone == PHANTOM_BACKBONE:
        warn(
            f"no ImageNet weights: {cause}. The backbone starts from the bundled phantom weights, "
            f"which know synthetic radiographs and little of real ones; {remedy}."
        )
        return read_weights(BUNDLED, config)
    warn(
        f"no ImageNet weights: {cause}. The backbone starts from RANDOM weights and needs far more "
        f"images and epochs; {remedy}."
    )
    return _random(config)
