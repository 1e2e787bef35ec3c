"""A folder of the user's own, with a folder a class.

Population, labels, caveats: as they are. The classes are the names of the folders; images may
lie deeper below them. With train/, val/ (or valid/, validation/) and test/ above the class
folders, those are the official split.

Patients: `data.patient` is a regular expression whose first group in the file name is the
patient. Without it every image counts as its own patient, and no leak can be seen.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from cxrlab.config.datasets import ImageFolderData
from cxrlab.data.images import is_image_name
from cxrlab.data.manifest import Manifest
from cxrlab.data.sources.folders import read_class_folders
from cxrlab.data.sources.roots import given_path
from cxrlab.errors import UserError, warn


def load(config: ImageFolderData) -> Manifest:
    """List the class folders.

    Raises:
        UserError: the folder has another layout, or `data.patient` fits no file name.
    """
    root = given_path(config.root, f"{config.name}: data.root", "of the folder of class folders")
    task, table = read_class_folders(root, config.classes, is_image_name)
    table["patient_id"] = _patients(root, table["path"], config.patient)
    return Manifest(config.name, root, task, table)


def _patients(root: Path, paths: pd.Series, pattern: str | None) -> pd.Series:
    if pattern is None:
        warn(
            f"{root}: patients are not known, so every image counts as its own patient and images "
            "of one patient may train and test unseen; give 'data.patient=\"^([^_]+)_\"'"
        )
        return paths
    compiled = re.compile(pattern)
    found = [compiled.search(PurePosixPath(path).name) for path in paths]
    patients = pd.Series([match and match.group(1) for match in found], index=paths.index)
    unmatched = patients.isna() | (patients == "")
    if unmatched.all():
        raise UserError(
            f"data.patient={pattern}: fits no file name in {root} "
            f"(first: {PurePosixPath(paths.iloc[0]).name})"
        )
    if unmatched.any():
        warn(
            f"data.patient={pattern}: fits {int(unmatched.sum())} of {len(paths)} file names not "
            f"(first: {paths[unmatched].iloc[0]}); each of these counts as its own patient"
        )
    return patients.where(~unmatched, paths)
