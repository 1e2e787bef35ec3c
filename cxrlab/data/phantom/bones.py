"""Bones and their projected density."""

import cv2
import numpy as np

from cxrlab.data.phantom.anatomy import LEFT, SIDES, Anatomy
from cxrlab.data.phantom.geometry import ByteArray, FloatArray, View, ribbon

# Shapes of one vertebra: x in units of the body frame, y in heights of a vertebra.
_VERTEBRA = np.array(
    [(-0.036, 0.1), (0.036, 0.1), (0.033, 0.5), (0.037, 0.84), (-0.037, 0.84), (-0.033, 0.5)],
    np.float32,
)
_PROCESSES = (
    (np.array([(0, 0.55), (0.001, 0.85)], np.float32), 0.012, 235),
    (np.array([(-0.021, 0.25), (-0.021, 0.43)], np.float32), 0.009, 225),
    (np.array([(0.021, 0.25), (0.021, 0.43)], np.float32), 0.009, 225),
)


def rib_lines(anatomy: Anatomy, side: int, breath: float) -> tuple[FloatArray, FloatArray]:
    """Centre lines (ribs, N, 2) of the ribs' posterior and anterior parts, top first."""
    spacing = 0.83 * anatomy.length / anatomy.ribs
    index = np.arange(anatomy.ribs, dtype=np.float32)[:, None]
    start = anatomy.apex - 0.015 + spacing * (index + 0.1 * np.sin(index))
    drop = anatomy.rib_drop * (0.75 + 0.25 * np.minimum(1, index / 4)) - 0.8 * breath
    reach = anatomy.cage(start + 0.5 * drop, side) + 0.004
    reach[0] = max(reach[0], 0.15)
    angle = np.linspace(0.12, 0.86 * np.pi, 40, dtype=np.float32)
    x = reach * np.sin(angle) ** 0.9
    y = start + 0.5 * drop * (1 - np.cos(angle)) - 0.012 * np.sin(2 * angle)
    y += side * anatomy.rib_tilt * x
    lines = np.stack([x * side + anatomy.spine(y), y], axis=2).astype(np.float32)
    return lines[:, :24], lines[:, 22:]


def draw_ribs(view: View, anatomy: Anatomy, breath: float) -> tuple[ByteArray, ByteArray]:
    """Layers of the posterior and the anterior ribs, bright at their cortex."""
    posterior, anterior = view.blank(), view.blank()
    half = 0.5 * anatomy.rib_width
    for side in SIDES:
        back, fore = rib_lines(anatomy, side, breath)
        behind = ribbon(back, half * np.linspace(0.8, 1.1, back.shape[1]))
        front = ribbon(fore, half * np.linspace(0.95, 1.35, fore.shape[1]))
        for layer, ribs, core in ((posterior, behind, 165), (anterior, front, 130)):
            for rib in ribs:
                view.fill(layer, rib, core)
            view.lines(layer, ribs, 0.0035, 255, closed=True)
    return posterior, anterior


def draw_spine(view: View, anatomy: Anatomy) -> ByteArray:
    """Layer of the vertebral column: bodies, discs, pedicles and spinous processes."""
    layer = view.blank()
    period = 0.83 * anatomy.length / anatomy.ribs
    heights = np.arange(anatomy.apex - 3 * period, 1.15, period, dtype=np.float32)
    column = np.linspace(-0.2, 1.2, 24, dtype=np.float32)
    column_line = np.stack([anatomy.spine(column), column], axis=1).astype(np.float32)
    view.fill(layer, ribbon(column_line, 0.034), 95)
    place = np.stack([anatomy.spine(heights), heights], axis=1)[:, None, :]
    stretch = np.array((1, period), np.float32)
    bodies = (_VERTEBRA * stretch + place).astype(np.float32)
    for body in bodies:
        view.fill(layer, body, 165)
    view.lines(layer, bodies, 0.004, 205, closed=True)
    for points, width, level in _PROCESSES:
        view.lines(layer, (points * stretch + place).astype(np.float32), width, level)
    return layer


def draw_girdle(view: View, anatomy: Anatomy) -> tuple[ByteArray, ByteArray]:
    """Layers of the clavicles and of scapulae with the heads of the humeri."""
    clavicles, scapulae = view.blank(), view.blank()
    t = np.linspace(0, 1, 16, dtype=np.float32)
    top = anatomy.apex + 0.085 + 0.3 * anatomy.shoulder
    for side in SIDES:
        lift = anatomy.clavicle_lift + (0.008 if side == LEFT else 0.0)
        x = 0.03 + (anatomy.width + 0.06) * t
        y = top - lift * t + 0.02 * np.sin(2 * np.pi * t)
        line = np.stack([x * side, y], axis=1).astype(np.float32)
        bone = ribbon(line, 0.011 + 0.007 * (1 - t) ** 2)
        view.fill(clavicles, bone, 170)
        view.lines(clavicles, [bone], 0.0035, 255, closed=True)
        edge = anatomy.width + 0.01
        drop = 0.18 + anatomy.shoulder
        blade = np.array(
            [(edge + 0.02, drop - 0.03), (edge - 0.015, drop + 0.1), (edge + 0.03, drop + 0.32),
             (edge + 0.055, drop + 0.3), (edge + 0.1, drop + 0.1), (edge + 0.13, drop - 0.03)],
            np.float32,
        )  # fmt: skip
        blade = (blade * (side, 1)).astype(np.float32)
        view.fill(scapulae, blade, 90)
        view.lines(scapulae, [blade[:4]], 0.006, 170)
        joint = np.array([(edge + 0.15, drop - 0.03), (edge + 0.2, drop + 0.4)], np.float32)
        joint = (joint * (side, 1)).astype(np.float32)
        view.lines(scapulae, [joint[[0, 0]] + np.float32(0.001)], 0.085, 150)
        view.lines(scapulae, [joint], 0.05, 150)
    return clavicles, scapulae


def bone_density(view: View, anatomy: Anatomy, breath: float) -> FloatArray:
    """Attenuation (size, size) that all bones add."""
    posterior, anterior = draw_ribs(view, anatomy, breath)
    clavicles, scapulae = draw_girdle(view, anatomy)
    spine = draw_spine(view, anatomy)
    blur = 0.006 * view.pixels_per_unit
    spine_soft = cv2.GaussianBlur(spine, (0, 0), blur)
    total = posterior * np.float32(0.33 / 255)
    for layer, density in (
        (anterior, 0.2),
        (clavicles, 0.36),
        (scapulae, 0.2),
        (spine, 0.18),
        (spine_soft, 0.32),
    ):
        total += layer * np.float32(density / 255)
    return total * np.float32(anatomy.bone)
