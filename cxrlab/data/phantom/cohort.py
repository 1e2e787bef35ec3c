"""Cases: patients and their images, each drawn on its own from the seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxrlab.data.phantom.acquisition import Acquisition, draw_acquisition
from cxrlab.data.phantom.anatomy import Anatomy, draw_anatomy
from cxrlab.data.phantom.geometry import WHOLE, Window
from cxrlab.data.phantom.lesions import KINDS, Kind, Lesion, Side, Zone, draw_lesion
from cxrlab.data.phantom.render import Phantom, render

_KIND_SHARES = (0.4, 0.35, 0.25)
_PATIENT, _IMAGE, _COHORT = 1, 2, 3
MAX_IMAGES = 4


@dataclass(frozen=True)
class Case:
    """One image to be: everything that `render` needs, a few hundred bytes to pickle."""

    seed: int
    patient: int
    image: int
    anatomy: Anatomy
    acquisition: Acquisition
    lesion: Lesion | None

    @property
    def label(self) -> int:
        """1 with pneumonia, else 0."""
        return int(self.lesion is not None)

    @property
    def kind(self) -> Kind | Literal["none"]:
        """Pattern of the pneumonia."""
        return self.lesion.kind if self.lesion else "none"

    @property
    def severity(self) -> float:
        """Density of the opacity against the densest, 0 when normal."""
        return self.lesion.severity if self.lesion else 0.0

    @property
    def side(self) -> Side | Literal["none"]:
        """The patient's side."""
        return self.lesion.side if self.lesion else "none"

    @property
    def zone(self) -> Zone | Literal["none"]:
        """Level of the lung."""
        return self.lesion.zone if self.lesion else "none"

    @property
    def marker(self) -> bool:
        """Whether the planted shortcut is in the image."""
        return self.acquisition.shortcut

    def render(self, size: int, window: Window = WHOLE) -> Phantom:
        """Render the image, or a window of it, at `size` pixels a side."""
        return render(self.anatomy, self.acquisition, self.lesion, size, window)


def marker_probability(label: int, strength: float) -> float:
    """Probability of the planted marker: (1 + s) / 2 with pneumonia, (1 - s) / 2 without.

    Strength s is the correlation of marker and label in a balanced cohort; at 0 there is none.
    """
    if strength == 0:
        return 0.0
    return (1 + strength) / 2 if label else (1 - strength) / 2


def draw_case(
    seed: int,
    patient: int,
    image: int,
    *,
    prevalence: float,
    difficulty: float,
    shortcut: float = 0.0,
) -> Case:
    """One image of one patient; depends on the arguments alone, never on other calls.

    Args:
        seed: the cohort's.
        patient: index of the patient, from 0; fixes anatomy, label and lesion.
        image: index among the patient's images, from 0; fixes the acquisition.
        prevalence: share of patients with pneumonia.
        difficulty: 0 obvious to 1 many barely visible.
        shortcut: strength of the planted marker in [0, 1], see `marker_probability`.
    """
    rng = np.random.default_rng([seed, _PATIENT, patient])
    anatomy = draw_anatomy(rng)
    sick = rng.random() < prevalence
    kind = KINDS[int(rng.choice(len(KINDS), p=_KIND_SHARES))]
    lesion = draw_lesion(rng, kind, difficulty) if sick else None
    rng = np.random.default_rng([seed, _IMAGE, patient, image])
    marked = bool(rng.random() < marker_probability(int(sick), shortcut))
    return Case(seed, patient, image, anatomy, draw_acquisition(rng, marked), lesion)


def cohort(seed: int, images: int) -> list[tuple[int, int]]:
    """Pairs (patient, image) of `images` images with 1 to 4 a patient, patients in order."""
    rng = np.random.default_rng([seed, _COHORT])
    counts = rng.integers(1, MAX_IMAGES + 1, size=images)
    pairs = [(patient, image) for patient, count in enumerate(counts) for image in range(count)]
    return pairs[:images]


def stream(
    seed: int,
    *,
    prevalence: float = 0.5,
    difficulty: float = 0.5,
    shortcut: float = 0.0,
    start: int = 0,
) -> Iterator[Case]:
    """Endless cases, each of another patient, from patient `start` on."""
    patient = start
    while True:
        yield draw_case(
            seed, patient, 0, prevalence=prevalence, difficulty=difficulty, shortcut=shortcut
        )
        patient += 1
