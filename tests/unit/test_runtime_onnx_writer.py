"""A network written by hand is one that onnx accepts and that computes what its nodes say."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from understudy.runtime.onnx import open_session
from understudy.runtime.onnx_writer import OnnxGraph


def small_network() -> bytes:
    """Maxima of 2x2 windows of 3 x + 1, flattened, then weighted by 1, 2 and by -1, -2."""
    graph = OnnxGraph()
    weight, bias = graph.constant(np.full((1, 1, 1, 1), 3.0)), graph.constant(np.array([1.0]))
    x = graph.node("Conv", "x", weight, bias, kernel_shape=(1, 1))
    x = graph.node("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2), pads=(0, 0, 0, 1))
    x = graph.node("Reshape", x, graph.constant(np.array([-1, 2])))
    graph.node("Gemm", x, graph.constant(np.array([[1.0, 2], [-1, -2]])), output="y", transB=1)
    return graph.model({"x": ("n", 1, 2, 3)}, {"y": ("n", 2)})


def test_onnx_s_checker_accepts_it_with_its_shapes_and_names() -> None:
    model = onnx.load_from_string(small_network())
    onnx.checker.check_model(model, full_check=True)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["n", 1, 2, 3]
    assert [node.op_type for node in model.graph.node] == ["Conv", "MaxPool", "Reshape", "Gemm"]
    assert numpy_helper.to_array(model.graph.initializer[2]).tolist() == [-1, 2]
    assert model.opset_import[0].version == 13


def test_it_computes_what_its_nodes_say() -> None:
    pixels = np.array([[[[0, 1, 5], [2, 0, 4]]], [[[1, 1, 1], [1, 1, 0]]]], np.float32)
    (result,) = open_session(small_network()).run({"x": pixels})
    # windows: max(0, 1, 2, 0) = 2 -> 7 and max(5, 4) = 5 -> 16; then 7 + 2 * 16 = 39; all ones: 4 + 2 * 4 = 12
    assert result.tolist() == [[39, -39], [12, -12]]


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert small_network() == small_network()


@pytest.mark.parametrize("size", [1, 127, 128, 70_000])
def test_sizes_of_any_length_are_written_as_onnx_reads_them(size: int) -> None:
    graph = OnnxGraph()
    graph.node("Add", "x", graph.constant(np.arange(size, dtype=np.float32)), output="y")
    model = onnx.load_from_string(graph.model({"x": (size,)}, {"y": (size,)}))
    assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == list(range(size))
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == size
