"""`python -m cxrlab.predict`: from image files to a table of probabilities and decisions."""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command
from cxrlab.errors import UserError

if TYPE_CHECKING:
    from cxrlab.config.commands import PredictConfig

_log = logging.getLogger("cxrlab")


@command("predict", schema="PredictConfig")
def main(config: PredictConfig) -> None:
    """Find the images before anything heavy is imported, then predict them."""
    files = find_images(config.input)
    output = output_file(config.output)
    from cxrlab.serving.runs import find_checkpoints

    predict_files(find_checkpoints(config.run, config.tracking), files, output)
    print(output)


def predict_files(checkpoints: Sequence[Path], files: list[Path], output: Path) -> None:
    """Predict image files by a run, or by several together, and write the table as CSV.

    Raises:
        UserError: a checkpoint or every file is unreadable, or the table can't be written.
    """
    import torch

    from cxrlab.allocator import keep_freed_memory
    from cxrlab.evaluation.predictions import write_predictions
    from cxrlab.serving.ensemble import load_predictor

    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    named = ", ".join(map(str, checkpoints))
    _log.info("predicting %d images with %s on %s", len(files), named, device)
    table = load_predictor(checkpoints, device).predict(files)
    write_predictions(table, output)
    if (table["error"] != "").all():
        raise UserError(
            f"none of {len(files)} files can be read, first {files[0]}: {table['error'][0]}; "
            "give input=PATH of JPEG, PNG, TIFF, BMP or DICOM files"
        )


def find_images(named: str) -> list[Path]:
    """List the images that `input` names.

    Args:
        named: a file, a folder, in which files are told by their suffix, or a glob (`**` for any
            depth).

    Raises:
        UserError: there are none.
    """
    from cxrlab.data.images import is_image_name
    from cxrlab.data.sources.folders import files_below

    path = Path(named).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = list(files_below(path, is_image_name))
        if not found:
            raise UserError(f"input={named}: the folder holds no image; give one that does")
        return found
    found = [Path(f) for f in sorted(glob.glob(str(path), recursive=True)) if Path(f).is_file()]  # noqa: PTH207  Path.glob takes no absolute patterns
    if not found:
        raise UserError(f"input={named}: no such file; give an image, a folder or a quoted glob")
    return found


def output_file(configured: str | None) -> Path:
    """The CSV file to write: the one named, or `predictions.csv` in the command's folder."""
    if configured:
        return Path(configured).expanduser().absolute()
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir) / "predictions.csv"


if __name__ == "__main__":
    main()
