"""Pneumonia: what a case has, and the opacity it adds on the body grid."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from cxrlab.data.phantom.anatomy import LEFT, RIGHT, SIDES, Anatomy
from cxrlab.data.phantom.geometry import FloatArray, grid_coordinates
from cxrlab.data.phantom.texture import clouds, reticular, smoothstep

Kind = Literal["lobar", "patchy", "interstitial"]
Side = Literal["right", "left", "both"]
Zone = Literal["upper", "middle", "lower", "diffuse"]
KINDS: tuple[Kind, ...] = ("lobar", "patchy", "interstitial")

PEAK_FRACTION = 0.2
_PEAK = {"lobar": 0.95, "patchy": 0.8, "interstitial": 0.62}
_ZONE_CENTRE = {"upper": 0.27, "middle": 0.52, "lower": 0.77, "diffuse": 0.55}
_HEART_TOP = 0.48
_SIGNS: dict[Side, tuple[int, ...]] = {"right": (RIGHT,), "left": (LEFT,), "both": SIDES}


@dataclass(frozen=True)
class Lesion:
    """One patient's pneumonia.

    Attributes:
        kind: pattern of the opacity.
        severity: density against the densest, in (0, 1].
        side: the patient's side.
        zone: level of the lung; `diffuse` for both of several foci and interstitial patterns.
        extent: size, 0 one segment to 1 a whole lobe or lung.
        seed: seed of the shape.
    """

    kind: Kind
    severity: float
    side: Side
    zone: Zone
    extent: float
    seed: int


def draw_lesion(rng: np.random.Generator, kind: Kind, difficulty: float) -> Lesion:
    """Random pneumonia of a kind.

    Args:
        rng: source of all draws.
        kind: one of KINDS.
        difficulty: 0 (severity from 0.6) to 1 (severity from 0.04, faint ones common).
    """
    lowest = 0.6 - 0.56 * difficulty
    severity = lowest + (1 - lowest) * rng.beta(1.3, 1.3 + 0.6 * difficulty)
    extent = np.clip(rng.beta(1.6, 1.6) * 0.75 + 0.25 * severity, 0, 1)
    sides: tuple[Side, ...] = ("right", "left", "both")
    zones: tuple[Zone, ...] = ("upper", "middle", "lower")
    if kind == "lobar":
        side = sides[int(rng.choice(3, p=(0.55, 0.4, 0.05)))]
        zone = zones[int(rng.choice(3, p=(0.28, 0.3, 0.42)))]
    else:
        side = sides[
            int(rng.choice(3, p=(0.3, 0.25, 0.45) if kind == "patchy" else (0.1, 0.1, 0.8)))
        ]
        zone = "diffuse"
    return Lesion(kind, float(severity), side, zone, float(extent), int(rng.integers(2**31)))


def _lung_coordinates(anatomy: Anatomy, side: int) -> tuple[FloatArray, FloatArray]:
    """Depth along a lung (0 apex, 1 base) and distance from the spine (0 to 1) on the grid."""
    x, y = grid_coordinates()
    v = (y - anatomy.apex) / anatomy.length
    u = (x - anatomy.spine(y)) * side / (anatomy.cage(y, side) + 1e-3)
    return u.astype(np.float32), v.astype(np.float32)


def _lobar(lesion: Lesion, anatomy: Anatomy, side: int, rng: np.random.Generator) -> FloatArray:
    """Dense zone with a sharp border at a fissure and an air bronchogram."""
    u, v = _lung_coordinates(anatomy, side)
    noise = clouds(rng)
    slant = rng.uniform(-0.12, 0.12)
    fissure = 0.46 + rng.uniform(-0.06, 0.05) + slant * (u - 0.5)
    sharp = 0.012
    if lesion.zone == "upper":
        border = smoothstep(fissure - v, 0, sharp)
    elif lesion.zone == "middle":
        border = smoothstep(v - fissure, 0, sharp) * smoothstep(0.78 + 0.12 * u - v, -0.02, 0.08)
    else:
        border = smoothstep(v - fissure - 0.1 * rng.random(), 0, 4 * sharp)
    centre_u = rng.uniform(0.35, 0.75)
    centre_v = _ZONE_CENTRE[lesion.zone] + rng.uniform(-0.06, 0.06)
    reach = 0.22 + 0.34 * lesion.extent
    distance = np.hypot((u - centre_u) * 0.62, v - centre_v) + 0.05 * noise
    body = smoothstep(reach - distance, -0.02, 0.14)
    bronchi = reticular(rng, 3.2, 0.16) * smoothstep(0.7 - np.abs(u - 0.4), 0, 0.4)
    return border * body * (0.9 + 0.09 * noise) * (1 - 0.3 * bronchi)


def _patchy(lesion: Lesion, anatomy: Anatomy, side: int, rng: np.random.Generator) -> FloatArray:
    """Several ill-defined cloudy foci."""
    u, v = _lung_coordinates(anatomy, side)
    noise = clouds(rng, (10, 20, 40))
    field = np.zeros_like(noise)
    for _ in range(int(rng.integers(1, 3 + round(3 * lesion.extent)))):
        centre_v = 0.12 + 0.68 * rng.beta(1.6, 1.1)
        behind_heart = side == LEFT and centre_v > _HEART_TOP
        centre_u = rng.uniform(0.62 if behind_heart else 0.28, 0.88)
        radius = rng.uniform(0.05, 0.09) + 0.07 * lesion.extent * rng.random()
        squared = ((u - centre_u) * 0.6) ** 2 + (v - centre_v) ** 2
        field = np.maximum(field, rng.uniform(0.6, 1.0) * np.exp(-squared / (2 * radius**2)))
    return field * smoothstep(field + 0.16 * noise, 0.12, 0.75)


def _interstitial(
    lesion: Lesion, anatomy: Anatomy, side: int, rng: np.random.Generator
) -> FloatArray:
    """Net of fine lines and streaks on a faint haze, densest at the root or the base."""
    u, v = _lung_coordinates(anatomy, side)
    mesh = np.maximum(reticular(rng, 1.3, 0.5), 0.8 * reticular(rng, 2.4, 0.3))
    centre_v = rng.uniform(0.45, 0.75)
    spread = 0.17 + 0.24 * lesion.extent
    squared = ((u - rng.uniform(0.3, 0.6)) * 0.7) ** 2 + (v - centre_v) ** 2
    envelope = np.exp(-squared / (2 * spread**2)) * (0.8 + 0.2 * np.tanh(clouds(rng, (5, 10))))
    return envelope * (0.3 + 0.7 * mesh)


_PATTERNS = {"lobar": _lobar, "patchy": _patchy, "interstitial": _interstitial}


def opacity(lesion: Lesion, anatomy: Anatomy, lungs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Attenuation that a lesion adds, and the field that its mask is cut from.

    The second is the first over its peak; for the interstitial net it is smoothed, so that the
    meshes belong to the mask.

    Args:
        lesion: what to draw.
        anatomy: the patient.
        lungs: (GRID, GRID), 1 inside the lung fields.

    Returns:
        Two maps (GRID, GRID), the second in [0, 1].
    """
    field = np.zeros_like(lungs)
    x, _ = grid_coordinates()
    for side in _SIGNS[lesion.side]:
        rng = np.random.default_rng([lesion.seed, side + 1])
        pattern = _PATTERNS[lesion.kind](lesion, anatomy, side, rng)
        field += np.clip(pattern, 0, None) * (x * side > 0)
    inside = field * lungs
    support = cv2.GaussianBlur(inside, (0, 0), 3.0) if lesion.kind == "interstitial" else inside
    added = inside * np.float32(_PEAK[lesion.kind] * lesion.severity / (inside.max() + 1e-6))
    return added, support / (support.max() + np.float32(1e-6))
