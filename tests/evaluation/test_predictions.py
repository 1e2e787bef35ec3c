from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrlab.errors import UserError
from cxrlab.evaluation.calibration import Calibration
from cxrlab.evaluation.predictions import prediction_table, read_predictions, write_predictions
from cxrlab.task import Task

TWO = Task.exclusive(("NORMAL", "PNEUMONIA"))
THREE = Task.exclusive(("NORMAL", "BACTERIA", "VIRUS"))

FINDINGS = Task.multilabel(("Effusion", "Mass"))
NAN = np.nan


def test_two_classes(make_rows) -> None:
    rows = make_rows([0, 1, 1], TWO)
    rows["pathogen"] = ["", "virus", None]
    # sigmoid(ln 3) = 3/4; sigmoid(ln 3 / 2) = sqrt(3) / (1 + sqrt(3)).
    logits = np.array([0.0, np.log(3), -np.log(3)], dtype=np.float32)
    table = prediction_table(
        rows,
        logits,
        TWO,
        calibration=Calibration(2.0),
        thresholds=[0.5],
        report_columns=("pathogen",),
    )
    assert list(table.columns) == [
        *("path", "patient_id", "split", "target", "label"),
        *("logit", "probability", "calibrated", "decision", "pathogen"),
    ]
    np.testing.assert_allclose(table["probability"], [0.5, 0.75, 0.25], rtol=1e-7)
    half = np.sqrt(3) / (1 + np.sqrt(3))
    np.testing.assert_allclose(table["calibrated"], [0.5, half, 1 - half], rtol=1e-7)
    assert table["decision"].tolist() == [1, 1, 0]  # a probability on the threshold is positive
    assert table["probability"].dtype == np.float64
    assert table["pathogen"].isna().tolist() == [True, False, True]


def test_three_classes(make_rows) -> None:
    rows = make_rows([0, 2], THREE)
    logits = np.log([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    table = prediction_table(rows, logits, THREE, calibration=Calibration(1.0), thresholds=())
    assert list(table.columns[5:]) == [
        *(f"logit_{name}" for name in THREE.classes),
        *(f"probability_{name}" for name in THREE.classes),
        *(f"calibrated_{name}" for name in THREE.classes),
        "decision",
    ]
    np.testing.assert_allclose(table["probability_BACTERIA"], [0.5, 0.1])
    np.testing.assert_allclose(table["calibrated_VIRUS"], [0.3, 0.8])
    assert table["decision"].tolist() == [1, 2]


def test_without_threshold_there_is_no_decision(make_rows, tmp_path: Path) -> None:
    table = prediction_table(
        make_rows([0, 1], TWO), [1, 2], TWO, calibration=Calibration(1), thresholds=()
    )
    assert table["decision"].isna().all()
    write_predictions(table, tmp_path / "val.csv")
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "val.csv"), table)


