"""From a composed configuration to a typed one, or to one line that says what is wrong."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cxrlab.config.commands import ExplainConfig
from cxrlab.config.schema import AttributionConfig, Config
from cxrlab.errors import UserError

S = TypeVar("S", bound=BaseModel)

KNOWN_WEIGHTS = ("auto", "imagenet", "phantom", "none")
PHANTOM_BACKBONE = "mobilenetv2_100"


def validate(raw: DictConfig | Mapping[str, Any], schema: type[S]) -> S:
    """Check a composed configuration.

    Args:
        raw: what Hydra composed, or the same as a plain mapping.
        schema: the root model of the command.

    Returns:
        The typed, immutable configuration.

    Raises:
        UserError: a key is unknown or missing, or a value has the wrong type or an impossible
            value; the line names the key, the value and the nearest valid one.
    """
    plain = OmegaConf.to_container(raw, resolve=True) if isinstance(raw, DictConfig) else raw
    try:
        config = schema.model_validate(plain)
    except ValidationError as error:
        raise UserError(_one_line(error.errors()[0], schema)) from error
    if isinstance(config, Config | ExplainConfig):
        _check_steps(config.explanation)
    if isinstance(config, Config):
        _check_together(config)
    return config


def nearest(value: object, valid: Iterable[str]) -> str:
    """`did you mean X?` for a close match, and the list of what is valid where it is short."""
    valid = list(valid)
    close = difflib.get_close_matches(str(value), valid, n=1, cutoff=0.5)
    words = [f"did you mean {close[0]!r}?"] if close else []
    if len(valid) <= 16:
        words.append(f"(valid: {', '.join(valid)})" if valid else "(there are no choices)")
    return " ".join(words) or "see --help for what is valid"


def known_keys(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key that the schema admits, sections included."""
    for attribute, field in schema.model_fields.items():
        name = field.alias or attribute
        yield prefix + name
        for section in _sections(field.annotation):
            yield from known_keys(section, f"{prefix}{name}.")


def explain_unknown(key: str, schema: type[BaseModel]) -> str:
    """One line on a key that Hydra refused, perhaps since another choice of its group has it."""
    keys = sorted(set(known_keys(schema)))
    group = key.partition(".")[0]
    if key in keys and "." in key:
        return f"{key!r} is no key of the chosen {group}; another choice of {group}=... has it"
    return f"unknown key {key!r}: {nearest(key, keys)}"


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [s for part in typing.get_args(annotation) for s in _sections(part)]
    return []


def _one_line(error: ErrorDetails, schema: type[BaseModel]) -> str:
    keys = sorted(set(known_keys(schema)))
    key = _dotted(error["loc"], keys)
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        where, _, leaf = key.rpartition(".")
        siblings = [k for k in keys if k.rpartition(".")[0] == where]
        hint = nearest(leaf, [k.rpartition(".")[2] for k in siblings])
        return f"unknown key {key!r} (value {value!r}): {hint}"
    if kind == "union_tag_not_found":
        return f"{key}: names no dataset; choose one, {key}=phantom"
    if kind == "missing":
        return f"{key} is missing: give it a value, {key}=..."
    if kind == "union_tag_invalid":
        return f"{key}.name={value['name']!r} is no dataset: {context['expected_tags']}"
    remedy = _remedy(key, kind, error["msg"], value, context)
    return f"{key}: {remedy}" if isinstance(value, Mapping) else f"{key}={_shown(value)}: {remedy}"


def _remedy(key: str, kind: str, message: str, value: object, context: Mapping[str, Any]) -> str:
    for bound, words in (("ge", "at least"), ("le", "at most")):
        if bound in context:
            limit = context[bound]
            return f"must be {words} {limit}; nearest valid: {key}={limit}"
    for bound, words in (("gt", "greater than"), ("lt", "less than")):
        if bound in context:
            limit = context[bound]
            nudged = _inside(limit, upwards=bound == "gt", whole=isinstance(limit, int))
            return f"must be {words} {limit}; nearest valid: such as {key}={nudged}"
    if kind == "literal_error":
        choices = [c.strip("' ") for c in context["expected"].replace(" or ", ", ").split(",")]
        return f"not a choice; {nearest(value, choices)}"
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _inside(limit: float, *, upwards: bool, whole: bool) -> float:
    step = 1 if whole and abs(limit) > 1 else max(abs(limit), 1) * 0.01
    return limit + step if upwards else limit - step


def _dotted(location: tuple[int | str, ...], keys: list[str]) -> str:
    """The key that the user typed: pydantic adds the tags and types of unions to the path."""
    parts: list[str] = []
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(part, int) or ".".join([*parts, part]) in keys or (last and not parts):
            parts.append(str(part))
        elif last and ".".join(parts) in {k.rpartition(".")[0] for k in keys}:
            parts.append(part)
    return ".".join(parts)


