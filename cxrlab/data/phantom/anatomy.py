"""Anatomy of one synthetic patient."""

from dataclasses import dataclass

import numpy as np

from cxrlab.data.phantom.geometry import FloatArray

RIGHT, LEFT = -1, 1
SIDES = (RIGHT, LEFT)


@dataclass(frozen=True)
class Anatomy:
    """Proportions of a patient, in the body frame's units unless said otherwise.

    Attributes:
        apex: height of the lung apices.
        length: apex to costophrenic angle.
        width: half the width of the chest cage at its widest.
        flare: how early the cage reaches its width (1 slow, 3 at once).
        left_width: width of the left half against the right.
        dome: heights of the right and left diaphragm dome above the costophrenic angle.
        heart: half axes of the heart.
        heart_shift: distance of the heart's centre to the left of the spine.
        aorta: radius of the aortic knob.
        mediastinum: half width of the upper mediastinum.
        ribs: pairs of ribs seen.
        rib_drop: fall of a rib from spine to cartilage.
        rib_width: width of a posterior rib.
        rib_tilt: rise of the ribs' outer halves on the left against the right.
        bone: density of bones, 1 normal (less with age).
        clavicle_lift: rise of the clavicles' outer ends.
        scoliosis: sideways bend of the spine.
        shoulder: drop of the shoulders.
        torso: half width of the torso.
        fat: thickness of the soft tissue against normal.
        breast: density of the breast shadows, 0 none.
        bubble: radius of the stomach bubble, 0 none.
        vessels: prominence of the vessels.
        seed: seed of the patient's vessels and tissue texture.
    """

    apex: float
    length: float
    width: float
    flare: float
    left_width: float
    dome: tuple[float, float]
    heart: tuple[float, float]
    heart_shift: float
    aorta: float
    mediastinum: float
    ribs: int
    rib_drop: float
    rib_width: float
    rib_tilt: float
    bone: float
    clavicle_lift: float
    scoliosis: float
    shoulder: float
    torso: float
    fat: float
    breast: float
    bubble: float
    vessels: float
    seed: int

    @property
    def base(self) -> float:
        """Height of the costophrenic angles."""
        return self.apex + self.length

    def spine(self, y: FloatArray) -> FloatArray:
        """Sideways position of the spine at heights `y`."""
        return self.scoliosis * np.sin(4.5 * (y - 0.3))

    def cage(self, y: FloatArray, side: int) -> FloatArray:
        """Half width of the chest cage at heights `y` on one side."""
        v = np.clip((y - self.apex) / (0.8 * self.length), 0, 1)
        profile = (1 - (1 - v) ** self.flare) ** 0.42
        low = np.clip((y - self.apex) / self.length - 0.8, 0, None)
        width = self.width * (self.left_width if side == LEFT else 1.0)
        return width * (profile - 0.35 * low)


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Anatomy of a random patient."""
    female = rng.random() < 0.4
    dome = rng.uniform(0.06, 0.13)
    heart = rng.uniform(0.125, 0.185)
    width = rng.uniform(0.325, 0.4)
    fat = float(np.clip(rng.normal(1.0, 0.16), 0.65, 1.45))
    return Anatomy(
        apex=rng.uniform(0.09, 0.16),
        length=rng.uniform(0.58, 0.72),
        width=width,
        flare=rng.uniform(1.9, 2.7),
        left_width=rng.uniform(0.92, 0.99),
        dome=(dome + rng.uniform(0.01, 0.035), dome),
        heart=(heart, heart * rng.uniform(0.66, 0.86)),
        heart_shift=rng.uniform(0.035, 0.07),
        aorta=rng.uniform(0.02, 0.042),
        mediastinum=rng.uniform(0.045, 0.075),
        ribs=int(rng.integers(9, 11)),
        rib_drop=rng.uniform(0.16, 0.27),
        rib_width=rng.uniform(0.017, 0.025),
        rib_tilt=rng.uniform(-0.02, 0.02),
        bone=rng.uniform(0.65, 1.3),
        clavicle_lift=rng.uniform(0.0, 0.1),
        scoliosis=float(np.clip(rng.normal(0, 0.008), -0.02, 0.02)),
        shoulder=rng.uniform(-0.03, 0.05),
        torso=width + rng.uniform(0.03, 0.075) * fat,
        fat=fat,
        breast=rng.uniform(0.1, 0.35) if female else 0.0,
        bubble=rng.uniform(0.025, 0.06) if rng.random() < 0.45 else 0.0,
        vessels=rng.uniform(0.65, 1.35),
        seed=int(rng.integers(2**31)),
    )
