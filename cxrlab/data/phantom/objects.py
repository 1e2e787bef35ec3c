"""Things that are no pneumonia: markers, devices and harmless findings."""

import numpy as np

from cxrlab.data.phantom.acquisition import Acquisition
from cxrlab.data.phantom.anatomy import SIDES, Anatomy
from cxrlab.data.phantom.geometry import ByteArray, FloatArray, View, smooth_closed

_STROKES: dict[str, list[list[tuple[float, float]]]] = {
    "R": [
        [(0, 1), (0, 0), (0.55, 0), (0.68, 0.13), (0.68, 0.37), (0.55, 0.5), (0, 0.5)],
        [(0.3, 0.5), (0.7, 1)],
    ],
    "L": [[(0, 0), (0, 1), (0.6, 1)]],
    "P": [[(0, 1), (0, 0), (0.55, 0), (0.7, 0.15), (0.7, 0.38), (0.55, 0.53), (0, 0.53)]],
}


def draw_letter(
    view: View, layer: ByteArray, letter: str, x: float, y: float, height: float
) -> None:
    """Draw a letter centred on a point of the view's source frame."""
    for stroke in _STROKES[letter]:
        points = (np.array(stroke, np.float32) - (0.34, 0.5)) * height + (x, y)
        view.lines(layer, [points.astype(np.float32)], 0.15 * height, 255)


def draw_shortcut(view: View, acquisition: Acquisition) -> ByteArray:
    """Layer of the planted marker: a P in a frame in the image's lower right corner."""
    layer = view.blank()
    rng = np.random.default_rng([acquisition.seed, 7])
    x, y = 0.935 + rng.uniform(-0.015, 0.015), 0.935 + rng.uniform(-0.015, 0.015)
    draw_letter(view, layer, "P", x, y, 0.045)
    corner = 0.038
    frame = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float32) * corner + (x, y)
    view.lines(layer, [frame.astype(np.float32)], 0.006, 255, closed=True)
    return layer


def draw_devices(view: View, anatomy: Anatomy, acquisition: Acquisition) -> ByteArray:
    """Layer of ECG leads, tubes and pacemakers."""
    layer = view.blank()
    rng = np.random.default_rng([acquisition.seed, 8])
    t = np.linspace(0, 1, 12, dtype=np.float32)
    for _ in range(acquisition.leads):
        x, y = rng.uniform(-0.3, 0.3), anatomy.apex + rng.uniform(0.1, 0.75) * anatomy.length
        end_x, end_y = rng.uniform(-0.5, 0.5), rng.choice([-0.1, 1.1])
        sag = rng.uniform(-0.12, 0.12)
        wire = np.stack([x + (end_x - x) * t + sag * np.sin(np.pi * t), y + (end_y - y) * t], 1)
        view.lines(layer, [wire.astype(np.float32)], 0.006, 130)
        disc = wire[[0, 0]].astype(np.float32)
        disc[1, 0] += 0.001
        view.lines(layer, [disc], rng.uniform(0.018, 0.03), 190)
    if acquisition.tube:
        low = anatomy.apex + rng.choice([0.22, 0.95]) * anatomy.length
        y = -0.15 + (low + 0.15) * t
        line = np.stack([0.008 * np.sin(5 * y) + rng.uniform(-0.006, 0.006), y], axis=1)
        view.lines(layer, [line.astype(np.float32)], 0.011, 110)
        view.lines(layer, [line.astype(np.float32)], 0.004, 190)
    if acquisition.pacemaker:
        x, y = rng.uniform(0.2, 0.26), anatomy.apex + 0.14
        angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        box = np.stack([x + 0.05 * np.cos(angle), y + 0.06 * np.sin(angle)], axis=1)
        view.fill(layer, smooth_closed(box.astype(np.float32)), 235)
        ends = np.array([(x, y), (0.1, y - 0.05), (-0.045, y + 0.2), (0.07, anatomy.base - 0.15)])
        curve = smooth_closed(np.concatenate([ends, ends[::-1]]).astype(np.float32), 6)
        view.lines(layer, [curve[:24]], 0.007, 235)
    return layer


def draw_incidentals(view: View, anatomy: Anatomy, acquisition: Acquisition) -> ByteArray:
    """Layer of nipple shadows, calcified granulomas and scars; the places are the patient's."""
    layer = view.blank()
    rng = np.random.default_rng([anatomy.seed, 9])
    for _ in range(acquisition.incidentals):
        side = int(rng.choice(SIDES))
        what = rng.choice(3)
        x = side * rng.uniform(0.12, 0.27)
        y = anatomy.apex + rng.uniform(0.2, 0.85) * anatomy.length
        if what == 0:
            point = _dot(side * rng.uniform(0.19, 0.24), anatomy.apex + 0.76 * anatomy.length)
            view.lines(layer, [point], 0.024, 60)
        elif what == 1:
            for _ in range(int(rng.integers(1, 4))):
                spot = _dot(x + rng.normal(0, 0.02), y + rng.normal(0, 0.02))
                view.lines(layer, [spot], rng.uniform(0.006, 0.012), 200)
        else:
            angle, length = rng.uniform(-0.8, 0.8), rng.uniform(0.03, 0.09)
            step = np.array([np.cos(angle), np.sin(angle)]) * length
            scar = np.array([(x, y), (x + step[0], y + step[1])], np.float32)
            view.lines(layer, [scar], 0.005, 130)
    return layer


def _dot(x: float, y: float) -> FloatArray:
    return np.array([(x, y), (x + 0.001, y)], np.float32)
