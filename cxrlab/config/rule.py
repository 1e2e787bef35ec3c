"""How a decision threshold is to be found: the rule, as it is written and as it is read.

Apart from the code that follows it, which needs numpy, so that a wrong configuration is refused
before anything heavy is imported.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Literal, cast

RuleKind = Literal["youden", "sensitivity", "specificity", "number"]

_VALID = "youden, sensitivity:X or specificity:X with 0 < X <= 1, or a number in [0, 1]"
_NAMES = ("youden", "sensitivity", "specificity")


@dataclass(frozen=True)
class Rule:
    """A parsed threshold rule.

    Attributes:
        kind: how the threshold is found; `number`: it is given.
        level: the sensitivity or specificity to reach, or the given threshold; None for youden.
    """

    kind: RuleKind
    level: float | None = None

    def __str__(self) -> str:
        """The rule as it is written in a configuration."""
        if self.level is None:
            return self.kind
        return str(self.level) if self.kind == "number" else f"{self.kind}:{self.level}"


def parse_rule(text: str | float) -> Rule:
    """Read a threshold rule: `youden`, `sensitivity:X`, `specificity:X` or a number in [0, 1].

    Raises:
        ValueError: no such rule, or a level that is no number or out of range; the message
            lists what is valid.
    """
    written = str(text).strip()
    number = None if isinstance(text, bool) else _number(written)
    if number is not None:
        if not 0 <= number <= 1:
            raise ValueError(f"{written} is outside [0, 1]; valid: {_VALID}")
        return Rule("number", number)
    name, colon, level_text = written.partition(":")
    if name not in _NAMES:
        close = difflib.get_close_matches(name, _NAMES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{written!r} is no threshold rule; {hint}valid: {_VALID}")
    if name == "youden":
        if colon:
            raise ValueError(f"{written!r}: youden takes no level; valid: {_VALID}")
        return Rule("youden")
    level = _number(level_text)
    if level is None or not 0 < level <= 1:
        raise ValueError(f"{written!r} needs a level in (0, 1], as in {name}:0.95; valid: {_VALID}")
    return Rule(cast("RuleKind", name), level)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value
