"""The attribute probe's trunk: inner layers of the face detector CenterFace, cut out of its graph and pooled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper
from torch import Tensor

from understudy.errors import InvalidInputError
from understudy.runtime.onnx import open_session

SOURCE = "centerface"
"""Name of the network in the registry."""
PIXELS, FEATURES = "pixels", "features"
OPSET, IR_VERSION = 17, 8


class Trunk:
    """Layers of a network as features of crops, on onnxruntime.

    Parameters
    ----------
    source : bytes
        A serialised ONNX model with one input of RGB from 0 to 255, such as CenterFace.
    layers : mapping of str to int
        Names of inner values of its graph, and to how many cells a side each is averaged.
    crop_size : int
        Side of the crops, px.
    """

    def __init__(self, source: bytes, layers: Mapping[str, int], crop_size: int) -> None:
        self.crop_size = crop_size
        self.model, self.sizes = cut_trunk(onnx.load_from_string(source), layers, crop_size)
        self._session = open_session(self.model.SerializeToString())

    def __call__(self, pixels: Tensor) -> NDArray[np.float32]:
        """Features (N, sum of ``sizes``) of crops (N, 3, S, S) in [0, 1]."""
        return self._session.run({PIXELS: (255 * pixels).numpy()}, (FEATURES,))[0]


def cut_trunk(source: ModelProto, layers: Mapping[str, int], crop_size: int) -> tuple[ModelProto, tuple[int, ...]]:
    """The part of a network that some of its inner values need, and their means over cells, side by side.

    Parameters
    ----------
    source, layers, crop_size
        As in ``Trunk``.

    Returns
    -------
    model : ModelProto
        Maps ``pixels`` (n, 3, S, S) to ``features`` (n, F).
    sizes : tuple of int
        Number of features of each layer, F in all.

    Raises
    ------
    InvalidInputError
        The network has no such value, or its side is no multiple of the cells.
    """
    nodes, weights = _needed(source, set(layers))
    known = {weight.name for weight in weights}
    inputs = [value.name for value in source.graph.input if any(value.name in n.input for n in nodes)]
    for node in nodes:
        renamed = [PIXELS if name in inputs and name not in known else name for name in node.input]
        node.input[:] = renamed
    trunk = helper.make_graph(nodes, "trunk", [_value(PIXELS, ["n", 3, crop_size, crop_size])], [], weights)
    for name in layers:
        trunk.output.append(helper.make_empty_tensor_value_info(name))
    shaped = onnx.shape_inference.infer_shapes(_model(trunk), strict_mode=True)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in shaped.graph.output}
    del trunk.output[:]
    for name, cells in layers.items():
        trunk.node.extend(_cells_of(name, shapes[name], cells))
    trunk.node.append(helper.make_node("Concat", [f"{name}_cells" for name in layers], [FEATURES], axis=1))
    sizes = tuple(shapes[name][1] * cells**2 for name, cells in layers.items())
    trunk.output.append(_value(FEATURES, ["n", sum(sizes)]))
    model = _model(trunk)
    onnx.checker.check_model(model, full_check=True)
    return model, sizes


def _needed(source: ModelProto, wanted: set[str]) -> tuple[list[NodeProto], list[TensorProto]]:
    """Copies of the nodes and weights on which some values rest, in the order of the graph."""
    need, nodes = set(wanted), []
    for node in reversed(source.graph.node):
        if need & set(node.output):
            need |= set(node.input)
            nodes.append(NodeProto.FromString(node.SerializeToString()))
    absent = wanted - {name for node in nodes for name in node.output}
    if absent:
        raise InvalidInputError(f"the network has no layer {sorted(absent)}")
    return nodes[::-1], [weight for weight in source.graph.initializer if weight.name in need]


def _cells_of(name: str, shape: list[int], cells: int) -> list[NodeProto]:
    """Means of a layer (n, C, h, w) over cells, as one row."""
    _, _, height, width = shape
    if height % cells or width % cells:
        raise InvalidInputError(f"layer {name!r} has {height} x {width} values, which are no {cells} x {cells} cells")
    window = [height // cells, width // cells]
    pool = helper.make_node("AveragePool", [name], [f"{name}_means"], kernel_shape=window, strides=window)
    return [pool, helper.make_node("Flatten", [f"{name}_means"], [f"{name}_cells"], axis=1)]


def _value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(graph: onnx.GraphProto) -> ModelProto:
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, producer_name="understudy", opset_imports=opsets, ir_version=IR_VERSION)
