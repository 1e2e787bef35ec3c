"""The configuration as MLflow params, within MLflow's limits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# MLflow 3: mlflow.utils.validation.MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH
PARAM_LENGTH = 6000
TAG_LENGTH = 8000


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Nested mappings as one, keys joined with dots: `{"a": {"b": [1]}}` to `{"a.b": "[1]"}`.

    Strings stay as they are; everything else, lists and null included, is written as JSON, so a
    value reads as it does in YAML. An empty mapping stays, as `{}`.
    """
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{key}.{inner}": text for inner, text in flatten(value).items()}
        elif isinstance(value, str):
            flat[str(key)] = value
        else:
            flat[str(key)] = json.dumps(value, ensure_ascii=False, default=str)
    return flat


def cut(text: str, length: int) -> str:
    """The text, ended by an ellipsis where it is longer than MLflow keeps."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def allowed_name(name: str) -> str:
    """The name of a param, tag or metric with `_` for each character that MLflow refuses."""
    return re.sub(r"[^\w/.\-: ]", "_", name)