def test_extreme_logits_stay_probabilities(make_rows) -> None:
    rows = make_rows([0, 1], TWO)
    table = prediction_table(
        rows, [-1e30, 1e30], TWO, calibration=Calibration(0.05), thresholds=[0.5]
    )
    assert table["probability"].tolist() == [0.0, 1.0]
    assert table["calibrated"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_output_that_is_no_number_names_the_first_image(make_rows, bad: float) -> None:
    rows = make_rows([0, 1, 1], TWO)
    with pytest.raises(UserError, match=r"2 of 3 images, first test/1\.png.*optimizer\.lr"):
        prediction_table(rows, [0.0, bad, bad], TWO, calibration=Calibration(1), thresholds=[0.5])
    logits = np.zeros((3, 3))
    logits[2, 1] = bad
    with pytest.raises(UserError, match=r"1 of 3 images, first test/2\.png"):
        prediction_table(rows, logits, THREE, calibration=Calibration(1), thresholds=())


def test_arguments_that_make_no_sense(make_rows) -> None:
    rows = make_rows([0, 1], TWO)
    with pytest.raises(ValueError, match="shape"):
        prediction_table(rows, np.zeros((2, 2)), TWO, calibration=Calibration(1), thresholds=[0.5])
    with pytest.raises(ValueError, match="shape"):
        prediction_table(rows, np.zeros(3), TWO, calibration=Calibration(1), thresholds=[0.5])
    with pytest.raises(ValueError, match="temperature"):
        prediction_table(rows, np.zeros(2), TWO, calibration=Calibration(0), thresholds=[0.5])
    with pytest.raises(ValueError, match="most probable"):
        prediction_table(
            rows, np.zeros((2, 3)), THREE, calibration=Calibration(1), thresholds=[0.5]
        )
    with pytest.raises(ValueError, match="reporting column 'split'"):
        prediction_table(
            rows,
            np.zeros(2),
            TWO,
            calibration=Calibration(1),
            thresholds=[0.5],
            report_columns=("split",),
        )


# Before Python 3.13 the csv module leaves a lone carriage return unquoted.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)
report = st.one_of(
    st.lists(text | st.none(), min_size=3, max_size=3),
    st.lists(st.integers() | st.none(), min_size=3, max_size=3),
    st.lists(st.floats() | st.none(), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(
        st.sampled_from(["007", "7", "NA", "nan", "1e3", "1_0", " 7", ""]), min_size=3, max_size=3
    ),
)


@given(
    st.lists(st.floats(-700, 700), min_size=3, max_size=3),
    st.lists(text, min_size=3, max_size=3),
    report,
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_round_trip_is_exact(
    make_rows, tmp_path: Path, logits: list[float], names: list[str], column: list
) -> None:
    rows = make_rows([0, 1, 1], TWO).assign(path=names, patient_id=["NA", "007", '1,"2'])
    rows["site"] = pd.Series(column, dtype=object)
    table = prediction_table(
        rows, logits, TWO, calibration=Calibration(1.7), thresholds=[0.3], report_columns=("site",)
    )
    write_predictions(table, tmp_path / "test.csv")
    read = read_predictions(tmp_path / "test.csv")
    pd.testing.assert_frame_equal(read, table, check_exact=True)
    assert read["patient_id"].tolist() == ["NA", "007", '1,"2']


def test_round_trip_of_three_classes(make_rows, tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    rows = make_rows([0, 1] * 25, THREE)
    table = prediction_table(rows, logits, THREE, calibration=Calibration(1.3), thresholds=())
    write_predictions(table, tmp_path / "deep" / "val.csv")
    read = read_predictions(tmp_path / "deep" / "val.csv")
    pd.testing.assert_frame_equal(read, table, check_exact=True)


def test_reporting_columns_keep_their_meaning(make_rows, tmp_path: Path) -> None:
    rows = make_rows([0, 1, 1], TWO).assign(age=[3, 40, 7], site=["01", "02", "1"])
    rows["sex"] = pd.Categorical(["F", "M", None])
    table = prediction_table(
        rows,
        [0, 1, 2],
        TWO,
        calibration=Calibration(1),
        thresholds=[0.5],
        report_columns=("age", "site", "sex"),
    )
    assert table["age"].dtype == np.int64
    assert table["site"].tolist() == ["01", "02", "1"]
    assert table["sex"].tolist()[:2] == ["F", "M"]


def test_a_failed_write_leaves_the_old_file_alone(
    make_rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "test.csv"
    path.write_text("old")
    table = prediction_table(
        make_rows([0, 1], TWO), [0, 1], TWO, calibration=Calibration(1), thresholds=[0.5]
    )

    def full_disk(self: pd.DataFrame, target: Path, **_: object) -> None:
        Path(target).write_text("half a ta")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(UserError, match=r"can't write .*test\.csv: No space left"):
        write_predictions(table, path)
    assert [p.name for p in tmp_path.iterdir()] == ["test.csv"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't read predictions"),
        ("", "no table of predictions"),
        ("a,b\n1,2\n", "it lacks path"),
        ("path,patient_id,split,target,label,decision\n", "it lacks probability"),
        (
            "path,patient_id,split,target,label,logit,probability,calibrated,decision\n"
            "a,p,test,one,X,0,0.5,0.5,1\n",
            "column target holds no number",
        ),
        (
            "path,patient_id,split,target,label,logit,probability,calibrated,decision\n"
            "a,p,test,1,X,0,half,0.5,1\n",
            "column probability holds no number",
        ),
    ],
)
def test_files_that_are_no_predictions(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "test.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_predictions(path)


def test_findings(make_rows) -> None:
    rows = make_rows([[1, NAN], [0, 1], [NAN, 0]], FINDINGS).assign(view=["PA", "AP", "PA"])
    # sigmoid(ln 3) = 3/4: each finding by itself, whatever the other is.
    logits = [[np.log(3), 0.0], [-np.log(3), np.log(3)], [0.0, -np.log(3)]]
    table = prediction_table(
        rows,
        logits,
        FINDINGS,
        calibration=Calibration(1.0),
        thresholds=[0.5, 0.8],
        report_columns=("view",),
    )
    assert list(table.columns) == [
        *("path", "patient_id", "split", "target_Effusion", "target_Mass", "label"),
        *("logit_Effusion", "logit_Mass", "probability_Effusion", "probability_Mass"),
        *("calibrated_Effusion", "calibrated_Mass", "decision_Effusion", "decision_Mass", "view"),
    ]
    assert table["label"].tolist() == ["Effusion", "Mass", "none"]
    np.testing.assert_allclose(table["probability_Effusion"], [0.75, 0.25, 0.5])
    np.testing.assert_allclose(table["probability_Mass"], [0.5, 0.75, 0.25])
    assert table["decision_Effusion"].tolist() == [1, 0, 1]
    assert table["decision_Mass"].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(FINDINGS.targets(table), [[1, NAN], [0, 1], [NAN, 0]])


def test_findings_on_disk_are_1_0_or_empty(make_rows, tmp_path: Path) -> None:
    rows = make_rows([[1, NAN], [0, 1]], FINDINGS)
    table = prediction_table(
        rows, np.zeros((2, 2)), FINDINGS, calibration=Calibration(1), thresholds=[0.5, 0.6]
    )
    write_predictions(table, tmp_path / "test.csv")
    lines = (tmp_path / "test.csv").read_text().splitlines()
    assert lines[1].startswith("test/0.png,p0,test,1,,Effusion,0.0,0.0,0.5,")
    assert lines[1].endswith(",1,0")


@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.0, 1.0, NAN])] * 2, *[st.floats(-700, 700)] * 2),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([(), (0.3, 0.7)]),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_round_trip_of_findings_is_exact(
    make_rows, tmp_path: Path, case: list[tuple[float, ...]], thresholds: tuple[float, ...]
) -> None:
    values = np.array(case)
    rows = make_rows(values[:, :2], FINDINGS)
    table = prediction_table(
        rows, values[:, 2:], FINDINGS, calibration=Calibration(1.7), thresholds=thresholds
    )
    write_predictions(table, tmp_path / "test.csv")
    read = read_predictions(tmp_path / "test.csv")
    pd.testing.assert_frame_equal(read, table, check_exact=True)
    np.testing.assert_array_equal(FINDINGS.targets(read), values[:, :2])


def test_two_findings_have_two_logits(make_rows) -> None:
    rows = make_rows([[1, 0], [0, 1]], FINDINGS)
    with pytest.raises(ValueError, match="shape"):
        prediction_table(rows, np.zeros(2), FINDINGS, calibration=Calibration(1), thresholds=())
    with pytest.raises(ValueError, match="1 thresholds"):
        prediction_table(
            rows, np.zeros((2, 2)), FINDINGS, calibration=Calibration(1), thresholds=[0.5]
        )


@pytest.mark.parametrize("name", ["target_site", "decision_maker", "logit_scale", "label"])
def test_reporting_columns_that_would_be_read_as_the_tables_own(make_rows, name: str) -> None:
    rows = make_rows([0, 1], TWO).assign(**{name: ["a", "b"]})
    with pytest.raises(ValueError, match=f"reporting column '{name}'"):
        prediction_table(
            rows,
            np.zeros(2),
            TWO,
            calibration=Calibration(1),
            thresholds=(),
            report_columns=(name,),
        )


def test_a_table_without_truth_or_with_an_empty_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_text("path,patient_id,split,label,probability,decision\na,p,test,X,0.5,1\n")
    with pytest.raises(UserError, match="it lacks target"):
        read_predictions(path)
    path.write_text("path,patient_id,split,target,label,probability,decision\na,p,test,,X,0.5,1\n")
    with pytest.raises(UserError, match="column target holds no number"):
        read_predictions(path)
