"""Which images must stay together when a dataset is cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def group_images(patient_ids: pd.Series, duplicates: pd.DataFrame) -> NDArray[np.int64]:
    """Put the images of one patient into one group, and patients who share a picture too.

    Args:
        patient_ids: of N images.
        duplicates: pairs of row positions, columns `a` and `b`.

    Returns:
        (N,) group number; equal for images that must not be parted.
    """
    patients, _ = pd.factorize(patient_ids)
    count = int(patients.max(initial=-1)) + 1
    pairs = (patients[duplicates["a"].to_numpy()], patients[duplicates["b"].to_numpy()])
    links = coo_array((np.ones(len(duplicates), dtype=np.int8), pairs), shape=(count, count))
    _, component = connected_components(links, directed=False)
    return np.asarray(component, np.int64)[patients]
