"""An ONNX graph that grows operator by operator, with constant shapes and a free batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
MIN_HALF_SIZE = 256
"""Weights with fewer values than this stay float32."""
EDGE = "edge."
"""How the names of operators begin through which values enter or leave a network: they are not quantised."""


class Graph:
    """Collects nodes and constants; names follow from the order alone, so that the same network gives the same bytes.

    Equal arrays given twice are stored once.
    """

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._casts: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def constant(self, values: NDArray[np.generic] | Sequence[int]) -> str:
        """Name of a constant: float32 as given, whole numbers as int64.

        Large weights that float16 holds exactly are stored as float16, with a Cast that runtimes fold when they load.
        """
        array = np.ascontiguousarray(values)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._store(array)
        return self._known[key]

    def _store(self, array: NDArray[np.generic]) -> str:
        name = f"constant_{len(self._constants)}"
        half = _as_half(array)
        if half is None:
            self._constants.append(numpy_helper.from_array(array, name))
        else:
            self._constants.append(numpy_helper.from_array(half, f"{name}.half"))
            self._casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name, to=TensorProto.FLOAT))
        return name

    def node(self, operator: str, *inputs: str, edge: bool = False, **attributes: object) -> str:
        """Append an operator with one output; its name."""
        return self.nodes(operator, inputs, 1, edge=edge, **attributes)[0]

    def nodes(
        self, operator: str, inputs: Sequence[str], n_outputs: int, *, edge: bool = False, **attributes: object
    ) -> list[str]:
        """Append an operator with several outputs; their names."""
        name = f"{EDGE if edge else ''}{operator}_{len(self._nodes)}"
        outputs = [name] if n_outputs == 1 else [f"{name}.{i}" for i in range(n_outputs)]
        made = helper.make_node(operator, list(inputs), outputs, name)
        made.attribute.extend(helper.make_attribute(key, attributes[key]) for key in sorted(attributes))
        self._nodes.append(made)
        return outputs

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape to constant sizes, one of which may be -1."""
        return self.node("Reshape", x, self.constant(shape))

    def split(self, x: str, sizes: Sequence[int], axis: int = 1) -> list[str]:
        """Cut along an axis."""
        return self.nodes("Split", (x, self.constant(sizes)), len(sizes), axis=axis)

    def model(
        self,
        inputs: Mapping[str, Sequence[int]],
        result: str,
        output: tuple[str, Sequence[int]],
        metadata: Mapping[str, str],
    ) -> ModelProto:
        """The finished model, with a free batch as the first axis of every input and of the output.

        Parameters
        ----------
        inputs : mapping of name to shape without the batch
        result : str
            Name of the value that is the output.
        output : (name, shape without the batch)
        metadata : mapping
            Written into the file's metadata_props, sorted.
        """
        name, shape = output
        last = helper.make_node("Identity", [result], [name], "output")
        made = helper.make_graph(
            [*self._casts, *self._nodes, last],
            "understudy",
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, ["batch", *size]) for key, size in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(made, producer_name="understudy", opset_imports=opsets, ir_version=IR_VERSION)
        set_metadata(model, metadata)
        return model


def _as_half(array: NDArray[np.generic]) -> NDArray[np.float16] | None:
    """The array as float16 where that loses nothing and is worth it."""
    if array.dtype != np.float32 or array.size < MIN_HALF_SIZE or np.abs(array).max() > np.finfo(np.float16).max:
        return None
    half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else None


def set_metadata(model: ModelProto, metadata: Mapping[str, str]) -> None:
    """Replace a model's metadata_props, sorted by key."""
    del model.metadata_props[:]
    helper.set_model_props(model, dict(sorted(metadata.items())))


def get_metadata(model: ModelProto) -> dict[str, str]:
    """A model's metadata_props."""
    return {item.key: item.value for item in model.metadata_props}


def whole_weights(model: ModelProto) -> ModelProto:
    """The same network with weights as float32 in place of float16 and a Cast: what quantisation wants to see."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        source = weights.get(node.input[0]) if node.op_type == "Cast" else None
        if source is None:
            kept.append(node)
        else:
            values = numpy_helper.to_array(source).astype(np.float32)
            source.CopyFrom(numpy_helper.from_array(values, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return made
