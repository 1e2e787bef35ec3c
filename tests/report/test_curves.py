from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.report.curves import Chart, training_course


def history(rows: list[tuple[str, int, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["name", "step", "value"])
    return table.assign(time=1000 * table["step"])


def epochs(*aurocs: float) -> list[tuple[str, int, float]]:
    rows: list[tuple[str, int, float]] = []
    for epoch, auroc in enumerate(aurocs):
        rows += [("val/loss", 10 * epoch + 9, 0.5), ("val/auroc", 10 * epoch + 9, auroc)]
    return rows


def chart(rows: list[tuple[str, int, float]], title: str) -> Chart:
    return next(c for c in training_course(history(rows)).charts if c.title == title)


def test_the_best_epoch_is_the_first_of_the_highest() -> None:
    course = training_course(history(epochs(0.7, 0.9, 0.9, 0.8)))
    assert (course.epochs, course.best_epoch, course.best_auroc) == (4, 2, 0.9)


def test_the_evaluation_at_the_end_is_no_epoch() -> None:
    rows = [*epochs(0.7, 0.9), ("val/auroc", 20, 0.99)]
    course = training_course(history(rows))
    assert (course.epochs, course.best_epoch, course.best_auroc) == (2, 2, 0.9)
    (line,) = chart(rows, "Validation AUROC").lines
    assert len(line.dots) == 2


def test_of_a_resumed_run_the_later_value_counts() -> None:
    rows = [*epochs(0.7, 0.95), ("val/loss", 19, 0.4), ("val/auroc", 19, 0.6)]
    course = training_course(history(rows))
    assert (course.epochs, course.best_epoch, course.best_auroc) == (2, 1, 0.7)


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    rows = [
        ("train/loss", step, value) for step, value in enumerate((0.5, math.nan, math.inf, 0.3))
    ]
    course = training_course(history(rows))
    assert course.not_finite == 2
    assert len(course.charts[0].lines[0].dots) == 2
    assert course.best_epoch is None


def test_many_steps_are_smoothed_and_a_few_are_not() -> None:
    many = [("train/loss", step, float(step % 2)) for step in range(200)]
    each, smooth = chart(many, "Loss").lines
    assert (each.label, smooth.label) == ("each step", "training, smoothed")
    heights = [float(point.split()[1]) for point in smooth.path[1:].split("L")]
    assert max(heights[10:-10]) - min(heights[10:-10]) < 0.15 * 156
    (few,) = chart(many[:10], "Loss").lines
    assert few.label == "training"


def test_a_single_point_is_drawn_with_its_own_value_as_tick() -> None:
    only = chart(epochs(0.75), "Validation AUROC")
    assert [text for _, text in only.up] == ["0.75"]
    assert only.lines[0].dots == ((only.best, only.up[0][0]),)


def test_nothing_logged_gives_nothing() -> None:
    course = training_course(history([]).astype({"name": str}))
    assert (course.charts, course.epochs, course.best_epoch, course.seconds) == ((), 0, None, None)


def test_speed_and_duration() -> None:
    rows = [*epochs(0.7, 0.8), *[("train/images_per_second", s, float(s)) for s in (1, 2, 9)]]
    course = training_course(history(rows))
    assert course.images_per_second == 2
    assert course.seconds == pytest.approx(10)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.floats(-1e6, 1e6)), min_size=1, max_size=60,
        unique_by=lambda point: point[0],
    )
)  # fmt: skip
def test_every_point_lies_in_the_frame(points: list[tuple[int, float]]) -> None:
    drawn = chart([("train/loss", step, value) for step, value in points], "Loss")
    left, right, top, bottom = drawn.frame
    for line in drawn.lines:
        for point in line.path[1:].split("L"):
            x, y = map(float, point.split())
            assert left <= x <= right
            assert top <= y <= bottom
    assert all(left <= x <= right for x, _ in drawn.across)
    assert all(top <= y <= bottom for y, _ in drawn.up)
