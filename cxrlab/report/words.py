"""Numbers as a reader reads them."""

from __future__ import annotations

import math

from cxrlab.evaluation.metrics import Interval, Metrics

ABSENT = "–"  # noqa: RUF001


def three(value: float) -> str:
    """Three decimals; more where they would round to 0 or 1 what is neither."""
    return _decimals(value, 3)


def two(value: float) -> str:
    """Two decimals, for sentences; more where they would round to 0 or 1 what is neither."""
    return _decimals(value, 2)


def signed(value: float) -> str:
    """A difference, with its sign (a true minus)."""
    text = f"{abs(value):.3f}"
    if float(text) == 0:
        return "0.000"
    return f"{'−' if value < 0 else '+'}{text}"  # noqa: RUF001


def percent(part: float, whole: float) -> str:
    """A share in whole per cent; nothing where there is no whole."""
    return f"{100 * part / whole:.0f} %" if whole else ""


def span(interval: Interval | None) -> str:
    """The ends of an interval; nothing where there is none."""
    return f"{three(interval.low)} to {three(interval.high)}" if interval else ""


def value_and_span(metrics: Metrics, name: str) -> str:
    """`0.95 (0.93 to 0.97)`, for sentences; a dash where the metric is absent."""
    value = metrics.values.get(name)
    if value is None:
        return ABSENT
    ends = metrics.intervals.get(name)
    return two(value) + (f" ({two(ends.low)} to {two(ends.high)})" if ends else "")


def why_absent(metrics: Metrics, name: str) -> str:
    """The reason why a metric is absent."""
    return metrics.absent.get(name, "this run did not compute it")


def number(value: float) -> str:
    """A count or a magnitude, as short as it is exact enough."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.3g}"


def sentence(text: str) -> str:
    """The same with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def joined(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _decimals(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    while 0 < value < 1 and float(text) in (0, 1) and digits < 6:
        digits += 1
        text = f"{value:.{digits}f}"
    return text
