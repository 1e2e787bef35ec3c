"""Search spaces in Hydra's sweep syntax, as Optuna's distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from cxrlab.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_SYNTAX = "a,b,c, range(start,stop,step), interval(low,high) or tag(log,interval(low,high))"


def check_installed() -> None:
    """Look for Optuna without the second that its import takes.

    Raises:
        UserError: it is not there.
    """
    if find_spec("optuna") is None:
        raise UserError("sweep=optuna: Optuna is not installed; pip install 'cxrlab[optuna]'")


def parse_space(space: Mapping[str, str], loader: ConfigLoader | None) -> dict[str, Override]:
    """The sweep that each key has.

    Args:
        space: key to expression, such as `tag(log,interval(1e-4,1e-2))`.
        loader: lists the choices of a group for `glob(*)`.

    Raises:
        UserError: an expression is none, or its bounds make no space.
    """
    parser = OverridesParser.create(config_loader=loader)
    parsed = {}
    for key, expression in space.items():
        try:
            override = parser.parse_override(f"{key}={expression}")
        except HydraException as error:
            raise UserError(
                f"sweep.space: can't read {key}={expression}; write {_SYNTAX}"
            ) from error
        if not override.is_sweep_override():
            raise UserError(f"sweep.space: {key}={expression} is one value; write {_SYNTAX}")
        _check_bounds(override)
        parsed[key] = override
    return parsed


def _check_bounds(override: Override) -> None:
    value: Any = override.value()
    if not isinstance(value, IntervalSweep):
        return
    low, high = float(value.start or 0), float(value.end or 0)
    if not low < high:
        raise UserError(f"{override.input_line}: the interval is empty; give interval(low,high)")
    if "log" in value.tags and low <= 0:
        raise UserError(
            f"{override.input_line}: a logarithmic interval begins above 0; "
            "such as tag(log,interval(1e-5,1e-2))"
        )


def extremes(space: Mapping[str, Override]) -> Iterator[str]:
    """An override for each choice and each bound: what must be valid before a search begins."""
    for key, override in space.items():
        value: Any = override.value()
        if isinstance(value, IntervalSweep):
            yield f"{key}={value.start}"
            yield f"{key}={value.end}"
        else:
            for text in override.sweep_string_iterator():
                yield f"{key}={text}"


def distributions(space: Mapping[str, Override]) -> dict[str, BaseDistribution]:
    """Optuna's distribution for each key."""
    return {key: _distribution(override) for key, override in space.items()}


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        log = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log)
        return FloatDistribution(float(value.start or 0), float(value.end or 0), log=log)
    if isinstance(value, RangeSweep):
        steps = list(value.range())
        whole = all(isinstance(step, int) for step in steps)
        if whole and len(steps) > 1:
            return IntDistribution(steps[0], steps[-1], step=steps[1] - steps[0])
        if len(steps) > 1:
            step = float(steps[1] - steps[0])
            return FloatDistribution(float(steps[0]), float(steps[-1]), step=step)
    return CategoricalDistribution(tuple(override.sweep_string_iterator()))
