"""How a decision threshold is to be found: the rule, as it is written and as it is read.

Apart from the code that follows it, which needs numpy, so that a wrong configuration is refused
before anything heavy is imported.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Literal, cast

RuleKind = Literal["youden", "balanced", "sensitivity", "specificity", "cost", "number"]

_VALID = (
    "youden, balanced, sensitivity:X or specificity:X with 0 < X <= 1, cost:FN/FP with what a "
    "missed and a false case cost, or a number in [0, 1]"
)
_NAMES = ("youden", "balanced", "sensitivity", "specificity", "cost")


@dataclass(frozen=True)
class Rule:
    """A parsed threshold rule.

    Attributes:
        kind: how the threshold is found; `number`: it is given.
        level: the sensitivity or specificity to reach, what a missed case costs where a false one
            costs 1, or the given threshold; None for youden and balanced.
    """

    kind: RuleKind
    level: float | None = None

    def __str__(self) -> str:
        """The rule as it is written in a configuration."""
        if self.level is None:
            return self.kind
        return str(self.level) if self.kind == "number" else f"{self.kind}:{self.level}"


def parse_rule(text: str | float) -> Rule:
    """Read a threshold rule.

    Args:
        text: `youden`, `balanced`, `sensitivity:X`, `specificity:X`, `cost:FN/FP` (such as
            `cost:5/1`, or `cost:5`) or a number in [0, 1].

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
    if name in ("youden", "balanced"):
        if colon:
            raise ValueError(f"{written!r}: {name} takes no level; valid: {_VALID}")
        return Rule(cast("RuleKind", name))
    if name == "cost":
        return Rule("cost", _cost(written, level_text))
    level = _number(level_text)
    if level is None or not 0 < level <= 1:
        raise ValueError(f"{written!r} needs a level in (0, 1], as in {name}:0.95; valid: {_VALID}")
    return Rule(cast("RuleKind", name), level)


def _cost(written: str, text: str) -> float:
    missed, slash, false = text.partition("/")
    costs = [_number(missed), _number(false) if slash else 1.0]
    if any(cost is None or not 0 < cost < math.inf for cost in costs):
        raise ValueError(
            f"{written!r} needs what a missed and a false case cost, both above 0, as in "
            f"cost:5/1; valid: {_VALID}"
        )
    return float(costs[0] or 0) / float(costs[1] or 1)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value
