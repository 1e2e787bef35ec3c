"""The one place where an image file becomes a probability once training is over."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from cxrlab.config.datasets import Preprocess
from cxrlab.data.images import Decoded, decode
from cxrlab.errors import UserError, warn
from cxrlab.evaluation.operating_point import OperatingPoint, margins
from cxrlab.evaluation.predictions import prediction_table
from cxrlab.model.views import single_look
from cxrlab.progress import progress
from cxrlab.serving.gate import Gate
from cxrlab.serving.stream import stream
from cxrlab.task import Task

_NAMED = 3
NEAR = "near the threshold, where decisions are least certain"

FloatArray = NDArray[np.float64]


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
        gate: what tells images of the kind that it was trained on; None where it never learnt.
    """

    network: nn.Module
    device: torch.device
    task: Task
    image_size: int
    preprocess: Preprocess
    point: OperatingPoint
    gate: Gate | None = None

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
            gate=None if saved.get("gate") is None else Gate.from_plain(saved["gate"]),
        )

    def predict(self, files: Sequence[Path], *, gate: bool = True) -> pd.DataFrame:
        """Predict image files; those that can't be read are named in the table and a warning.

        Args:
            files: N image files, one at least.
            gate: whether images that are unlike the training images get no decision.

        Returns:
            N rows in the order of the files; see `table`.

        Raises:
            UserError: an output of the network is not finite, or a DICOM file needs a package.
        """
        parts = []
        with progress(len(files), "predicting") as advance:
            for part in stream(self, files, gate=gate):
                parts.append(part)
                advance(len(part))
        table = pd.concat(parts, ignore_index=True)
        warn_of_unreadable(table)
        return table

    @property
    def single_look(self) -> nn.Module:
        """The network that looks once, at the whole image, which is what is explained."""
        return single_look(self.network)

    def decode(self, content: bytes, name: str = "") -> Decoded:
        """Decode a file's content; arguments and errors as of `data.images.decode`."""
        return decode(content, self.image_size, self.preprocess, name)

    def square(self, content: bytes, name: str = "") -> NDArray[np.uint8]:
        """The decoded square (S, S) alone."""
        return self.decode(content, name).pixels

    def refusal(self, image: Decoded) -> str:
        """Why an image is none that the model can judge, or the empty text."""
        return self.gate.refusal(image) if self.gate else ""

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
        self,
        paths: Sequence[str],
        errors: Sequence[str],
        logits: FloatArray,
        refusals: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """What is told of N images.

        Args:
            paths: their names.
            errors: why an image can't be read, or the empty text.
            logits: (N, K), K being 1 for two classes; of no matter where there is an error.
            refusals: why the gate refuses an image, or the empty text; None: it lets all through.

        Returns:
            N rows: `path`; the scores and decisions of `prediction_table` and their `threshold`
            (of a finding `threshold_<class>`; none for more than two classes); `verdict`:
            `decide`, `review` where the decision hangs on little, `abstain` where the gate
            refuses; `reason` of the latter two; `error`. Scores and decision are empty where
            there is an error or a refusal.

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
        for name, cut in zip(decisions, self.point.cuts, strict=False):
            table[name.replace("decision", "threshold", 1)] = cut
        error, refused = _texts("error", errors), _texts("reason", refusals or [""] * len(paths))
        near = pd.Series(margins(logits, self.point.cuts) < self.point.margin)
        verdict = _texts("verdict", ["decide"] * len(paths)).mask(near, "review")
        verdict = verdict.mask(refused != "", "abstain").mask(error != "", "")
        reason = refused.mask(verdict == "review", NEAR)
        scored = table.where((error == "") & (refused == ""))
        return pd.concat([named, scored, verdict, reason, error], axis=1)


def columns(predictor: Predictor) -> list[str]:
    """The columns of its tables."""
    nothing = np.zeros((1, predictor.task.outputs))
    return list(map(str, predictor.table([""], [""], nothing)))


def warn_of_unreadable(table: pd.DataFrame) -> None:
    """Name the first of the files that can't be read, if there are any."""
    bad = table[table["error"] != ""]
    if len(bad):
        first = bad.head(_NAMED)
        named = [f"{file}: {why}" for file, why in zip(first["path"], first["error"], strict=True)]
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        warn(
            f"{len(bad)} files can't be read and get no prediction "
            f"({'; '.join(named)}{more}); the column error names each: replace them"
        )


def _texts(name: str, values: Sequence[str]) -> pd.Series[str]:
    return pd.Series(list(values), name=name, dtype="str")


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