def _shown(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _check_together(config: Config) -> None:
    """Values that are each fine and can't stand together, or that name something absent."""
    model = config.model
    if model.weights not in KNOWN_WEIGHTS and not Path(model.weights).expanduser().is_file():
        raise UserError(
            f"model.weights={model.weights}: neither a file nor a known choice; "
            f"{nearest(model.weights, KNOWN_WEIGHTS)} or give the path of a .safetensors file"
        )
    if model.weights == "phantom" and model.backbone != PHANTOM_BACKBONE:
        raise UserError(
            f"model.weights=phantom: only {PHANTOM_BACKBONE} has bundled weights, not "
            f"{model.backbone}; nearest valid: model.weights=auto"
        )
    if config.data.split_file and not Path(config.data.split_file).expanduser().is_file():
        raise UserError(f"data.split_file={config.data.split_file}: no such file; give its path")
    if config.registered and not (config.tracking.enabled and config.tracking.log_model):
        raise UserError(
            f"register={config.registered}: needs a logged model; take tracking=local or server, "
            "tracking.log_model=true"
        )
    _check_frozen(config)
    _check_processes(config)
    _check_tuned(config)
    _check_shifts(config)


def _check_steps(explanation: AttributionConfig) -> None:
    if explanation.max_steps < explanation.steps:
        raise UserError(
            f"explanation.max_steps={explanation.max_steps}: below explanation.steps; "
            f"nearest valid: explanation.max_steps={explanation.steps}"
        )


def _check_frozen(config: Config) -> None:
    """Refuse what a frozen backbone, or one that is not, leaves without effect."""
    views = config.model.feature_views
    if views > 1 and not config.model.freeze_backbone:
        raise UserError(
            f"model.feature_views={views}: only a frozen backbone has views; "
            "add model.freeze_backbone=true, or take model.feature_views=1"
        )
    if views > 1 and config.augmentation.name == "none":
        raise UserError(
            f"model.feature_views={views}: with augmentation=none all views are the same; "
            "take model.feature_views=1, or augmentation=standard"
        )
    if config.model.freeze_backbone and config.trainer.progressive:
        raise UserError(
            "trainer.progressive: a frozen backbone makes its features once, at one size; "
            "take trainer.progressive=[], or model.freeze_backbone=false"
        )
    looks = config.model.test_mirror or config.model.test_windows != (1.0,)
    if config.model.freeze_backbone and looks:
        raise UserError(
            "model.test_windows, model.test_mirror: a frozen backbone makes features of the whole "
            "image alone; take model.test_windows=[1.0] model.test_mirror=false"
        )


def _check_shifts(config: Config) -> None:
    """Refuse to shift what is no image, and to watch what is not made."""
    shifts, monitor = config.evaluation.shifts, config.trainer.monitor
    if shifts and config.model.freeze_backbone:
        raise UserError(
            "evaluation.shifts: a frozen backbone makes features of the images as they are; "
            "take evaluation=default, or model.freeze_backbone=false"
        )
    each = config.evaluation.shifts_per_image
    if each is not None and each > len(shifts):
        raise UserError(
            f"evaluation.shifts_per_image={each}: evaluation.shifts names {len(shifts)}; "
            f"nearest valid: evaluation.shifts_per_image={len(shifts) or 'null'}"
        )
    if monitor.startswith("val_shifted/") and not shifts:
        raise UserError(
            f"trainer.monitor={monitor}: no shifted images are validated; "
            "add evaluation=shifted, or take trainer.monitor=val/auroc"
        )


def _check_processes(config: Config) -> None:
    """Refuse what several processes can't share, or can't do."""
    trainer = config.trainer
    count = trainer.devices * trainer.nodes
    if count == 1:
        return
    batch = config.data.batch_size
    if batch % count:
        nearest_size = max(count, round(batch / count) * count)
        raise UserError(
            f"data.batch_size={batch}: {count} processes can't share it equally; nearest valid: "
            f"data.batch_size={nearest_size}"
        )
    if trainer.overfit_batches:
        raise UserError(
            f"trainer.overfit_batches={trainer.overfit_batches}: is for one process; take "
            "trainer.devices=1"
        )
    if config.sweep.kind == "optuna" and config.sweep.prune:
        raise UserError(
            "sweep.prune=true: only one process of a trial would end early; take "
            "sweep.prune=false, or trainer.devices=1"
        )


def _check_tuned(config: Config) -> None:
    """Refuse to tune what several processes share, or what no memory limits."""
    what = config.tune.what
    if not what:
        return
    named = "both" if len(what) > 1 else what[0]
    if config.trainer.devices * config.trainer.nodes > 1:
        raise UserError(
            f"tune={named}: only one process can try batches and rates; tune with "
            "trainer.devices=1, and give the others data.batch_size and optimizer.lr as found"
        )
    if "batch_size" in what and config.model.freeze_backbone:
        raise UserError(
            f"tune={named}: no memory limits a head on stored features, so all images would be "
            "one batch; take tune=lr, or give data.batch_size"
        )
