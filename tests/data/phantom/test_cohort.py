"""Cases of the phantom cohort."""

import pickle
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlab.data.phantom.cohort import Case, cohort, draw_case, marker_probability, stream
from cxrlab.data.phantom.lesions import KINDS


def case(patient: int = 0, image: int = 0, seed: int = 3, shortcut: float = 0.0) -> Case:
    return draw_case(seed, patient, image, prevalence=0.5, difficulty=0.4, shortcut=shortcut)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), patient=st.integers(0, 10**6), image=st.integers(0, 3))
def test_a_case_depends_on_its_indices_alone(seed: int, patient: int, image: int) -> None:
    first = case(patient, image, seed)
    case(patient + 1, image, seed)
    assert case(patient, image, seed) == first
    assert case(patient + 1, image, seed).anatomy != first.anatomy


def test_same_case_same_pixels_also_after_pickling() -> None:
    first = case(5)
    again = pickle.loads(pickle.dumps(case(5)))
    np.testing.assert_array_equal(first.render(48).image, again.render(48).image)


def test_images_of_a_patient_share_everything_but_the_acquisition() -> None:
    for patient in range(20):
        one, two = case(patient, 0), case(patient, 1)
        assert (one.anatomy, one.lesion, one.label) == (two.anatomy, two.lesion, two.label)
        assert one.acquisition != two.acquisition


@pytest.mark.parametrize("prevalence", [0.0, 0.3, 0.5, 1.0])
def test_prevalence(prevalence: float) -> None:
    labels = [
        draw_case(1, patient, 0, prevalence=prevalence, difficulty=0.5).label
        for patient in range(600)
    ]
    assert np.mean(labels) == pytest.approx(prevalence, abs=0.06)


def test_all_kinds_and_the_facts_of_normal_cases() -> None:
    cases = [case(patient) for patient in range(80)]
    assert {c.kind for c in cases} == {*KINDS, "none"}
    for c in cases:
        assert (c.label == 0) == (c.kind == "none") == (c.severity == 0) == (c.side == "none")
        assert (c.zone == "none") == (c.label == 0)


def test_difficulty_lowers_the_severity() -> None:
    def severities(difficulty: float) -> list[float]:
        cases = islice(stream(1, prevalence=1.0, difficulty=difficulty), 300)
        return [c.severity for c in cases]

    easy, hard = severities(0.0), severities(1.0)
    assert min(easy) >= 0.6
    assert max(easy + hard) <= 1
    assert min(hard) < 0.15
    assert np.mean(hard) < np.mean(easy) - 0.25


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_marker_follows_the_label_with_the_asked_strength(strength: float) -> None:
    cases = [case(patient, shortcut=strength) for patient in range(1200)]
    for label in (0, 1):
        share = np.mean([c.marker for c in cases if c.label == label])
        assert share == pytest.approx(marker_probability(label, strength), abs=0.06)


def test_shortcut_changes_nothing_but_the_marker() -> None:
    plain, marked = case(2), case(2, shortcut=1.0)
    assert (plain.anatomy, plain.lesion) == (marked.anatomy, marked.lesion)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), images=st.integers(0, 300))
def test_cohort_lists_one_to_four_images_a_patient(seed: int, images: int) -> None:
    pairs = cohort(seed, images)
    assert len(pairs) == images == len(set(pairs))
    counts = np.bincount([patient for patient, _ in pairs]) if pairs else np.ones(1)
    assert counts.min() >= 1
    assert counts.max() <= 4
    assert all(image < counts[patient] for patient, image in pairs)
    assert pairs == cohort(seed, images)


def test_stream_goes_on_where_it_is_told() -> None:
    later = list(islice(stream(9, start=3), 2))
    assert later == list(islice(stream(9), 5))[3:]
