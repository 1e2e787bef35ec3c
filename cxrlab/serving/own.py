"""The images that a finished run was made of, found again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from cxrlab.config.datasets import DataBase, DataConfig
from cxrlab.data.manifest import Manifest
from cxrlab.data.sources import load_manifest
from cxrlab.errors import UserError
from cxrlab.files import read_yaml
from cxrlab.layout import CONFIG_FILE, MANIFEST_FILE


def own_images(folder: Path, split: str) -> tuple[DataBase, Manifest]:
    """The images of one split of a run, as its manifest tells, with their masks.

    Args:
        folder: of the run.
        split: train, val or test.

    Returns:
        The configuration of the data, and a manifest whose images are all of that split.

    Raises:
        UserError: the run's folder doesn't tell, or the dataset isn't where it was.
    """
    try:
        config = TypeAdapter(DataConfig).validate_python(
            (read_yaml(folder / CONFIG_FILE) or {})["data"]
        )
        told = pd.read_csv(folder / MANIFEST_FILE, dtype=str, usecols=["path", "split"])
    except (OSError, ValueError, KeyError, ValidationError) as error:
        raise UserError(
            f"{folder}: can't tell what the run's own images are ({_line(error)}); "
            "name a dataset, data=NAME"
        ) from error
    wanted = told.loc[told["split"] == split, "path"]
    found = load_manifest(config)
    mine = found.with_table(found.table[found.table["path"].isin(wanted)].assign(split=split))
    if not len(mine):
        raise UserError(
            f"split={split}: of the run's {len(wanted)} images there none is left in {found.root}; "
            "name the dataset, data=NAME data.root=PATH"
        )
    return config, mine


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
