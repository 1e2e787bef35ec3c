"""An ONNX file with weights and activations in eight bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrlab.exporting.formats import DESCRIPTION
from cxrlab.exporting.graph import INPUT

# Normalisation, pooling and probabilities stay float32: they cost nothing, and their range is not
# that of activations.
_LAYERS = ["Conv", "Gemm", "MatMul", "Add"]
_CHUNK = 8


def quantise(
    source: Path,
    target: Path,
    images: NDArray[np.uint8],
    description: Mapping[str, Any],
) -> None:
    """Quantise statically (Jacob et al., CVPR 2018), each output channel with its own scale.

    Weights take seven of the eight bits, since processors without VNNI add pairs of products in
    sixteen bits, which eight-bit weights overflow.

    Args:
        source: what `write_onnx` wrote.
        target: file to write, with the same description.
        images: uint8 (N, S, S) from training, on which the ranges of activations are measured.
        description: as of `source`.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            starts = range(0, len(images), _CHUNK)
            self._batches = iter([images[start : start + _CHUNK] for start in starts])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch}

    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared)
        quantize_static(
            prepared,
            target,
            Reader(),
            op_types_to_quantize=_LAYERS,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    model = onnx.load(target)
    onnx.helper.set_model_props(model, {DESCRIPTION: json.dumps(description)})
    onnx.save(model, target)
