"""Sessions run what they say, and freed networks take any size."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from understudy.errors import ConfigError, InvalidInputError
from understudy.runtime import onnx as runtime_onnx
from understudy.runtime.onnx import CPU, open_session
from understudy.runtime.onnx_shapes import free_dimensions


def blur_network() -> bytes:
    """A 3x3 mean over a fixed 1x1x4x4 input; its weight is listed among the inputs, as old exporters do."""
    weight = numpy_helper.from_array(np.full((1, 1, 3, 3), 1 / 9, np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])],
        "blur",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4]),
            helper.make_tensor_value_info("weight", TensorProto.FLOAT, [1, 1, 3, 3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4, 4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model.SerializeToString()


def test_a_freed_network_takes_other_sizes_and_gives_the_same_values() -> None:
    session = open_session(free_dimensions(blur_network(), "x", ("n", 1, "h", "w")), varying_shapes=True)
    picture = np.arange(2 * 6 * 9, dtype=np.float32).reshape(2, 1, 6, 9)
    (blurred,) = session.run({"x": picture})
    assert blurred.shape == (2, 1, 6, 9)
    assert blurred[1, 0, 2, 3] == pytest.approx(picture[1, 0, 1:4, 2:5].mean())


def test_a_freed_network_has_one_input_and_its_weights_are_constants() -> None:
    model = onnx.load_from_string(free_dimensions(blur_network(), "x", ("n", 1, "h", "w")))
    assert [value.name for value in model.graph.input] == ["x"]
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["n", 1, "h", "w"]


def test_freeing_an_input_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(InvalidInputError, match=r"one input 'z', it has \['x'\]"):
        free_dimensions(blur_network(), "z", ("n",))


@pytest.mark.parametrize("junk", [b"", b"not a network", b"\x3a\xff\xff\xff\xff\x0f"])
def test_bytes_that_are_no_network_are_refused(junk: bytes) -> None:
    with pytest.raises(InvalidInputError, match="ONNX model"):
        free_dimensions(junk, "x", ("n",))


def test_a_file_that_is_no_network_is_a_config_error_with_its_name(tmp_path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"broken")
    with pytest.raises(ConfigError, match=r"cannot open broken\.onnx"):
        open_session(path)


def test_a_session_tells_what_it_takes_and_gives_and_where_it_runs() -> None:
    session = open_session(blur_network())
    assert session.input_names == ("x",)
    assert session.input_shapes == ((1, 1, 4, 4),)
    assert session.output_names == ("y",)
    assert session.provider_report.running == CPU
    assert not session.provider_report.fell_back


def test_a_provider_that_is_not_usable_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    runtime_onnx._say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        session = open_session(blur_network(), providers=("MIGraphXExecutionProvider",))
        open_session(blur_network(), providers=("MIGraphXExecutionProvider",))
    assert session.provider_report.fell_back
    assert str(session.provider_report) == (
        "asked for MIGraphXExecutionProvider, which is not usable here: running on CPUExecutionProvider"
    )
    assert caplog.text.count("not usable here") == 1


def test_a_provider_that_onnxruntime_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match=rf"providers \['Quantum'\]: give cpu, cuda, .*available here: .*{CPU}$"):
        open_session(blur_network(), providers=("Quantum",))


def test_no_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_threads must be 1 or more, got 0"):
        open_session(blur_network(), n_threads=0)


def test_other_inputs_than_the_network_s_are_refused() -> None:
    session = open_session(free_dimensions(blur_network(), "x", (1, 1, "h", "w")))
    with pytest.raises(InvalidInputError, match=r"takes the inputs \('x',\), got \('y',\)"):
        session.run({"y": np.zeros((1, 1, 4, 4), np.float32)})
