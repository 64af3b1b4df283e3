"""Graphs in float16 arithmetic, with float32 where numbers grow large or are summed up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT32_OPERATORS = frozenset({"InstanceNormalization", "Sin", "Cos", "Cast", "Resize", "Exp"})
"""Stay float32: sums over many cells, angles of up to 1000, and what takes float32 by its definition."""


class Halver:
    """Rewrites one model, in float32 arithmetic with whole weights, to float16; inputs and outputs stay as they are."""

    def __init__(self, model: ModelProto) -> None:
        typed = onnx.shape_inference.infer_shapes(model)
        values = [*typed.graph.input, *typed.graph.value_info, *typed.graph.output]
        self._floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
        self._weights = {t.name: t for t in model.graph.initializer}
        self._source = model
        self._is_half: set[str] = set()
        self._nodes: list[NodeProto] = []
        self._stored: dict[str, TensorProto] = {}
        self._cast: dict[str, str] = {}

    def run(self) -> ModelProto:
        """The rewritten model."""
        made = ModelProto()
        made.CopyFrom(self._source)
        outputs = {value.name for value in made.graph.output}
        whole = {node.name for node in nodes_behind(made, ("Sin", "Cos"))}
        for node in self._source.graph.node:
            half = node.op_type not in FLOAT32_OPERATORS and node.name not in whole and self._gives_float(node)
            self._take(node, half, outputs)
        del made.graph.node[:], made.graph.initializer[:], made.graph.value_info[:]
        made.graph.node.extend(self._nodes)
        made.graph.initializer.extend(self._stored.values())
        return made

    def _gives_float(self, node: NodeProto) -> bool:
        return any(name in self._floats for name in node.output)

    def _take(self, node: NodeProto, half: bool, outputs: set[str]) -> None:
        """Append one node with the inputs that it wants; what leaves the graph is cast back."""
        copy = NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend([self._as(name, half) for name in node.input])
        renamed = {name: f"{name}.float16" for name in node.output if half and name in outputs}
        copy.output.extend([renamed.get(name, name) for name in node.output])
        self._nodes.append(copy)
        if half:
            self._is_half.update(copy.output)
        for name, made in renamed.items():
            self._nodes.append(helper.make_node("Cast", [made], [name], f"{name}.back", to=TensorProto.FLOAT))

    def _as(self, name: str, half: bool) -> str:
        """The name of a value in the type that is wanted, cast or stored where it is not there yet."""
        if name in self._weights:
            return self._weight(name, half)
        if name not in self._floats or (name in self._is_half) == half:
            return name
        cast = f"{name}.{'float16' if half else 'float32'}"
        if name not in self._cast:
            to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            self._nodes.append(helper.make_node("Cast", [name], [cast], cast, to=to))
            self._cast[name] = cast
        return cast

    def _weight(self, name: str, half: bool) -> str:
        tensor = self._weights[name]
        kept = f"{name}.float16" if half and tensor.data_type == TensorProto.FLOAT else name
        if kept not in self._stored:
            values = numpy_helper.to_array(tensor)
            self._stored[kept] = numpy_helper.from_array(values.astype(np.float16) if kept != name else values, kept)
        return kept


def nodes_behind(model: ModelProto, operators: Sequence[str]) -> list[NodeProto]:
    """Every node on whose results these operators depend."""
    maker = {output: node for node in model.graph.node for output in node.output}
    waiting = [name for node in model.graph.node if node.op_type in operators for name in node.input]
    found: dict[str, NodeProto] = {}
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.name not in found:
            found[node.name] = node
            waiting.extend(node.input)
    return list(found.values())
