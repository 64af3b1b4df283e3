"""Free the fixed input size of an ONNX file without the onnx package, by rewriting its protobuf bytes.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.errors import InvalidInputError

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 5, 11, 12, 13
_TENSOR_NAME, _VALUE_NAME, _VALUE_TYPE = 8, 1, 2
_TYPE_TENSOR, _TENSOR_ELEM, _TENSOR_SHAPE = 1, 1, 2
_SHAPE_DIM, _DIM_VALUE, _DIM_PARAM = 1, 1, 2
_FLOAT = 1
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


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
        for field, kind, raw, payload in _fields(model):
            if field == _MODEL_GRAPH and kind == _LENGTH:
                out += _message(field, _graph(payload, input_name, shape))
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
    weights = {_string(p, _TENSOR_NAME) for f, _, _, p in _fields(graph) if f == _GRAPH_INITIALIZER}
    inputs = [_string(p, _VALUE_NAME) for f, _, _, p in _fields(graph) if f == _GRAPH_INPUT]
    true_inputs = [name for name in inputs if name not in weights]
    if true_inputs != [input_name]:
        raise InvalidInputError(f"the network must have the one input {input_name!r}, it has {true_inputs}")
    out = bytearray()
    for field, _, raw, payload in _fields(graph):
        if field == _GRAPH_INPUT:
            if _string(payload, _VALUE_NAME) == input_name:
                out += _message(field, _value(input_name, shape))
        elif field == _GRAPH_OUTPUT:
            out += _message(field, _value(_string(payload, _VALUE_NAME), None))
        elif field != _GRAPH_VALUE_INFO:
            out += raw
    return bytes(out)


def _value(name: str, shape: Sequence[int | str] | None) -> bytes:
    """A ValueInfoProto of a float32 tensor, with or without a shape."""
    tensor = _key(_TENSOR_ELEM, _VARINT) + _varint(_FLOAT)
    if shape is not None:
        dims = b"".join(_message(_SHAPE_DIM, _dimension(size)) for size in shape)
        tensor += _message(_TENSOR_SHAPE, dims)
    return _message(_VALUE_NAME, name.encode()) + _message(_VALUE_TYPE, _message(_TYPE_TENSOR, tensor))


def _dimension(size: int | str) -> bytes:
    """Fields of a Dimension: a name where it is free, else a number."""
    return _message(_DIM_PARAM, size.encode()) if isinstance(size, str) else _key(_DIM_VALUE, _VARINT) + _varint(size)


def _string(message: bytes, field: int) -> str:
    """The first text field with that number, or an empty string."""
    return next((payload.decode() for f, _, _, payload in _fields(message) if f == field), "")


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """(field number, wire type, raw bytes with key, payload of length-delimited fields) of a message."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        field, kind = key >> 3, key & 7
        payload = b""
        if kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind == _LENGTH:
            length, at = _read_varint(message, at)
            payload = message[at : at + length]
            at += length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise IndexError(f"wire type {kind}")
        if at > len(message):
            raise IndexError("truncated message")
        yield field, kind, message[start:at], payload


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _message(field: int, payload: bytes) -> bytes:
    return _key(field, _LENGTH) + _varint(len(payload)) + payload
