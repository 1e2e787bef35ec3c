"""HTML pages that stand alone: one look, every name escaped, images inside the file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: Path, **values: Any) -> str:
    """Fill a template, which may include its neighbours and `page.css`, the look of all pages.

    Args:
        template: a Jinja file.
        values: what it names; text in them is escaped.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)


def data_uri(content: bytes, kind: str) -> str:
    """An encoded image as the address of itself.

    Args:
        content: the file's bytes.
        kind: `png`, `jpeg` or `webp`.
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
