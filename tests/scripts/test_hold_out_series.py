from __future__ import annotations

import pandas as pd
import pytest

import hold_out_series


@pytest.mark.parametrize("series", ["IM", "NORMAL2-IM"])
def test_one_series_validates_and_no_patient_is_on_both_sides(series: str) -> None:
    rows = [
        (f"train/NORMAL/{name}-{n:04d}-{k}.jpeg", "NORMAL", f"{name}-{n:04d}", "train")
        for name in ("IM", "NORMAL2-IM") for n in range(300) for k in range(2)
    ]  # fmt: skip
    rows += [
        (f"train/PNEUMONIA/person{n}_virus_{k}.jpeg", "PNEUMONIA", f"person{n}_virus", "train")
        for n in range(900) for k in range(3)
    ]  # fmt: skip
    rows.append((f"test/NORMAL/{series}-0001-9.jpeg", "NORMAL", f"{series}-0001t", "test"))
    images = pd.DataFrame(rows, columns=["path", "class", "patient_id", "split"])
    found = images.assign(split=hold_out_series.split(images, series)["split"])
    sides = {s: found[found["split"] == s] for s in ("train", "val", "none", "test")}
    own = found["path"].str.contains(f"/{series}-") & (found["split"] != "test")
    assert set(found.loc[own, "split"]) == {"val", "none"}
    assert not set(sides["train"]["patient_id"]) & set(sides["val"]["patient_id"])
    counts = sides["val"].groupby("class").size()
    assert counts["NORMAL"] == 350
    assert 250 <= counts["PNEUMONIA"] < 253
    assert sides["test"]["path"].tolist() == [rows[-1][0]]
