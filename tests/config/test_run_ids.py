"""Ids of runs are text, whatever they look like."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.config.run_ids import quote_run_ids

IDS = st.text("0123456789e", min_size=1, max_size=32) | st.text("0123456789abcdef", min_size=1)


def _read(argument: str) -> object:
    return OverridesParser.create().parse_override(quote_run_ids(argument)).value()


@given(IDS, st.sampled_from(["run", "runs", "resume", "+run"]))
def test_an_id_stays_text(name: str, key: str) -> None:
    found = _read(f"{key}={name}")
    assert not isinstance(found, int | float)
    assert str(found) == name


@given(st.lists(IDS, min_size=1, max_size=4))
def test_ids_in_a_list_stay_text(names: list[str]) -> None:
    found = _read(f"runs=[{','.join(names)}]")
    assert not any(isinstance(name, int | float) for name in found)
    assert [str(name) for name in found] == names


@pytest.mark.parametrize(
    "argument",
    [
        "data.images=100", "run=latest", "run='123'", 'runs=["12e4",latest]', "run=models:/A/3",
        "run=outputs/2026-11-28/12-00-00", "run=2026-11-28", "--multirun", "seed=1,2,3", "run=",
    ],
)  # fmt: skip
def test_anything_else_is_left_alone(argument: str) -> None:
    assert quote_run_ids(argument) == argument
