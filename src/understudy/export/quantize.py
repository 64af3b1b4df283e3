"""Graphs in float16 and in 8-bit integers.

8 bits: static quantisation in onnxruntime's QDQ form. Activations are uint8 with one range for each tensor, from the
least and largest value on calibration data; weights are int8 with one range for each channel.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from understudy.errors import InvalidInputError
from understudy.export.graph import EDGE, get_metadata, set_metadata, whole_weights
from understudy.export.half import Halver

Feeds = Mapping[str, NDArray[np.generic]]

QUANTISED = ("Conv", "Gemm", "MatMul")
"""Operators that are quantised; a product of two activations (in attention) stays float32."""


def to_fp16(model: ModelProto) -> ModelProto:
    """The same network in float16 arithmetic; inputs and outputs stay float32.

    Normalisation and the angles of the time embedding, which reach 1000, stay float32.
    """
    return _finished(Halver(whole_weights(model)).run(), model, "fp16")


def to_int8(
    model: ModelProto, feeds: Sequence[Feeds], *, operators: Sequence[str] = QUANTISED, reduce_range: bool = False
) -> ModelProto:
    """The same network with its convolutions and products in 8 bits; the first and the last ones stay float32.

    Parameters
    ----------
    model : ModelProto
        In float32 arithmetic.
    feeds : sequence of mappings
        Inputs by name, from which the ranges of activations are read.
    operators : sequence of str
        Of which operators.
    reduce_range : bool
        7 bits for weights: for x86 CPUs without VNNI, where sums of 8-bit products saturate.

    Raises
    ------
    InvalidInputError
        There is nothing to calibrate with.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the feeds one by one."""

        def __init__(self) -> None:
            self._left = iter(feeds)

        def get_next(self) -> Feeds | None:
            return next(self._left, None)

    if not feeds:
        raise InvalidInputError("8-bit ranges need at least one calibration input")
    whole = whole_weights(model)
    kept = [node.name for node in whole.graph.node if node.name.startswith(EDGE)] or outermost(whole)
    if not {node.name for node in whole.graph.node if node.op_type in operators} - set(kept):
        return _finished(model, model, "int8")
    with tempfile.TemporaryDirectory() as name, _quiet():
        source, target = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        onnx.save(whole, str(source))
        quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(operators),
            nodes_to_exclude=kept,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        made = onnx.load(str(target))
    return _finished(made, model, "int8")


def outermost(model: ModelProto) -> list[str]:
    """Convolutions through which everything comes in and goes out: those with no other before, or behind, them."""
    convolutions = [node for node in model.graph.node if node.op_type in {"Conv", "ConvTranspose"}]
    names = {node.name for node in convolutions}
    behind = {node.name: {n.name for n in _sources(model, node)} & names for node in convolutions}
    feeding = set().union(*behind.values())
    return [name for name, before in behind.items() if not before or name not in feeding]


def _sources(model: ModelProto, node: NodeProto) -> list[NodeProto]:
    """Every node on whose results one node depends."""
    maker = {output: n for n in model.graph.node for output in n.output}
    waiting, found = list(node.input), {}
    while waiting:
        before = maker.get(waiting.pop())
        if before is not None and before.name not in found:
            found[before.name] = before
            waiting.extend(before.input)
    return list(found.values())


def _finished(made: ModelProto, source: ModelProto, precision: str) -> ModelProto:
    """A converted graph with the metadata of its source, checked by onnx."""
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    set_metadata(copy, {**get_metadata(source), "precision": precision})
    onnx.checker.check_model(copy, full_check=True)
    return copy


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice to the whole world, which it gives through the root logger."""
    import onnxruntime

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(3)
    try:
        yield
    finally:
        root.setLevel(level)
        onnxruntime.set_default_logger_severity(2)


def folded(model: ModelProto) -> ModelProto:
    """The same network with constants worked out and normalisation by fixed numbers put into the convolutions."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as name, _quiet():
        target = Path(name) / "folded.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made: ModelProto = onnx.load(str(target))
    return made
