from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cxrlab.tracking.parcels import (
    DatasetUse,
    End,
    Kept,
    Metrics,
    Network,
    Params,
    Tags,
    Upload,
    counted,
    from_json,
    to_json,
)
from cxrlab.tracking.spool import Spool

texts = st.dictionaries(st.text(), st.text(), max_size=3)
parcels: st.SearchStrategy[Kept] = st.one_of(
    st.builds(Params, texts),
    st.builds(Tags, texts),
    st.builds(Upload, st.text()),
    st.builds(DatasetUse, *[st.text()] * 6),
    st.builds(Network, st.text()),
    st.builds(End, st.sampled_from(["FINISHED", "FAILED"]), st.integers(0)),
)


@given(parcels)
def test_a_parcel_comes_back_from_json_as_it_was(parcel: Kept) -> None:
    assert from_json(to_json(parcel)) == parcel


def test_a_spool_comes_back_from_its_folder_without_metrics(tmp_path: Path) -> None:
    assert Spool.read(tmp_path) is None
    rest = (Tags({"ä": "1"}), Upload("figures/roc.png"), End("FINISHED", 5))
    spool = Spool.of("a" * 32, "http://server", [Metrics(), *rest, Metrics()])
    spool.write(tmp_path)
    assert Spool.read(tmp_path) == Spool("a" * 32, "http://server", rest)
    Spool.remove(tmp_path)
    assert Spool.read(tmp_path) is None


def test_parcels_are_counted_in_words() -> None:
    some = [Tags({"a": "1", "b": "2"}), Upload("a"), Tags({"c": "3"}), End("FAILED", 0)]
    assert counted(some) == "3 tags, 1 file, 1 status"
    assert counted([]) == "nothing"
