"""Rendered phantoms: images, masks, windows."""

from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest

from cxrlab.data.phantom.acquisition import draw_acquisition
from cxrlab.data.phantom.anatomy import draw_anatomy
from cxrlab.data.phantom.cohort import draw_case, stream
from cxrlab.data.phantom.lesions import KINDS, Kind, draw_lesion
from cxrlab.data.phantom.render import Phantom, render

SIZE = 64


def pair(kind: Kind, seed: int, severity: float = 1.0) -> tuple[Phantom, Phantom]:
    """The same patient and acquisition, without noise, with and without a lesion."""
    rng = np.random.default_rng(seed)
    patient, acquisition = draw_anatomy(rng), replace(draw_acquisition(rng), noise=0.0)
    lesion = replace(draw_lesion(rng, kind, 0.0), severity=severity)
    return render(patient, acquisition, lesion, SIZE), render(patient, acquisition, None, SIZE)


def test_shapes_dtypes_and_a_used_grey_scale() -> None:
    for case in islice(stream(4), 12):
        phantom = case.render(SIZE)
        masks = (phantom.lesion_mask, phantom.marker_mask, phantom.lung_mask)
        assert phantom.image.shape == (SIZE, SIZE)
        assert phantom.image.dtype == np.uint8
        assert all(mask.shape == (SIZE, SIZE) and mask.dtype == bool for mask in masks)
        assert np.ptp(np.percentile(phantom.image, [5, 95])) > 60


def test_lungs_are_dark_against_the_rest_of_the_chest() -> None:
    for case in islice(stream(4, prevalence=0.0), 12):
        phantom = case.render(SIZE)
        assert 0.12 < phantom.lung_mask.mean() < 0.55
        spine = phantom.image[SIZE // 3 : 2 * SIZE // 3, SIZE // 2]
        assert np.median(phantom.image[phantom.lung_mask]) < np.median(spine) - 20


def test_mask_lies_in_the_lungs_and_is_empty_exactly_when_normal() -> None:
    for case in islice(stream(6), 40):
        phantom = case.render(SIZE)
        assert phantom.lesion_mask.any() == bool(case.label)
        assert not (phantom.lesion_mask & ~phantom.lung_mask).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_lesion_brightens_its_mask_and_little_else(kind: Kind, seed: int) -> None:
    sick, normal = pair(kind, seed)
    change = sick.image.astype(float) - normal.image
    outside = ~cv2.dilate(sick.lesion_mask.astype(np.uint8), np.ones((7, 7))).astype(bool)
    assert change[sick.lesion_mask].mean() > 8
    assert change[sick.lesion_mask].mean() > 5 * abs(change[outside].mean())


def test_severity_makes_denser() -> None:
    faint, normal = pair("lobar", 1, severity=0.1)
    dense, _ = pair("lobar", 1, severity=0.9)
    mask = dense.lesion_mask
    np.testing.assert_array_equal(mask, faint.lesion_mask)
    base = normal.image[mask].mean()
    assert base < faint.image[mask].mean() < dense.image[mask].mean()


@pytest.mark.parametrize(("side", "half"), [("right", "left"), ("left", "right")])
def test_the_patients_right_is_the_images_left(side: str, half: str) -> None:
    cases = islice(stream(8, prevalence=1.0), 60)
    phantoms = [case.render(SIZE) for case in cases if case.side == side]
    assert phantoms
    for phantom in phantoms:
        columns = phantom.lesion_mask.sum(axis=0)
        share = columns[: SIZE // 2].sum() / columns.sum()
        assert share > 0.8 if half == "left" else share < 0.2


def test_marker_is_bright_in_its_corner_and_only_where_planted() -> None:
    for patient in range(12):
        case = draw_case(2, patient, 0, prevalence=0.5, difficulty=0.5, shortcut=1.0)
        phantom = case.render(4 * SIZE)
        assert phantom.marker_mask.any() == case.marker == bool(case.label)
        assert not phantom.marker_mask[: 3 * SIZE].any()
        assert not phantom.marker_mask[:, : 3 * SIZE].any()
        if case.marker:
            assert phantom.image[phantom.marker_mask].mean() > 150


@pytest.mark.parametrize("patient", range(6))
def test_window_shows_what_the_whole_image_shows_there(patient: int) -> None:
    case = draw_case(12, patient, 0, prevalence=1.0, difficulty=0.0)
    case = replace(case, acquisition=replace(case.acquisition, noise=0.0, scatter=0.0))
    whole, part = case.render(256), case.render(128, (0.25, 0.3, 0.75, 0.8))
    crop = (slice(round(0.3 * 256), round(0.3 * 256) + 128), slice(64, 192))
    difference = whole.image[crop].astype(float) - part.image
    # The window starts at a fraction of a pixel: 0.3 * 256 = 76.8.
    assert np.median(np.abs(difference)) < 6
    assert np.mean(whole.lesion_mask[crop] != part.lesion_mask) < 0.03
    assert np.mean(whole.lung_mask[crop] != part.lung_mask) < 0.03


def test_sizes_agree() -> None:
    case = draw_case(12, 1, 0, prevalence=1.0, difficulty=0.0)
    case = replace(case, acquisition=replace(case.acquisition, noise=0.0))
    small, large = case.render(64), case.render(192)
    shrunk = cv2.resize(large.image, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(shrunk.ravel(), small.image.ravel())[0, 1] > 0.96


def test_images_of_one_patient_have_the_more_alike_lungs() -> None:
    def lungs(patient: int, image: int) -> np.ndarray:
        case = draw_case(1, patient, image, prevalence=0.0, difficulty=0.5)
        centred = replace(case.acquisition, zoom=1.1, angle=0.0, shift=(0.0, 0.0))
        return replace(case, acquisition=centred).render(SIZE).lung_mask

    def overlap(a: np.ndarray, b: np.ndarray) -> float:
        return float((a & b).sum() / (a | b).sum())

    first = [lungs(patient, 0) for patient in range(8)]
    second = [lungs(patient, 1) for patient in range(8)]
    same = np.mean([overlap(a, b) for a, b in zip(first, second, strict=True)])
    other = np.mean([overlap(first[i], second[i - 1]) for i in range(8)])
    assert same > other + 0.05


def test_global_random_state_is_neither_read_nor_changed() -> None:
    case = draw_case(1, 2, 0, prevalence=1.0, difficulty=0.5)
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    image = case.render(SIZE).image
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(image, case.render(SIZE).image)
