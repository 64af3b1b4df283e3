"""Free the fixed input size of an ONNX file without the onnx package, by rewriting its protobuf bytes.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.errors import InvalidInputError
from understudy.runtime.protobuf import LENGTH, fields, integer, message, text

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 5, 11, 12, 13
_TENSOR_NAME, _VALUE_NAME, _VALUE_TYPE = 8, 1, 2
_TYPE_TENSOR, _TENSOR_ELEM, _TENSOR_SHAPE = 1, 1, 2
_SHAPE_DIM, _DIM_VALUE, _DIM_PARAM = 1, 1, 2
_FLOAT = 1


def free_dimensions(model: bytes, input_name: str, shape: Sequence[int | str]) -> bytes:
    """The same network with another input shape, and output shapes left to inference.

    Weights listed among the inputs (old exporters do) are taken out of that list, so that they count as constants and
    the runtime can fold and re-order them.

    Parameters
    ----------
    model : bytes
        A serialised ONNX model with float32 inputs and outputs.
    input_name : str
        The one true input.
    shape : sequence of int or str
        Its new shape; a string is a free dimension's name.

    Returns
    -------
    bytes
        Serialised model.

    Raises
    ------
    InvalidInputError
        The bytes are no ONNX model with that input.
    """
    try:
        out = bytearray()
        n_graphs = 0
        for field, kind, raw, payload in fields(model):
            if field == _MODEL_GRAPH and kind == LENGTH:
                out += message(field, _graph(payload, input_name, shape))
                n_graphs += 1
            else:
                out += raw
    except IndexError as error:
        raise InvalidInputError(f"not a serialised ONNX model ({len(model)} bytes)") from error
    if n_graphs != 1:
        raise InvalidInputError(f"an ONNX model has one graph, found {n_graphs} in {len(model)} bytes")
    return bytes(out)


def _graph(graph: bytes, input_name: str, shape: Sequence[int | str]) -> bytes:
    """The graph with one input of the given shape and outputs without shapes."""
    weights = {text(p, _TENSOR_NAME) for f, _, _, p in fields(graph) if f == _GRAPH_INITIALIZER}
    inputs = [text(p, _VALUE_NAME) for f, _, _, p in fields(graph) if f == _GRAPH_INPUT]
    true_inputs = [name for name in inputs if name not in weights]
    if true_inputs != [input_name]:
        raise InvalidInputError(f"the network must have the one input {input_name!r}, it has {true_inputs}")
    out = bytearray()
    for field, _, raw, payload in fields(graph):
        if field == _GRAPH_INPUT:
            if text(payload, _VALUE_NAME) == input_name:
                out += message(field, tensor_value(input_name, shape))
        elif field == _GRAPH_OUTPUT:
            out += message(field, tensor_value(text(payload, _VALUE_NAME), None))
        elif field != _GRAPH_VALUE_INFO:
            out += raw
    return bytes(out)


def tensor_value(name: str, shape: Sequence[int | str] | None) -> bytes:
    """Fields of a ValueInfoProto: a float32 tensor, with or without a shape."""
    tensor = integer(_TENSOR_ELEM, _FLOAT)
    if shape is not None:
        dims = b"".join(message(_SHAPE_DIM, _dimension(size)) for size in shape)
        tensor += message(_TENSOR_SHAPE, dims)
    return message(_VALUE_NAME, name) + message(_VALUE_TYPE, message(_TYPE_TENSOR, tensor))


def _dimension(size: int | str) -> bytes:
    """Fields of a Dimension: a name where it is free, else a number."""
    return message(_DIM_PARAM, size) if isinstance(size, str) else integer(_DIM_VALUE, size)
