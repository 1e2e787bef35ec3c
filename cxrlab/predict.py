"""`python -m cxrlab.predict`: from image files to a table of probabilities and decisions."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab.config.app import command
from cxrlab.errors import UserError
from cxrlab.serving.inputs import find_images

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from cxrlab.config.commands import PredictConfig
    from cxrlab.config.schema import MethodName
    from cxrlab.serving.predictor import Predictor
    from cxrlab.serving.stream import Draw

_log = logging.getLogger("cxrlab")


@command("predict", schema="PredictConfig")
def main(config: PredictConfig) -> None:
    """Find the images before anything heavy is imported, then predict them."""
    files = find_images(config.input)
    output = output_file(config.output)
    from cxrlab.serving.runs import find_checkpoints

    checkpoints = find_checkpoints(config.run, config.tracking)
    method = config.method if config.heatmaps else None
    predict_files(checkpoints, files, output, gate=config.gate, method=method)
    print(output)


def predict_files(
    checkpoints: Sequence[Path],
    files: Sequence[Path],
    output: Path,
    *,
    gate: bool = True,
    method: MethodName | None = None,
) -> None:
    """Predict image files by a run, or by several together, and write the table as CSV.

    Rows are added as they are made. If the table is there and of the same run, the files that it
    holds are left out, so a job that was interrupted goes on.

    Args:
        checkpoints: of the runs.
        files: the images.
        output: the table.
        gate: whether images that are unlike the training images get no decision.
        method: how heat maps are drawn, into a folder beside the table; None: none are.

    Raises:
        UserError: a checkpoint or every file is unreadable, the table can't be written or is of
            another run, or the method does not fit the network.
    """
    import pandas as pd
    import torch

    from cxrlab.allocator import keep_freed_memory
    from cxrlab.progress import progress
    from cxrlab.serving.ensemble import load_predictor
    from cxrlab.serving.growing import open_table
    from cxrlab.serving.predictor import columns, warn_of_unreadable
    from cxrlab.serving.stream import stream
    from cxrlab.tracking.derived import run_label

    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictor = load_predictor(checkpoints, device)
    run = " + ".join(run_label(checkpoint.parents[1]) for checkpoint in checkpoints)
    draw = _drawing(predictor, output, method) if method else None
    told = [*columns(predictor), *(["heatmap"] if draw else [])]
    unreadable: list[pd.DataFrame] = []
    verdicts: Counter[str] = Counter()
    with open_table(output, run, told) as table:
        left = [file for file in files if str(file) not in table.done]
        done = f"; {len(files) - len(left)} are done already" if len(left) < len(files) else ""
        _log.info("predicting %d images with %s on %s%s", len(left), run, device, done)
        with progress(len(left), "predicting") as advance:
            for rows in stream(predictor, left, gate=gate, draw=draw):
                table.append(rows)
                verdicts.update(rows["verdict"])
                unreadable.append(rows[rows["error"] != ""])
                advance(len(rows))
    counts = ", ".join(f"{verdicts[name]} {name}" for name in ("decide", "review", "abstain"))
    _log.info("verdicts: %s, %d can't be read", counts, verdicts[""])
    if unreadable:
        warn_of_unreadable(pd.concat(unreadable))
    if left and verdicts[""] == len(left):
        first = unreadable[0].iloc[0]
        raise UserError(
            f"none of {len(left)} files can be read, first {first['path']}: {first['error']}; "
            "give input=PATH of JPEG, PNG, TIFF, BMP or DICOM files"
        )


def _drawing(predictor: Predictor, output: Path, method: MethodName) -> Draw:
    """What draws an image beside its evidence, in a folder named after the table."""
    import cv2
    import numpy as np

    from cxrlab.files import write_atomically
    from cxrlab.serving.heatmaps import heat_maps

    folder = output.parent / f"{output.stem}_heatmaps"

    def draw(file: Path, pixels: NDArray[np.uint8]) -> str:
        found = heat_maps(predictor, pixels[None], method=method)[0]
        image = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
        picture = np.hstack([image, found.overlay[..., ::-1]])
        # Two files may share their name, and a name may hold what a folder's may not.
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in file.stem)[:80]
        name = f"{stem}-{hashlib.sha256(str(file).encode()).hexdigest()[:10]}.png"
        write_atomically(folder / name, cv2.imencode(".png", picture)[1].tobytes())
        return f"{folder.name}/{name}"

    return draw


def output_file(configured: str | None) -> Path:
    """The CSV file to write: the one named, or `predictions.csv` in the command's folder."""
    if configured:
        return Path(configured).expanduser().absolute()
    from hydra.core.hydra_config import HydraConfig

    return Path(HydraConfig.get().runtime.output_dir) / "predictions.csv"


if __name__ == "__main__":
    main()
