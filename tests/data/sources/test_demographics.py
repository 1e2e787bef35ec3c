from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.data.sources.demographics import ages, sexes, views


@pytest.mark.parametrize(
    ("written", "years"),
    [
        ("45", 45.0),
        ("045Y", 45.0),
        ("058y", 58.0),
        ("018M", 1.5),
        ("052W", 1.0),
        ("073D", 0.2),
        ("0", 0.0),
        ("120", 120.0),
        ("121", np.nan),
        ("414Y", np.nan),
        ("", np.nan),
        ("-5", np.nan),
        ("adult", np.nan),
    ],
)
def test_ages_are_years(written: str, years: float) -> None:
    np.testing.assert_equal(ages(pd.Series([written])).iloc[0], years)


@given(st.lists(st.text(max_size=6)))
def test_any_text_is_an_age_within_a_life_or_none(written: list[str]) -> None:
    found = ages(pd.Series(written, dtype=str))
    assert len(found) == len(written)
    assert (found.isna() | found.between(0, 120)).all()


def test_sexes_and_views_have_one_form() -> None:
    assert sexes(pd.Series(["M", "Female", "f", "O", "", "?"])).tolist() == [
        *("M", "F", "F", "other", "unknown", "unknown"),
    ]
    assert views(pd.Series(["PA", " AP ", ""])).tolist() == ["PA", "AP", "unknown"]
