"""Outlines of organs and body, from a patient's anatomy."""

import numpy as np

from cxrlab.data.phantom.anatomy import RIGHT, Anatomy
from cxrlab.data.phantom.geometry import FloatArray, smooth_closed


def lung(anatomy: Anatomy, side: int, breath: float = 0.0) -> FloatArray:
    """Outline (N, 2) of one lung field.

    Args:
        anatomy: the patient.
        side: RIGHT or LEFT.
        breath: how far the diaphragm stands below its usual height.
    """
    base = anatomy.base + breath
    y = anatomy.apex + (base - anatomy.apex) * np.linspace(0, 1, 14, dtype=np.float32) ** 1.25
    lateral = np.stack([anatomy.cage(y - breath * 0.6, side) - 0.012, y], axis=1)
    lateral[0] = (0.1, anatomy.apex + 0.006)
    corner = lateral[-1, 0]
    height = anatomy.dome[0 if side == RIGHT else 1]
    medial = 0.075
    t = np.linspace(0.1, 1, 7, dtype=np.float32)
    dome_x = corner + (medial - corner) * t
    dome_y = base - height * np.sin(np.pi * np.clip(0.06 + 0.8 * t, 0, 1)) ** 0.75
    foot = dome_y[-1]
    top = anatomy.apex + 0.028
    up = np.linspace(0, 1, 7, dtype=np.float32)[1:]
    medial_y = foot + (top - foot) * up
    medial_x = 0.064 + 0.012 * np.cos(5 * up) + (anatomy.mediastinum - 0.06) * up
    half = np.concatenate(
        [lateral, np.stack([dome_x, dome_y], axis=1), np.stack([medial_x, medial_y], axis=1)]
    )
    half[:, 0] = half[:, 0] * side + anatomy.spine(half[:, 1])
    return smooth_closed(half.astype(np.float32), 4)


def heart(anatomy: Anatomy, breath: float = 0.0) -> FloatArray:
    """Outline (N, 2) of heart and great vessels' root."""
    a, b = anatomy.heart
    centre_y = anatomy.base - anatomy.dome[1] - 0.75 * b + 0.6 * breath
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False, dtype=np.float32)
    tilt = np.float32(0.6)
    x, y = a * np.cos(angle), b * np.sin(angle) * (1 + 0.12 * np.sin(angle))
    points = np.stack(
        [
            anatomy.heart_shift + x * np.cos(tilt) - y * np.sin(tilt),
            centre_y + x * np.sin(tilt) + y * np.cos(tilt),
        ],
        axis=1,
    )
    return smooth_closed(points.astype(np.float32), 3)


def mediastinum(anatomy: Anatomy, breath: float = 0.0) -> FloatArray:
    """Outline (N, 2) of the upper mediastinum with the aortic knob, down to the heart."""
    half, knob = anatomy.mediastinum, anatomy.aorta
    y0, y1 = anatomy.apex - 0.1, anatomy.base - anatomy.dome[1] + 0.6 * breath
    arch = anatomy.apex + 0.27 * anatomy.length
    right = [(-half * 0.8, y0), (-half * 0.9, arch), (-half * 0.95, arch + 0.1), (-0.075, y1)]
    left = [
        (0.085, y1),
        (half + 0.024, arch + 0.15),
        (half * 0.85, arch + 0.07),
        (half + knob * 0.9, arch + 0.02),
        (half + knob * 0.75, arch - 0.025),
        (half * 0.75, arch - 0.07),
        (half * 0.7, y0),
    ]
    return smooth_closed(np.array(right + left, np.float32), 5)


def torso(anatomy: Anatomy) -> FloatArray:
    """Outline (N, 2) of neck, shoulders and trunk."""
    drop, side = anatomy.shoulder, anatomy.torso
    half = [
        (0.095, -0.25),
        (0.1, -0.03),
        (0.15, 0.03 + drop * 0.4),
        (0.32, 0.07 + drop),
        (0.5, 0.14 + drop),
        (0.56, 0.24 + drop),
        (side + 0.05, 0.32),
        (side + 0.005, 0.42),
        (side, 0.62),
        (side - 0.01, 0.85),
        (side + 0.01, 1.3),
    ]
    left = np.array(half, np.float32)
    return smooth_closed(np.concatenate([left, left[::-1] * (-1, 1)]).astype(np.float32), 4)


def arm(anatomy: Anatomy, side: int) -> FloatArray:
    """Outline (N, 2) of one upper arm, partly outside the image."""
    x, drop = anatomy.torso, anatomy.shoulder
    points = np.array(
        [
            (x + 0.0, 0.14 + drop),
            (x + 0.05, 0.34),
            (x + 0.09, 0.6),
            (x + 0.13, 1.2),
            (x + 0.3, 1.2),
            (x + 0.26, 0.5),
            (x + 0.2, 0.2 + drop),
        ],
        np.float32,
    )
    return smooth_closed((points * (side, 1)).astype(np.float32), 5)
