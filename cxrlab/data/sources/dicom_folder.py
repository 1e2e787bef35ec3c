"""A folder of DICOM files of the user's own, with a folder a class.

Population, labels, caveats: as they are. The layout is that of `image_folder`; files are those
named .dcm or .dicom, and those without a suffix that are DICOM.

Patients: PatientID. Reported by sex, age and view, from PatientSex, PatientAge and ViewPosition.
Nothing else is read of a header, and no name, date or number of it is kept.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from cxrlab.config.datasets import DicomFolderData
from cxrlab.data.manifest import Manifest
from cxrlab.data.sources.demographics import ages, sexes, views
from cxrlab.data.sources.folders import read_class_folders
from cxrlab.data.sources.generated import in_threads
from cxrlab.data.sources.headers import read_header
from cxrlab.data.sources.roots import given_path
from cxrlab.errors import UserError, warn
from cxrlab.progress import track

_KEYWORDS = ("PatientID", "PatientSex", "PatientAge", "ViewPosition")
_SUFFIXES = {".dcm", ".dicom", ""}


def load(config: DicomFolderData) -> Manifest:
    """List the class folders and read patient, sex, age and view from the headers.

    Raises:
        UserError: the folder has another layout or holds no DICOM file, or pydicom is missing.
    """
    root = given_path(config.root, f"{config.name}: data.root", "of the folder of class folders")
    task, table = read_class_folders(root, config.classes, _may_be_dicom)
    read = in_threads(lambda path: read_header(root / path, _KEYWORDS), table["path"])
    headers = list(track(read, total=len(table), what="reading DICOM headers"))
    if not any(headers):
        raise UserError(
            f"{root}: holds no readable DICOM file; for PNG and JPEG: data=image_folder"
        )
    # A broken .dcm stays: it is left out later with its reason. Without a suffix it is a stray.
    suffixes = table["path"].map(lambda path: PurePosixPath(path).suffix)
    kept = [header is not None or bool(s) for header, s in zip(headers, suffixes, strict=True)]
    blank = dict.fromkeys(_KEYWORDS, "")
    values = pd.DataFrame([header or blank for header in headers])[kept].reset_index(drop=True)
    table = table[kept].reset_index(drop=True)
    table["patient_id"] = _patients(root, values["PatientID"], table["path"])
    table["sex"] = sexes(values["PatientSex"])
    table["age"] = ages(values["PatientAge"])
    table["view"] = views(values["ViewPosition"])
    return Manifest(config.name, root, task, table, ("sex", "age", "view"))


def _may_be_dicom(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _SUFFIXES and not name.startswith(".") and name != "DICOMDIR"


def _patients(root: Path, ids: pd.Series, paths: pd.Series) -> pd.Series:
    nameless = ids == ""
    if nameless.any():
        warn(
            f"{root}: {int(nameless.sum())} of {len(ids)} files have no PatientID, so each of them "
            "counts as its own patient and images of one may train and test unseen; "
            "give them PatientIDs"
        )
    return ids.where(~nameless, paths)
