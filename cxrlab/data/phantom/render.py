"""From patient, acquisition and lesion to a radiograph.

Attenuations along the beam are summed, scatter is added to what comes through, and a film curve
turns the logarithm of the exposure into grey levels: dense is bright.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cxrlab.data.phantom import objects
from cxrlab.data.phantom.acquisition import Acquisition
from cxrlab.data.phantom.anatomy import Anatomy
from cxrlab.data.phantom.bones import bone_density
from cxrlab.data.phantom.geometry import (
    WHOLE,
    FloatArray,
    View,
    Window,
    grid_view,
    window_view,
)
from cxrlab.data.phantom.lesions import PEAK_FRACTION, Lesion, opacity
from cxrlab.data.phantom.tissue import lung_layer, soft_tissue
from cxrlab.data.phantom.vessels import draw_airways, draw_vessels

BoolArray = npt.NDArray[np.bool_]
_IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])
_NATIVE = 224


@dataclass(frozen=True)
class Phantom:
    """A rendered radiograph, all arrays (size, size).

    Attributes:
        image: grey levels, uint8.
        lesion_mask: where the added opacity exceeds a fifth of its peak, inside the lungs.
        marker_mask: the planted corner marker.
        lung_mask: the lung fields beside heart and mediastinum.
    """

    image: npt.NDArray[np.uint8]
    lesion_mask: BoolArray
    marker_mask: BoolArray
    lung_mask: BoolArray


def _attenuation(
    view: View, patient: Anatomy, acquisition: Acquisition, lungs: FloatArray
) -> FloatArray:
    """Attenuation (size, size) of the patient without lesion."""
    breath = acquisition.breath
    tissue, air = soft_tissue(patient, breath)
    total = view.warp(tissue) - view.warp(air) * lungs
    vessels = draw_vessels(view, patient)
    soft = cv2.GaussianBlur(vessels, (0, 0), max(0.5, 0.003 * view.pixels_per_unit))
    total += soft * lungs * np.float32(0.3 / 255 * patient.vessels)
    total += bone_density(view, patient, breath)
    airways = cv2.GaussianBlur(
        draw_airways(view, patient), (0, 0), max(0.4, 0.005 * view.pixels_per_unit)
    )
    total -= airways * np.float32(0.42 / 255)
    if acquisition.incidentals:
        total += objects.draw_incidentals(view, patient, acquisition) * np.float32(0.3 / 255)
    if acquisition.leads or acquisition.tube or acquisition.pacemaker:
        total += objects.draw_devices(view, patient, acquisition) * np.float32(1.1 / 255)
    return total


def _scatter(total: FloatArray, view: View, share: float) -> FloatArray:
    """Attenuation as it seems once scattered radiation fills in the dense parts."""
    through = np.exp(-total)
    coarse = cv2.resize(through, (32, 32), interpolation=cv2.INTER_AREA)
    sigma = 0.09 * view.pixels_per_unit / view.size * 32
    coarse = cv2.GaussianBlur(coarse, (0, 0), max(sigma, 0.5), borderType=cv2.BORDER_REPLICATE)
    haze = cv2.resize(coarse, (view.size, view.size), interpolation=cv2.INTER_LINEAR)
    return -np.log(through + np.float32(share) * haze)


def _develop(
    total: FloatArray, view: View, acquisition: Acquisition, window: Window
) -> npt.NDArray[np.uint8]:
    """Grey levels of an attenuation map: heel effect, blur, noise, film curve, collimation."""
    size = view.size
    density = size / _NATIVE / (window[2] - window[0])
    x = np.linspace(window[0], window[2], size, dtype=np.float32)[None, :]
    y = np.linspace(window[1], window[3], size, dtype=np.float32)[:, None]
    heel = (x - 0.5) * acquisition.heel[0] + (y - 0.5) * acquisition.heel[1]
    light = np.float32(acquisition.exposure) + heel
    signal = cv2.GaussianBlur(total, (0, 0), max(0.3, acquisition.blur * density))
    rng = np.random.default_rng([acquisition.seed, *(round(1e6 * edge) for edge in window), size])
    grain = cv2.GaussianBlur(rng.standard_normal((size, size), dtype=np.float32), (0, 0), 0.45)
    grain = grain * np.float32(acquisition.noise * min(max(density, 0.4), 2.0) * 6)
    # Few photons come through dense parts: the noise of the logarithm grows with attenuation.
    signal += grain * (0.5 + 0.2 * total)
    grey = 1 / (1 + np.exp(np.float32(-acquisition.contrast) * (signal - light)))
    grey = grey ** np.float32(acquisition.gamma)
    left, top, right, bottom = acquisition.collimation
    for edge, inside in ((left, x), (top, y), (right, 1 - x), (bottom, 1 - y)):
        if edge:
            grey = grey * np.clip((inside - edge) * 120 + 0.5, 0.03, 1)
    return (grey * 255).astype(np.uint8)


def render(
    patient: Anatomy,
    acquisition: Acquisition,
    lesion: Lesion | None,
    size: int,
    window: Window = WHOLE,
) -> Phantom:
    """Render a window of one radiograph; the cost depends on `size` alone.

    Args:
        patient: the anatomy.
        acquisition: how the image was taken.
        lesion: the pneumonia, None for a normal image.
        size: side of the result in pixels.
        window: x0, y0, x1, y1 of the rendered square in unit image coordinates.
    """
    view = window_view(acquisition.placement, window, size)
    lungs = lung_layer(view, patient, acquisition.breath)
    inside = lungs > 0.5
    total = _attenuation(view, patient, acquisition, lungs)
    lesion_mask = np.zeros((size, size), bool)
    if lesion is not None:
        added, support = opacity(lesion, patient, lung_layer(grid_view(), patient, 0.0))
        total += view.warp(added) * lungs
        lesion_mask = (view.warp(support) > PEAK_FRACTION) & inside
    total = _scatter(np.maximum(total, 0.02), view, acquisition.scatter)
    image = _develop(total, view, acquisition, window)
    flat = window_view(_IDENTITY, window, size)
    if acquisition.letter:
        letter = flat.blank()
        objects.draw_letter(flat, letter, acquisition.letter, *acquisition.letter_place, 0.05)
        image = np.maximum(image, letter)
    marker = objects.draw_shortcut(flat, acquisition) if acquisition.shortcut else flat.blank()
    return Phantom(np.maximum(image, marker), lesion_mask, marker > 64, inside)
