from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from cxrlab.config.paths import conf_dir
from cxrlab.config.schema import Config
from cxrlab.config.validate import known_keys

FILES = sorted(conf_dir().rglob("*.yaml"))
GROUPS = sorted(
    f.relative_to(conf_dir()) for f in FILES if f.parent != conf_dir() and "hydra" not in f.parts
)


def _choices() -> list[str]:
    return [f"{g.parent}={g.stem}" for g in GROUPS if g.stem != "base"]


@pytest.mark.parametrize("choice", _choices())
def test_every_choice_of_every_group_is_a_valid_configuration(choice: str, compose) -> None:
    assert isinstance(compose(choice), Config)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(conf_dir())))
def test_every_file_opens_with_what_it_is_for_and_how_to_override_it(file: Path) -> None:
    lines = file.read_text().splitlines()
    if lines[0] == "# @package _global_":  # Hydra reads it in the first line only
        lines = lines[1:]
    assert lines[0].startswith("# ")
    assert "`" in lines[0], "no example of an override"


def test_bare_is_mobilenetv2_on_phantoms(compose) -> None:
    config = compose()
    assert (config.model.backbone, config.data.name) == ("mobilenetv2_100", "phantom")


def test_a_plain_configuration_makes_the_same_configuration_again(compose) -> None:
    config = compose("experiment=chest_xray", "data.folds=5", "data.fold=2")
    assert Config.model_validate(yaml.safe_load(yaml.safe_dump(config.plain()))) == config


def test_every_key_of_the_schema_has_a_description() -> None:
    sections = [Config]
    for section in sections:
        for name, field in section.model_fields.items():
            inner = _models(field.annotation)
            sections += inner
            assert inner or field.description, f"{section.__name__}.{name}"


def _models(annotation: object) -> list:
    from cxrlab.config.validate import _sections

    return _sections(annotation)


def test_known_keys_hold_every_key_of_a_composed_configuration(compose) -> None:
    known = set(known_keys(Config))
    for config in (compose(), compose("data=chest_xray")):
        flat = list(config.plain().items())
        while flat:
            key, value = flat.pop()
            assert key in known
            if isinstance(value, dict):
                flat += [(f"{key}.{k}", v) for k, v in value.items()]


def test_the_keras_baseline_is_the_notebook(compose) -> None:
    config = compose("experiment=keras_baseline")
    assert (config.optimizer.name, config.optimizer.lr) == ("adam", 1e-4)
    assert config.optimizer.backbone_lr_factor == 1.0
    assert (config.model.hidden, config.model.dropout) == (128, 0.3)
    assert (config.threshold, config.data.image_size, config.data.name) == (0.5, 224, "chest_xray")
    assert config.loss.class_weights == "none"
    assert config.scheduler.name == "none"


@pytest.mark.parametrize(
    ("augmentation", "loss"),
    itertools.product(["none", "strong"], ["cross_entropy", "focal"]),
)
def test_groups_compose_freely(compose, augmentation: str, loss: str) -> None:
    config = compose(f"augmentation={augmentation}", f"loss={loss}")
    assert config.augmentation.name == augmentation
    assert config.loss.focal_gamma == (2.0 if loss == "focal" else 0.0)
