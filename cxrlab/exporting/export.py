"""Write a run in other formats; only what equals the run is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from cxrlab.config.commands import ExportConfig
from cxrlab.errors import UserError
from cxrlab.exporting.check import Checked, Scores, checked, file_scores, run_scores
from cxrlab.exporting.formats import FORMATS, quiet
from cxrlab.exporting.graph import ServingGraph, describe
from cxrlab.exporting.images import Images, checking_images, split_images
from cxrlab.exporting.quantise import quantise
from cxrlab.files import write_atomically
from cxrlab.layout import BEST
from cxrlab.report.finished import FinishedRun
from cxrlab.serving.predictor import Predictor

JSON = "export.json"
RUN, INT8 = "run", "onnx int8"
_STEM = "model"


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        files: the run itself first, then each file.
        validation: images of the run's that they were compared on.
        phantoms: phantoms that they were compared on.
    """

    files: tuple[Checked, ...]
    validation: int
    phantoms: int


def export(config: ExportConfig, run: FinishedRun, label: str, output: Path) -> Export:
    """Write, check and keep a file of each format, and `export.json` beside them.

    Args:
        config: which formats.
        run: the finished run; its folder is not changed.
        label: what the run is called.
        output: folder of the files.

    Raises:
        UserError: a format can't hold the network, a file differs from the run, or int8 loses
            more than it may; that file is not kept.
    """
    predictor = Predictor.load(run.folder / BEST, torch.device("cpu"))
    examples: NDArray[np.uint8] | None = None
    if config.int8:
        examples = split_images(run, predictor, "train", config.int8_images).pixels
    judge = _Judge.of(predictor, checking_images(run, predictor, config.images))
    output.mkdir(parents=True, exist_ok=True)
    description = describe(predictor, label)
    graph, example = ServingGraph(predictor), torch.from_numpy(judge.images.pixels[:2])
    found = [judge.of_run(run.folder / BEST)]
    for name in config.format:
        kind = FORMATS[name]
        with _unchecked(output) as folder:
            file = folder / f"{_STEM}{kind.suffix}"
            with _translated(name), quiet():
                kind.write(graph, example, description, file)
            result = judge.of_file(name, file)
            _check_equal(result, config.tolerance)
            found.append(_keep(result, output))
        if name == "onnx" and examples is not None:
            with _unchecked(output) as folder:
                file = folder / f"{_STEM}.int8{kind.suffix}"
                with quiet():
                    quantise(found[-1].file, file, examples, description)
                result = judge.of_file(INT8, file)
                _check_loss(result, found[0], config.int8_loss)
                found.append(_keep(result, output))
    known = len(judge.images.rows)
    exported = Export(tuple(found), known, len(judge.images.pixels) - known)
    write_atomically(output / JSON, json.dumps(_plain(exported, label), indent=2) + "\n")
    return exported


@dataclass(frozen=True)
class _Judge:
    """The run's own answers, which every file is held against."""

    predictor: Predictor
    images: Images
    expected: Scores

    @classmethod
    def of(cls, predictor: Predictor, images: Images) -> _Judge:
        return cls(predictor, images, run_scores(predictor, images.pixels))

    def of_run(self, checkpoint: Path) -> Checked:
        return self._checked(RUN, checkpoint, self.expected, self.predictor.logits)

    def of_file(self, name: str, file: Path) -> Checked:
        with quiet():
            scorer = FORMATS[name.partition(" ")[0]].open(file)
        return self._checked(name, file, file_scores(scorer, self.images.pixels), scorer)

    def _checked(
        self, name: str, file: Path, found: Scores, scorer: Callable[[NDArray[np.uint8]], object]
    ) -> Checked:
        return checked(name, file, found, scorer, self.predictor, self.images, self.expected)


@contextmanager
def _unchecked(output: Path) -> Iterator[Path]:
    """A folder beside the files that are kept, for one that may not be."""
    with TemporaryDirectory(dir=output, prefix=".unchecked-") as folder:
        yield Path(folder)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # exporters fail in as many ways as networks are written
        others = " or ".join(f"format={other}" for other in FORMATS if other != name)
        told = " ".join(str(error).split())[:200]
        raise UserError(
            f"format={name}: can't hold this network ({type(error).__name__}: {told}); "
            f"take {others}"
        ) from error


def _check_equal(result: Checked, tolerance: float) -> None:
    worst = max(result.difference, result.curve_difference)
    if worst > tolerance:
        others = " or ".join(f"format={other}" for other in FORMATS if other != result.name)
        raise UserError(
            f"format={result.name}: a probability differs from the run's by {worst:.2g}, more than "
            f"tolerance={tolerance:g}, so the file is not kept; take {others}"
        )


def _check_loss(result: Checked, run: Checked, most: float) -> None:
    if result.auroc is None or run.auroc is None:
        raise UserError(
            "int8=true: its loss can't be told, for the run's validation images at hand are of "
            "one class; take int8=false"
        )
    loss = run.auroc - result.auroc
    if loss > most:
        raise UserError(
            f"int8=true: ROC-AUC on validation falls by {loss:.4f}, more than int8_loss={most:g}, "
            "so the file is not kept; take int8=false, or allow more"
        )


def _keep(result: Checked, output: Path) -> Checked:
    return replace(result, file=result.file.replace(output / result.file.name))


def _plain(exported: Export, label: str) -> dict[str, object]:
    files = [{**asdict(file), "file": file.file.name} for file in exported.files]
    return {
        "run": label,
        "validation_images": exported.validation,
        "phantoms": exported.phantoms,
        "files": files,
    }
