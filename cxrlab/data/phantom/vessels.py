"""Branching pulmonary vessels and the large airways."""

import numpy as np

from cxrlab.data.phantom.anatomy import LEFT, RIGHT, SIDES, Anatomy
from cxrlab.data.phantom.geometry import ByteArray, FloatArray, View

_LEVELS = 6


def hilum(anatomy: Anatomy, side: int) -> tuple[float, float]:
    """Centre of a lung root; the left one stands higher."""
    height = 0.43 if side == RIGHT else 0.395
    return side * (anatomy.mediastinum + 0.035), anatomy.apex + height * anatomy.length


def vessel_tree(anatomy: Anatomy, side: int) -> list[tuple[FloatArray, float]]:
    """Segments (N, 3, 2) and their width, level by level from the lung root outwards."""
    rng = np.random.default_rng([anatomy.seed, side + 1])
    angle = np.linspace(-1.25, 1.35, 8) + rng.normal(0, 0.1, 8)
    start = np.repeat([hilum(anatomy, side)], len(angle), axis=0)
    start[:, 1] += np.linspace(-0.03, 0.05, len(angle))
    length = 0.085 * rng.uniform(0.8, 1.3, len(angle))
    width = 0.016
    levels = []
    for _ in range(_LEVELS):
        bend = rng.normal(0, 0.18, len(angle))
        half = 0.5 * length[:, None]
        step = np.stack([side * np.cos(angle), np.sin(angle)], axis=1) * half
        turned = np.stack([side * np.cos(angle + bend), np.sin(angle + bend)], axis=1) * half
        middle, end = start + step, start + step + turned
        levels.append((np.stack([start, middle, end], axis=1).astype(np.float32), width))
        fork = rng.uniform(0.15, 0.55, len(angle))
        angle = np.concatenate([angle + bend + fork, angle + bend - fork])
        angle += rng.normal(0, 0.08, len(angle))
        start = np.concatenate([end, end])
        length = np.tile(length, 2) * rng.uniform(0.55, 1.0, len(angle))
        width *= 0.66
    return levels


def draw_vessels(view: View, anatomy: Anatomy) -> ByteArray:
    """Layer of the vessels of both lungs, wider and denser near the roots."""
    layer = view.blank()
    trees = [vessel_tree(anatomy, side) for side in SIDES]
    for level in reversed(range(_LEVELS)):
        segments = np.concatenate([tree[level][0] for tree in trees])
        view.lines(layer, segments, trees[0][level][1], 235 - 24 * level)
    return layer


def draw_airways(view: View, anatomy: Anatomy) -> ByteArray:
    """Layer of the trachea and the main bronchi."""
    layer = view.blank()
    carina = anatomy.apex + 0.3 * anatomy.length
    line = np.array([(0.0, -0.2), (0.0, carina - 0.15), (-0.008, carina)], np.float32)
    view.lines(layer, [line], 0.036, 235)
    for side, drop in ((RIGHT, 0.1), (LEFT, 0.075)):
        x, _ = hilum(anatomy, side)
        bronchus = np.array([(-0.008, carina), (0.9 * x, carina + drop)], np.float32)
        view.lines(layer, [bronchus], 0.024, 200)
    return layer
