"""A finished run to use from Python: what `cxrlab.load_run` returns."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, overload

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cxrlab.config.paths import conf_dir
from cxrlab.config.schema import TrackingConfig
from cxrlab.data.images import UnreadableImageError, read_file
from cxrlab.errors import UserError
from cxrlab.evaluation.evaluation import Evaluation
from cxrlab.evaluation.threshold import show_probability
from cxrlab.files import read_yaml
from cxrlab.page import data_uri
from cxrlab.serving.heatmaps import METHOD, HeatMap, heat_maps
from cxrlab.serving.inputs import find_images
from cxrlab.serving.predictor import Predictor
from cxrlab.serving.runs import find_checkpoint

# A file, a folder, a glob, or several of them.
Named: TypeAlias = str | Path | Iterable[str | Path]


@dataclass(frozen=True)
class Explained:
    """An image and where the evidence in it lies.

    Attributes:
        path: the file.
        image: uint8 (S, S), as the model sees it.
        heat_map: its map, and how it is shown.
        probability: of the explained class or finding.
    """

    path: str
    image: NDArray[np.uint8]
    heat_map: HeatMap
    probability: float

    def _repr_html_(self) -> str:
        name, explained = html.escape(Path(self.path).name), html.escape(self.heat_map.explained)
        doubt = " · doubtful map" if self.heat_map.doubtful else ""
        return (
            '<figure style="display:inline-block;margin:.5em;font:13px sans-serif">'
            f'<img width="224" alt="{name}" src="{_png(self.image)}"> '
            f'<img width="224" alt="evidence for {explained}" src="{_png(self.heat_map.overlay)}">'
            f"<figcaption>{name}<br>p({explained}) {show_probability(self.probability)}{doubt}"
            "</figcaption></figure>"
        )


@dataclass(frozen=True)
class Explanations(Sequence[Explained]):
    """Explained images, in the order of their files; shown side by side in a notebook."""

    images: tuple[Explained, ...]

    @property
    def maps(self) -> NDArray[np.float32]:
        """The signed maps, (N, S, S)."""
        return np.stack([explained.heat_map.map for explained in self.images])

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Explained]:
        return iter(self.images)

    @overload
    def __getitem__(self, index: int) -> Explained: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...
    def __getitem__(self, index: int | slice) -> Explained | Explanations:
        found = self.images[index]
        return Explanations(found) if isinstance(found, tuple) else found

    def _repr_html_(self) -> str:
        return "".join(explained._repr_html_() for explained in self.images)


@dataclass(frozen=True)
class LoadedRun:
    """A finished run that predicts and explains image files.

    Attributes:
        folder: the run's.
        predictor: network, preprocessing, calibration and thresholds.
    """

    folder: Path
    predictor: Predictor

    @classmethod
    def load(cls, run: str | Path, uri: str | None = None) -> LoadedRun:
        """Find and read a run; see `cxrlab.load_run`."""
        tracking = TrackingConfig.model_validate(read_yaml(conf_dir() / "tracking/local.yaml"))
        checkpoint = find_checkpoint(str(run), tracking.model_copy(update={"uri": uri}))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return cls(checkpoint.parents[1], Predictor.load(checkpoint, device))

    def predict(self, images: Named, *, gate: bool = True) -> pd.DataFrame:
        """Predict image files.

        Args:
            images: a file, a folder with all below it, a glob, a CSV list, or several of them.
            gate: whether images that are unlike the training images get no decision.

        Returns:
            A row a file, as in `predictions.csv`: `path`, `logit`, `probability`, `calibrated`,
            `decision` (1 is positive) and its `threshold`, `verdict` (`decide`, `review` or
            `abstain`) and its `reason`, and `error`, why a file can't be read; with more than two
            classes `logit_<class>` and so on.

        Raises:
            UserError: there is no such file.
        """
        return self.predictor.predict(_files(images), gate=gate)

    def explain(
        self, images: Named, *, method: str = METHOD, explained: str | None = None
    ) -> Explanations:
        """Show where in images the evidence lies.

        Args:
            images: as for `predict`.
            method: `integrated_gradients`, or another that `conf/explain.yaml` names.
            explained: class or finding whose evidence is wanted; None: of two classes the second,
                of more the most probable.

        Raises:
            UserError: a file is missing or can't be read, or there is no such method or class.
        """
        files = _files(images)
        pixels = np.stack([self._square(file) for file in files])
        maps = heat_maps(self.predictor, pixels, method=method, explained=explained)
        logits = self.predictor.logits(pixels).reshape(len(pixels), -1)
        table = self.predictor.table([str(file) for file in files], [""] * len(files), logits)
        return Explanations(
            tuple(
                Explained(str(file), pixels[index], found, self._probability(table, index, found))
                for index, (file, found) in enumerate(zip(files, maps, strict=True))
            )
        )

    def _square(self, file: Path) -> NDArray[np.uint8]:
        try:
            return self.predictor.square(read_file(file), file.name)
        except UnreadableImageError as error:
            raise UserError(f"{file}: {error}; give images that can be read") from error

    def _probability(self, table: pd.DataFrame, row: int, found: HeatMap) -> float:
        binary = self.predictor.task.kind == "binary"
        column = "probability" if binary else f"probability_{found.explained}"
        return float(table[column].iloc[row])

    def _repr_html_(self) -> str:
        task = self.predictor.task
        facts = {"folder": str(self.folder), "classes": ", ".join(task.classes)}
        names = task.classes[1:] if task.kind == "binary" else task.classes
        for name, threshold in zip(names, self.predictor.point.thresholds, strict=False):
            facts[f"threshold for {name}"] = (
                f"{show_probability(threshold.value)} ({threshold.rule}, {threshold.origin})"
            )
        facts |= self._measured()
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in facts.items()
        )
        return f"<table>{rows}</table>"

    def _measured(self) -> dict[str, str]:
        """ROC-AUC of each split; nothing of a run whose results are not in its folder."""
        try:
            metrics = Evaluation.read(self.folder).metrics
        except UserError:
            return {}
        told = {}
        for split, found in metrics.items():
            if "auroc" in found.values:
                ends = found.intervals.get("auroc")
                interval = f" ({ends.low:.3f} to {ends.high:.3f})" if ends else ""
                told[f"ROC-AUC ({split})"] = f"{found.values['auroc']:.3f}{interval}"
        return told


def _files(images: Named) -> list[Path]:
    named = [images] if isinstance(images, str | Path) else list(images)
    found = [file for name in named for file in find_images(str(name))]
    if not found:
        raise UserError("no images are named; give a file, a folder, a glob, or a list of them")
    return found


def _png(image: NDArray[np.uint8]) -> str:
    ordered = image[..., ::-1] if image.ndim == 3 else image
    return data_uri(cv2.imencode(".png", ordered)[1].tobytes(), "png")
