"""A few elements of a DICOM header, and nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrlab.errors import UserError


def read_header(path: Path, keywords: Sequence[str]) -> dict[str, str] | None:
    """Read some elements of a DICOM file; the pixels stay unread.

    Args:
        path: the file.
        keywords: names of the elements, such as `PatientAge`.

    Returns:
        Each keyword with its value as text, "" where it is absent; None if the file is no DICOM
        file or a broken one.

    Raises:
        UserError: pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise UserError('DICOM files need pydicom; pip install "cxrlab[dicom]"') from error
    try:
        header = pydicom.dcmread(
            path,
            stop_before_pixels=True,
            specific_tags=list(keywords),
            # Some writers leave out the preamble that tells DICOM; then the suffix must do so.
            force=path.suffix.lower() in (".dcm", ".dicom"),
        )
        values = {keyword: header.get(keyword) for keyword in keywords}
        return {k: "" if value is None else str(value).strip() for k, value in values.items()}
    except Exception:  # pydicom raises whatever a broken file makes it trip over
        return None
