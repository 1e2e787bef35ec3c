"""From what a user types for images to their files."""

from __future__ import annotations

import glob
from pathlib import Path

from cxrlab.errors import UserError

_COLUMN = "path"


def find_images(named: str) -> list[Path]:
    """List the images that `input` names, each once.

    Args:
        named: a file, a folder, in which files are told by their suffix, a glob (`**` for any
            depth), or a CSV file whose column `path` names files, relative to its own folder.

    Raises:
        UserError: there are none, or a row of the CSV file is empty.
    """
    from cxrlab.data.images import is_image_name
    from cxrlab.data.sources.folders import files_below

    path = Path(named).expanduser()
    if path.is_file():
        return _listed(path) if path.suffix.lower() == ".csv" else [path]
    if path.is_dir():
        found = list(files_below(path, is_image_name))
        if not found:
            raise UserError(f"input={named}: the folder holds no image; give one that does")
        return found
    found = [Path(f) for f in sorted(glob.glob(str(path), recursive=True)) if Path(f).is_file()]  # noqa: PTH207  Path.glob takes no absolute patterns
    if not found:
        raise UserError(f"input={named}: no such file; give an image, a folder or a quoted glob")
    return found


def _listed(file: Path) -> list[Path]:
    from cxrlab.data.sources.tables import read_table, row_number

    cells = read_table(file, [_COLUMN])[_COLUMN]
    for index, cell in enumerate(cells):
        if not cell:
            raise UserError(f"{file}: row {row_number(index)}: no path; fill it in")
    return [file.parent / Path(cell).expanduser() for cell in dict.fromkeys(cells)]
