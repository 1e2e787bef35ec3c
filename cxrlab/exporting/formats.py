"""The formats: how each is written, and how it is opened without this package's model code."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxrlab.cores import cores
from cxrlab.exporting.graph import INPUT, OUTPUTS

FloatArray = NDArray[np.float32]
# Decoded images, uint8 (B, S, S), to logits, probabilities and calibrated probabilities.
Scorer: TypeAlias = Callable[[NDArray[np.uint8]], tuple[FloatArray, FloatArray, FloatArray]]

DESCRIPTION = "cxrlab"
_EXTRA_FILE = "cxrlab.json"


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of its file.
        write: takes a `ServingGraph`, an example uint8 (2, S, S), the description and the file.
        open: a file's scorer.
    """

    suffix: str
    write: Callable[[nn.Module, torch.Tensor, Mapping[str, Any], Path], None]
    open: Callable[[Path], Scorer]


def write_onnx(
    graph: nn.Module, example: torch.Tensor, description: Mapping[str, Any], file: Path
) -> None:
    """ONNX with the weights inside; the description is the entry `cxrlab` of its metadata."""
    import onnx

    program = torch.onnx.export(
        _exported(graph, example),
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, {DESCRIPTION: json.dumps(description)})
    onnx.checker.check_model(model)
    onnx.save(model, file)


def open_onnx(file: Path) -> Scorer:
    """Open with ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: tuple(session.run(list(OUTPUTS), {INPUT: images}))


def write_torchscript(
    graph: nn.Module, example: torch.Tensor, description: Mapping[str, Any], file: Path
) -> None:
    """TorchScript, by tracing; the description is the extra file `cxrlab.json`."""
    with torch.inference_mode(False), torch.no_grad():
        traced = torch.jit.freeze(torch.jit.trace(graph, (example,)))
        extra = {_EXTRA_FILE: json.dumps(description)}
        torch.jit.save(traced, file, _extra_files=extra)


def open_torchscript(file: Path) -> Scorer:
    """Open with torch alone."""
    return _scorer(torch.jit.load(file))


def write_pt2(
    graph: nn.Module, example: torch.Tensor, description: Mapping[str, Any], file: Path
) -> None:
    """The archive of `torch.export`; the description is the extra file `cxrlab.json`."""
    extra = {_EXTRA_FILE: json.dumps(description)}
    torch.export.save(_exported(graph, example), file, extra_files=extra)


def open_pt2(file: Path) -> Scorer:
    """Open with torch alone."""
    return _scorer(torch.export.load(file).module())


FORMATS = {
    "onnx": Format(".onnx", write_onnx, open_onnx),
    "torchscript": Format(".pt", write_torchscript, open_torchscript),
    "pt2": Format(".pt2", write_pt2, open_pt2),
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' advice to developers from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _exported(graph: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    with torch.inference_mode(False), torch.no_grad():
        batch = {0: torch.export.Dim("batch")}
        return torch.export.export(graph, (example,), dynamic_shapes=(batch,))


def _scorer(module: Callable[[torch.Tensor], tuple[torch.Tensor, ...]]) -> Scorer:
    def score(images: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray, FloatArray]:
        with torch.inference_mode():
            logit, probability, calibrated = module(torch.from_numpy(images))
        return logit.numpy(), probability.numpy(), calibrated.numpy()

    return score
