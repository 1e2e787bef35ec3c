"""How one image of a patient was taken."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Acquisition:
    """Framing, exposure, detector and objects of one image.

    Attributes:
        zoom: magnification.
        angle: rotation in radians.
        shift: displacement of the body in unit image coordinates.
        breath: how far the diaphragm stands below its usual height.
        collimation: width of the dark border on the left, top, right and bottom.
        exposure: attenuation shown as middle grey.
        contrast: slope of the film curve.
        gamma: exponent of the display.
        scatter: scattered against direct radiation.
        heel: fall of the exposure across the image (x, y).
        blur: deviation of the blur, in pixels of a 224-pixel image.
        noise: deviation of the noise at middle grey in a 224-pixel image.
        letter: side marker, "" for none.
        letter_place: where it stands, unit image coordinates.
        leads: number of ECG leads.
        tube: whether an airway or feeding tube is seen.
        pacemaker: whether a pacemaker is seen.
        incidentals: number of faint harmless findings.
        shortcut: whether the planted corner marker is present.
        seed: seed of noise and of the objects' places.
    """

    zoom: float
    angle: float
    shift: tuple[float, float]
    breath: float
    collimation: tuple[float, float, float, float]
    exposure: float
    contrast: float
    gamma: float
    scatter: float
    heel: tuple[float, float]
    blur: float
    noise: float
    letter: str
    letter_place: tuple[float, float]
    leads: int
    tube: bool
    pacemaker: bool
    incidentals: int
    shortcut: bool
    seed: int

    @property
    def placement(self) -> npt.NDArray[np.float64]:
        """Affine map (2, 3) from the body frame to unit image coordinates."""
        c, s = self.zoom * np.cos(self.angle), self.zoom * np.sin(self.angle)
        rotation = np.array([[c, -s], [s, c]])
        offset = np.array([0.5, 0.5]) + self.shift - rotation @ (0.0, 0.5)
        return np.concatenate([rotation, offset[:, None]], axis=1)


def draw_acquisition(rng: np.random.Generator, shortcut: bool = False) -> Acquisition:
    """Random acquisition; `shortcut` plants the corner marker."""
    sides = rng.random(4) < 0.22
    border = np.where(sides, rng.uniform(0.01, 0.06, 4), 0.0)
    letter = str(rng.choice(["R", "L"])) if rng.random() < 0.5 else ""
    x = rng.uniform(0.04, 0.13)
    return Acquisition(
        zoom=rng.uniform(0.98, 1.22),
        angle=float(np.clip(rng.normal(0, 0.03), -0.09, 0.09)),
        shift=(float(rng.normal(0, 0.018)), float(rng.normal(0.0, 0.018))),
        breath=float(np.clip(rng.normal(0, 0.013), -0.03, 0.03)),
        collimation=(float(border[0]), float(border[1]), float(border[2]), float(border[3])),
        exposure=rng.uniform(1.3, 1.85),
        contrast=rng.uniform(1.6, 2.5),
        gamma=rng.uniform(0.8, 1.3),
        scatter=rng.uniform(0.02, 0.16),
        heel=(float(rng.normal(0, 0.1)), float(rng.normal(0, 0.1))),
        blur=rng.uniform(0.3, 0.85),
        noise=float(np.exp(rng.uniform(np.log(0.006), np.log(0.022)))),
        letter=letter,
        letter_place=(x if letter == "R" else 1 - x, rng.uniform(0.05, 0.16)),
        leads=int(rng.integers(2, 5)) if rng.random() < 0.14 else 0,
        tube=bool(rng.random() < 0.07),
        pacemaker=bool(rng.random() < 0.03),
        incidentals=int(rng.poisson(0.7)),
        shortcut=shortcut,
        seed=int(rng.integers(2**31)),
    )
