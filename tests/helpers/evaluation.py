"""How tests evaluate."""

from __future__ import annotations

from cxrlab.config.paths import conf_dir
from cxrlab.config.schema import EvaluationConfig
from cxrlab.files import read_yaml


def evaluation_config(**changed: object) -> EvaluationConfig:
    """The default choice of the group `evaluation`, with some values changed."""
    return EvaluationConfig.model_validate(
        read_yaml(conf_dir() / "evaluation/default.yaml") | changed
    )
