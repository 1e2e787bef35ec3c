"""The one place where an image file becomes a probability once training is over."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cxrlab.config.datasets import Preprocess
from cxrlab.cores import cores
from cxrlab.data.images import UnreadableImageError, decode, read_file
from cxrlab.errors import UserError, warn
from cxrlab.evaluation.operating_point import OperatingPoint
from cxrlab.evaluation.predictions import prediction_table
from cxrlab.model.views import Views
from cxrlab.progress import progress
from cxrlab.task import Task

# On a CPU a few images an activation, at most 64 MB, stay close to the core, and glibc hands a
# thread larger blocks only page by page; a GPU is kept busy by large batches alone.
_BATCH = {"cpu": 4, "cuda": 64}
_NAMED = 3

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Batch:
    """What became of B files: errors, empty for readable ones, and logits, 0 for the others."""

    errors: list[str]
    logits: FloatArray


@dataclass(frozen=True)
class Predictor:
    """A trained network and all that turns image files into its decisions.

    Attributes:
        network: frozen; maps (B, 1, S, S) float32 in [0, 1] to logits (B,) or (B, K).
        device: where the network is.
        task: what is predicted.
        image_size: side S of the square input, pixels.
        preprocess: how a file's image becomes that square.
        point: from logits to calibrated probabilities and decisions.
    """

    network: nn.Module
    device: torch.device
    task: Task
    image_size: int
    preprocess: Preprocess
    point: OperatingPoint

    @classmethod
    def load(cls, checkpoint: Path, device: torch.device) -> Predictor:
        """Read the best checkpoint of a finished run; nothing else is needed.

        Args:
            checkpoint: the run's `checkpoints/best.ckpt`.
            device: where to compute.

        Raises:
            UserError: the file is missing or damaged, or its run has not finished.
        """
        # What a predictor of another origin does without.
        from cxrlab.model.classifier import Classifier
        from cxrlab.model.inference import inference_network

        saved = _read(checkpoint)
        classifier = Classifier(**saved["hyper_parameters"])
        classifier.load_state_dict(saved["state_dict"])
        return cls(
            network=inference_network(classifier.to(device)),
            device=device,
            task=classifier.task,
            image_size=classifier.image_size,
            preprocess=Preprocess.model_validate(saved["hyper_parameters"]["preprocess"]),
            point=OperatingPoint.from_plain(saved["operating_point"]),
        )

    def predict(self, files: Sequence[Path]) -> pd.DataFrame:
        """Predict image files; those that can't be read are named in the table and a warning.

        Memory holds a few batches a core, and the table, however many files there are.

        Args:
            files: N image files, one at least.

        Returns:
            N rows in the order of the files: `path`, the scores and decisions of
            `prediction_table` (empty where the file can't be read), and `error`, the reason why
            it can't, or the empty text.

        Raises:
            UserError: an output of the network is not finite, or a DICOM file needs a package.
        """
        done: list[_Batch] = []
        with progress(len(files), "predicting") as advance:
            for batch in self._batches(files):
                done.append(batch)
                advance(len(batch.errors))
        errors = [error for batch in done for error in batch.errors]
        _warn_of([f"{file}: {error}" for file, error in zip(files, errors, strict=True) if error])
        logits = np.concatenate([batch.logits for batch in done])
        return self.table([str(file) for file in files], errors, logits)

    @property
    def single_look(self) -> nn.Module:
        """The network that looks once, at the whole image, which is what is explained."""
        return self.network.network if isinstance(self.network, Views) else self.network

    def square(self, content: bytes, name: str = "") -> NDArray[np.uint8]:
        """Decode a file's content, (S, S); arguments and errors as of `data.images.decode`."""
        return decode(content, self.image_size, self.preprocess, name).pixels

    @torch.inference_mode()
    def logits(self, pixels: NDArray[np.uint8]) -> FloatArray:
        """Logits of decoded images.

        Args:
            pixels: (B, S, S).

        Returns:
            (B,) for two classes, else (B, K).
        """
        images = torch.from_numpy(pixels).to(self.device)[:, None].float().div_(255)
        output: torch.Tensor = self.network(images)
        return output.double().cpu().numpy()

    def table(
        self, paths: Sequence[str], errors: Sequence[str], logits: FloatArray
    ) -> pd.DataFrame:
        """What is told of N images; see `predict`.

        Args:
            paths: their names.
            errors: why an image can't be read, or the empty text.
            logits: (N, K), K being 1 for two classes; of no matter where there is an error.

        Raises:
            UserError: a logit is not finite.
        """
        # Nothing is known of new files; these columns go again.
        unknown: dict[str, str | int] = dict.fromkeys(("patient_id", "split", "label"), "")
        unknown |= dict.fromkeys(self.task.target_columns, 0)
        named = pd.DataFrame({"path": list(paths)}, dtype="str")
        table = prediction_table(
            named.assign(**unknown),
            logits[:, 0] if self.task.kind == "binary" else logits,
            self.task,
            calibration=self.point.calibration,
            thresholds=self.point.cuts,
        ).drop(columns=["path", *unknown])
        decisions = [name for name in map(str, table) if name.startswith("decision")]
        table = table.astype(dict.fromkeys(decisions, "Int64"))  # which can be empty
        error = pd.Series(list(errors), name="error", dtype="str")
        return pd.concat([named, table.where(error == ""), error], axis=1)

    def _batches(self, files: Sequence[Path]) -> Iterator[_Batch]:
        """Each thread takes a batch all the way, on a CPU with one core for its network.

        So all cores are busy to the end. A network that computes on all of them at once makes
        each wait for the slowest in every layer, and for the threads that decode.
        """
        workers, intra_op = cores(), torch.get_num_threads()
        size = min(_BATCH[self.device.type], -(-len(files) // workers))
        # A GPU computes one batch at a time; more would take its memory and gain nothing.
        turn = Lock() if self.device.type == "cuda" else nullcontext()

        def work(start: int) -> _Batch:
            images = [self._decode(file) for file in files[start : start + size]]
            readable = [image for image in images if not isinstance(image, str)]
            errors = [image if isinstance(image, str) else "" for image in images]
            logits = np.zeros((len(images), self.task.outputs))
            if readable:
                with turn:
                    found = self.logits(np.stack(readable))
                logits[[not error for error in errors]] = found.reshape(-1, self.task.outputs)
            return _Batch(errors, logits)

        waiting: deque[Future[_Batch]] = deque()
        try:
            with ThreadPoolExecutor(
                workers, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                for start in range(0, len(files), size):
                    waiting.append(pool.submit(work, start))
                    if len(waiting) > 2 * workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
        finally:
            torch.set_num_threads(intra_op)  # threads that start later take the last number set

    def _decode(self, file: Path) -> NDArray[np.uint8] | str:
        """The square (S, S) of a file, or the reason why there is none."""
        try:
            return self.square(read_file(file), file.name)
        except UnreadableImageError as error:
            return str(error)


def _read(checkpoint: Path) -> dict[str, Any]:
    if not checkpoint.is_file():
        raise UserError(f"{checkpoint}: no such checkpoint; choose another run")
    try:
        saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{checkpoint}: the checkpoint is damaged or may not be read; choose another run"
        ) from error
    if "operating_point" not in saved:
        raise UserError(
            f"{checkpoint}: its run has not finished, so it has no thresholds; go on with "
            "python -m cxrlab.train resume=RUN, or choose another run"
        )
    return saved


def _warn_of(unreadable: Sequence[str]) -> None:
    if unreadable:
        more = f" and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
        warn(
            f"{len(unreadable)} files can't be read and get no prediction "
            f"({'; '.join(unreadable[:_NAMED])}{more}); the column error names each: replace them"
        )
