"""Soft tissue of the chest and the air in it, as projected densities."""

import cv2
import numpy as np

from cxrlab.data.phantom import contours
from cxrlab.data.phantom.anatomy import SIDES, Anatomy
from cxrlab.data.phantom.geometry import (
    GRID,
    GRID_SPAN,
    ByteArray,
    FloatArray,
    View,
    grid_coordinates,
    grid_view,
)
from cxrlab.data.phantom.texture import clouds
from cxrlab.data.phantom.vessels import hilum

_HALF = 127


def _depth(layer: ByteArray, radius: float) -> FloatArray:
    """Thickness (0 at the edge, 1 from `radius` inwards) of a rounded body seen from the front."""
    mask = (layer > _HALF).astype(np.uint8)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 3) * np.float32(GRID_SPAN / GRID / radius)
    inner = np.clip(1 - distance, 0, 1)
    return np.sqrt(1 - inner * inner)


def _add_breasts_and_hila(tissue: FloatArray, patient: Anatomy) -> None:
    x, y = grid_coordinates()
    for side in SIDES:
        if patient.breast:
            top = patient.apex + 0.8 * patient.length
            squared = ((x - side * 0.2) / 0.13) ** 2 + ((y - top) / 0.12) ** 2
            shape = np.clip(1.25 - squared, 0, 1) ** 0.7
            tissue += np.float32(patient.breast) * shape
        root_x, root_y = hilum(patient, side)
        squared = ((x - root_x) / 0.032) ** 2 + ((y - root_y - 0.015) / 0.07) ** 2
        tissue += np.float32(0.24 * patient.vessels) * np.exp(-squared)


def _take_out_bubble(tissue: FloatArray, patient: Anatomy, breath: float) -> None:
    x, y = grid_coordinates()
    place = patient.base - patient.dome[1] + 0.055 + patient.bubble + breath
    squared = ((x - 0.17) / 1.4) ** 2 + (y - place) ** 2
    tissue -= np.float32(0.75) * np.clip(1.4 * (1 - squared / patient.bubble**2), 0, 1) ** 0.6


def soft_tissue(patient: Anatomy, breath: float) -> tuple[FloatArray, FloatArray]:
    """Attenuation of the body without bones, and what a lung's air takes off it.

    Args:
        patient: the anatomy.
        breath: how far the diaphragm stands below its usual height.

    Returns:
        Two body maps (GRID, GRID).
    """
    view = grid_view()
    _, y = grid_coordinates()
    trunk, arms, centre, lungs = (view.blank() for _ in range(4))
    view.fill(trunk, contours.torso(patient))
    for side in SIDES:
        view.fill(arms, contours.arm(patient, side))
        view.fill(lungs, contours.lung(patient, side, breath))
    view.fill(centre, contours.heart(patient, breath))
    body = _depth(trunk, 0.17)
    limb = _depth(arms, 0.07)
    fat = np.float32(patient.fat)
    tissue = (1.75 + 0.25 * fat) * body + 0.9 * limb * (1 - 0.4 * body)
    tissue += np.float32(0.3) * cv2.GaussianBlur(_depth(centre, 0.12), (0, 0), 1)
    tissue += np.float32(0.25) * fat * np.clip((y - patient.base) * 5 + 0.5, 0, 1) * body
    texture = clouds(np.random.default_rng([patient.seed, 5]), (12, 24, 48))
    tissue *= 1 + 0.018 * texture
    _add_breasts_and_hila(tissue, patient)
    if patient.bubble:
        _take_out_bubble(tissue, patient, breath)
    air = 0.72 + 0.28 * _depth(lungs, 0.11)
    air = cv2.GaussianBlur(air, (0, 0), 2) * (1 + 0.03 * texture)
    return tissue, (1.5 - 0.12 * fat) * air


def lung_layer(view: View, patient: Anatomy, breath: float) -> FloatArray:
    """Air-filled share (size, size) of each pixel: lungs less heart and mediastinum."""
    air, centre = view.blank(), view.blank()
    for side in SIDES:
        view.fill(air, contours.lung(patient, side, breath))
    view.fill(centre, contours.mediastinum(patient, breath))
    view.fill(centre, contours.heart(patient, breath))
    soft = cv2.GaussianBlur(centre, (0, 0), max(0.4, 0.004 * view.pixels_per_unit))
    return air * (255 - soft.astype(np.float32)) * np.float32(1 / 255**2)
