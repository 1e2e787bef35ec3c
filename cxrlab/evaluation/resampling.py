"""How often each image is taken when patients are drawn anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Weights of a piece stay in the processor's cache: 4 MB of float64.
_PIECE = 2**19


def bootstrap_weights(patients: Iterable[str], draws: int, seed: int) -> Iterator[FloatArray]:
    """Patients drawn with replacement, as many as there are; images come with their patient.

    Field and Welsh, Bootstrapping clustered data, JRSS B 2007 (the cluster bootstrap).

    Args:
        patients: of each image, N in all.
        draws: how many samples.
        seed: of the draws, which depend on nothing else but the patients' number and order.

    Yields:
        (b, N) how often each of N images is in each of b samples; the b add up to `draws`.
    """
    image_patient, count = _codes(patients)
    rng = np.random.default_rng(seed)
    size = max(1, _PIECE // image_patient.size)
    for start in range(0, draws, size):
        pieces = min(size, draws - start)
        drawn = rng.integers(0, count, (pieces, count))
        offset = count * np.arange(pieces)[:, None]
        taken = np.bincount((drawn + offset).ravel(), minlength=pieces * count)
        yield taken.reshape(pieces, count)[:, image_patient].astype(np.float64)


def jackknife_weights(patients: Iterable[str], most: int = 200) -> Iterator[FloatArray]:
    """All images but those of one patient, or of one of `most` groups of patients, at a time.

    Yields:
        (b, N) of 0 and 1; the b add up to the number of patients or groups.
    """
    image_patient, count = _codes(patients)
    # Neighbours in a table are often alike, so groups take every n-th patient.
    group = image_patient % min(count, most)
    size = max(1, _PIECE // group.size)
    for start in range(0, min(count, most), size):
        left_out = np.arange(start, min(start + size, count, most))
        yield (group[None, :] != left_out[:, None]).astype(np.float64)


def count_patients(patients: Iterable[str]) -> int:
    """How many different patients there are."""
    return len(set(patients))


def _codes(patients: Iterable[str]) -> tuple[npt.NDArray[np.int64], int]:
    names, codes = np.unique(np.asarray(list(patients), dtype=str), return_inverse=True)
    return codes.astype(np.int64), len(names)
