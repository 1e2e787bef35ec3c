"""A dataset's card: what the docstring of its source says of patients, labels and caveats."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = "cxrlab.data.sources"
_FIELD = re.compile(r"^(Population|Labels|Caveats|Overlap|Citation|Licence): (.+)$", re.DOTALL)
_OWN_DATA = "as they are"


def dataset_card(name: str) -> dict[str, str]:
    """The fields of the card of a known dataset by name, and `title`.

    Empty for a dataset of the user's own, of which the source knows nothing.

    Args:
        name: the key `data.name` of the configuration.
    """
    if not name.isidentifier():
        return {}
    spec = find_spec(f"{_PACKAGE}.{name}")
    if spec is None or spec.origin is None:
        return {}
    # Parsed, not imported: sources import libraries that a report has no need of.
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    blocks = [" ".join(block.replace("`", "").split()) for block in text.split("\n\n")]
    found = {match[1]: match[2] for block in blocks if (match := _FIELD.match(block))}
    if "Population" not in found:
        return {}
    return {"title": blocks[0].rstrip("."), **found}
