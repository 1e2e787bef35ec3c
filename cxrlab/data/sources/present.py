"""Images that a table names and the disk lacks: people often have a part of a large dataset."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cxrlab.errors import UserError, warn


def keep_present(
    table: pd.DataFrame, present: pd.Series, *, table_name: str, folder: Path
) -> pd.DataFrame:
    """Keep the rows whose image is there; say how many are not.

    Args:
        table: a row an image.
        present: boolean, with the table's index.
        table_name: the file that names the images.
        folder: where they were looked for.

    Raises:
        UserError: not one of them is there.
    """
    missing = int((~present).sum())
    if missing == len(table):
        raise UserError(
            f"{folder}: holds none of the {len(table)} images that {table_name} names; "
            "unpack the image archives there"
        )
    if missing:
        warn(
            f"{missing} of {len(table)} images that {table_name} names are not in {folder} and are "
            "left out, so results are of a part of the dataset; unpack the other image archives"
        )
    return table[present]
