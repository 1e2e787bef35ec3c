"""What nobody should send, to `predict` and to the served model."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from helpers.corpus import BadInput, Refused, write_corpus

from cxrlab.predict import predict_files
from cxrlab.serving.pyfunc import ServedModel


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[BadInput]:
    folder = tmp_path_factory.mktemp("corpus")
    return [case for case in write_corpus(folder) if not case.unprivileged]


def check(cases: Sequence[BadInput], table: pd.DataFrame) -> None:
    for case, row in zip(cases, table.to_dict("records"), strict=True):
        if isinstance(case.expected, Refused):
            assert case.expected.reason_fits(row["error"]), (case.name, row["error"])
            assert pd.isna(row["probability"])
            assert row["verdict"] == ""
        else:
            assert row["error"] == "", case.name
            assert 0 <= row["probability"] <= 1


def test_predict_gives_every_file_a_row_and_writes_nothing_else(
    corpus, trained_run, tmp_path: Path
) -> None:
    output = tmp_path / "table.csv"
    before = set(corpus[0].path.parent.rglob("*"))
    predict_files([trained_run.checkpoint], [case.path for case in corpus], output)
    check(corpus, pd.read_csv(output, keep_default_na=False, na_values={"probability": [""]}))
    assert set(corpus[0].path.parent.rglob("*")) == before
    left = {file.name for file in tmp_path.iterdir()} - {".table.csv.lock"}
    assert left == {"table.csv"}


def test_the_served_model_gives_every_body_a_row(corpus, predictor) -> None:
    folder = corpus[0].path.parent
    files = {path for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
    cases = [c for c in corpus if c.path in files and c.path.stat().st_size < 3e6]
    # Without a preamble DICOM is told by its name, which is not sent.
    cases = [c for c in cases if c.path.suffix != ".dcm"]
    model = ServedModel()
    model.predictor = predictor
    images = [base64.b64encode(case.path.read_bytes()).decode() for case in cases]
    found = model.predict(SimpleNamespace(), pd.DataFrame({"image": images}))
    assert len(cases) > 30
    check(cases, found)


@pytest.mark.parametrize("image", ["=" * 1000, "A" * 10_000_001, "../../etc/passwd", {"a": 1}, 7])
def test_a_body_that_is_no_image_is_a_row_with_a_reason(image: object, predictor) -> None:
    model = ServedModel()
    model.predictor = predictor
    images = pd.DataFrame({"image": pd.Series([image], dtype=object)})
    found = model.predict(SimpleNamespace(), images)
    assert found["error"][0]
    assert found["probability"][0] is None
