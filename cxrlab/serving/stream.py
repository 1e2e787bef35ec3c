"""Many image files through a predictor, on all cores, a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cxrlab.cores import cores
from cxrlab.data.images import Decoded, UnreadableImageError, read_file

if TYPE_CHECKING:
    from cxrlab.serving.predictor import Predictor

# On a CPU a few images an activation, at most 64 MB, stay close to the core, and glibc hands a
# thread larger blocks only page by page; a GPU is kept busy by large batches alone.
_BATCH = {"cpu": 4, "cuda": 64}
# A table costs milliseconds, however few its rows; an interruption loses so many images.
_ROWS = 64

Draw = Callable[[Path, NDArray[np.uint8]], str]
"""From a file and its decoded square to the name of what was drawn of it."""


@dataclass(frozen=True)
class _Batch:
    """What became of B files.

    Attributes:
        files: the B files.
        errors: why a file can't be read, or the empty text.
        refusals: why the gate refuses an image, or the empty text.
        logits: (B, K), 0 for what can't be read.
        drawn: the names of what was drawn, or the empty text.
    """

    files: Sequence[Path]
    errors: list[str]
    refusals: list[str]
    logits: NDArray[np.float64]
    drawn: list[str]


def stream(
    predictor: Predictor, files: Sequence[Path], *, gate: bool = True, draw: Draw | None = None
) -> Iterator[pd.DataFrame]:
    """Predict image files in their order; memory holds a few batches a core, however many.

    Args:
        predictor: of the run.
        files: N image files.
        gate: whether images that are unlike the training images get no decision.
        draw: called for every image that is decided, from several threads.

    Yields:
        The rows of `Predictor.predict`, some files a time; with `draw` the column `heatmap`.

    Raises:
        UserError: an output of the network is not finite, or a DICOM file needs a package.
    """
    waiting: list[_Batch] = []
    for batch in _batches(predictor, files, gate, draw):
        waiting.append(batch)
        if sum(len(b.files) for b in waiting) >= _ROWS:
            yield _table(predictor, waiting, draw)
            waiting = []
    if waiting:
        yield _table(predictor, waiting, draw)


def _table(predictor: Predictor, batches: Sequence[_Batch], draw: Draw | None) -> pd.DataFrame:
    table = predictor.table(
        [str(file) for batch in batches for file in batch.files],
        [error for batch in batches for error in batch.errors],
        np.concatenate([batch.logits for batch in batches]),
        [refusal for batch in batches for refusal in batch.refusals],
    )
    if draw is not None:
        table["heatmap"] = [name for batch in batches for name in batch.drawn]
    return table


def _batches(
    predictor: Predictor, files: Sequence[Path], gate: bool, draw: Draw | None
) -> Iterator[_Batch]:
    """Each thread takes a batch all the way, on a CPU with one core for its network.

    So all cores are busy to the end. A network that computes on all of them at once makes each
    wait for the slowest in every layer, and for the threads that decode.
    """
    workers, intra_op = cores(), torch.get_num_threads()
    kind = predictor.device.type
    size = max(1, min(_BATCH[kind], -(-len(files) // workers)))
    # A GPU computes one batch at a time; more would take its memory and gain nothing.
    turn = Lock() if kind == "cuda" else nullcontext()

    def work(start: int) -> _Batch:
        chosen = files[start : start + size]
        images = [_decode(predictor, file) for file in chosen]
        logits = np.zeros((len(images), predictor.task.outputs))
        readable = [i for i, image in enumerate(images) if not isinstance(image, str)]
        refusals, drawn = [""] * len(images), [""] * len(images)
        if readable:
            pixels = np.stack([images[i].pixels for i in readable])  # type: ignore[union-attr]
            with turn:
                logits[readable] = predictor.logits(pixels).reshape(len(readable), -1)
        for i in readable:
            image = images[i]
            assert isinstance(image, Decoded)
            refusals[i] = predictor.refusal(image) if gate else ""
            if draw is not None and not refusals[i]:
                with turn:
                    drawn[i] = draw(chosen[i], image.pixels)
        errors = [image if isinstance(image, str) else "" for image in images]
        return _Batch(chosen, errors, refusals, logits, drawn)

    waiting: deque[Future[_Batch]] = deque()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for start in range(0, len(files), size):
                waiting.append(pool.submit(work, start))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(intra_op)  # threads that start later take the last number set


def _decode(predictor: Predictor, file: Path) -> Decoded | str:
    """A file's image, or the reason why there is none."""
    try:
        return predictor.decode(read_file(file), file.name)
    except UnreadableImageError as error:
        return str(error)
