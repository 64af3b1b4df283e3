"""Write a small ONNX network without the onnx package: nodes in their order, weights, free dimensions.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.runtime.onnx_shapes import tensor_value
from understudy.runtime.protobuf import integer, message

_OPSET, _IR_VERSION = 13, 8
_FLOAT, _INT64 = 1, 7
_ATTRIBUTE_INT, _ATTRIBUTE_INTS = 2, 7

Attribute = int | Sequence[int]
Shape = Sequence[int | str]


class OnnxGraph:
    """An ONNX graph that grows node by node; names follow from the order alone: the bytes are always the same."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        """Name of a new weight; values are kept as float32, integers as int64."""
        kind, array = (
            (_INT64, values.astype("<i8"))
            if np.issubdtype(values.dtype, np.integer)
            else (_FLOAT, values.astype("<f4"))
        )
        name = f"constant_{len(self._weights)}"
        tensor = b"".join(integer(1, size) for size in array.shape)
        tensor += integer(2, kind) + message(8, name) + message(9, np.ascontiguousarray(array).tobytes())
        self._weights.append(tensor)
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Attribute) -> str:
        """Name of the output of a new node."""
        name = output or f"{operator.lower()}_{len(self._nodes)}"
        fields = b"".join(message(1, one) for one in inputs) + message(2, name) + message(3, name)
        fields += message(4, operator)
        fields += b"".join(message(5, _attribute(key, attributes[key])) for key in sorted(attributes))
        self._nodes.append(fields)
        return name

    def model(self, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> bytes:
        """The graph as a serialised model.

        Parameters
        ----------
        inputs, outputs : mapping of name to shape
            All of them float32; a string in a shape is a free dimension's name.
        """
        graph = b"".join(message(1, one) for one in self._nodes) + message(2, "understudy")
        graph += b"".join(message(5, one) for one in self._weights)
        graph += b"".join(message(11, tensor_value(name, shape)) for name, shape in inputs.items())
        graph += b"".join(message(12, tensor_value(name, shape)) for name, shape in outputs.items())
        opset = message(1, "") + integer(2, _OPSET)
        return integer(1, _IR_VERSION) + message(2, "understudy") + message(7, graph) + message(8, opset)


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        return message(1, name) + integer(3, value) + integer(20, _ATTRIBUTE_INT)
    return message(1, name) + b"".join(integer(8, one) for one in value) + integer(20, _ATTRIBUTE_INTS)
