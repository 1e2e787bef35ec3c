from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlab.tracking.params import allowed_name, cut, flatten

_KEYS = st.text("abc", min_size=1, max_size=3)
_TREES = st.recursive(
    st.none() | st.integers() | st.text("xyz", min_size=1),
    lambda inner: st.dictionaries(_KEYS, inner, min_size=1, max_size=3),
    max_leaves=8,
)


def test_values_read_as_in_yaml() -> None:
    config = {"a": {"b": [1, 2.5, "x"], "c": {}}, "d": None, "e": True, "f": "text", "g": 1e-4}
    assert flatten(config) == {
        "a.b": '[1, 2.5, "x"]', "a.c": "{}", "d": "null", "e": "true", "f": "text", "g": "0.0001"
    }  # fmt: skip


@settings(max_examples=50)
@given(st.dictionaries(_KEYS, _TREES, min_size=1))
def test_every_leaf_is_found_under_its_path(config: dict[str, Any]) -> None:
    flat = flatten(config)

    def leaves(tree: Any) -> int:
        return sum(map(leaves, tree.values())) if isinstance(tree, dict) else 1

    assert len(flat) == leaves(config)
    for path in flat:
        place: Any = config
        for part in path.split("."):
            place = place[part]
        assert not isinstance(place, dict)


@settings(max_examples=50)
@given(st.text(max_size=30), st.integers(1, 20))
def test_a_cut_text_fits(text: str, length: int) -> None:
    short = cut(text, length)
    assert len(short) <= length
    assert short == text or (short[-1] == "…" and text.startswith(short[:-1]))


def test_names_that_mlflow_takes_stay() -> None:
    assert allowed_name("val/auroc_1-2.3 x: y") == "val/auroc_1-2.3 x: y"
    assert allowed_name("a=b,[c]") == "a_b__c_"
