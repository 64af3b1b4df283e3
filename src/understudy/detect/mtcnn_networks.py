"""The three networks of MTCNN as ONNX, written from the weights of facenet-pytorch's wheel when they are first used.

Zhang, Zhang, Li and Qiao: "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks",
doi:10.1109/LSP.2016.2603342. The weights are read without torch and are not changed, but for what can be folded
exactly: the scaling of pixels into the first convolution, the order of a flattened picture into the dense layer after
it, and the two classes of each softmax into the logit of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.runtime.onnx import CPU, Session, open_session
from understudy.runtime.onnx_writer import OnnxGraph
from understudy.runtime.torch_file import read_state_dict

PARTS = ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet")
"""Names of the three networks in the registry."""
JUDGE = PARTS[2]

INPUT, OUTPUT = "pixels", "heads"
_OFFSET, _SCALE = 127.5, 0.0078125

Weights = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class MtcnnNetworks:
    """Proposals over a picture, and two networks that judge crops of 24 and of 48 px.

    Each takes ``pixels`` (N, 3, H, W) float32 in [0, 255], and gives ``heads``: the logit of a face, four corrections
    of the box (left, top, right, bottom, in parts of its size) and, in the last one, five x and five y of keypoints.
    """

    proposals: Session
    refiner: Session
    judge: Session


@lru_cache(maxsize=4)
def open_networks(providers: tuple[str, ...] = (CPU,), n_threads: int = 1) -> MtcnnNetworks:
    """The networks, one set for every detector of a process.

    Raises
    ------
    MissingWeightsError, WeightsDigestError
        facenet-pytorch's wheel is not installed (its code is not needed), and there is no mirror.
    """
    first, second = (read_state_dict(registry.find(name)) for name in PARTS[:2])
    return MtcnnNetworks(
        open_session(proposals(first), providers=providers, n_threads=n_threads, varying_shapes=True),
        open_session(refiner(second), providers=providers, n_threads=n_threads, varying_shapes=False),
        open_judge(providers, n_threads),
    )


@lru_cache(maxsize=4)
def open_judge(providers: tuple[str, ...] = (CPU,), n_threads: int = 1) -> Session:
    """The last network alone, which the detector shares.

    Raises
    ------
    MissingWeightsError, WeightsDigestError
        As in ``open_networks``.
    """
    model = judge(read_state_dict(registry.find(JUDGE)))
    return open_session(model, providers=providers, n_threads=n_threads, varying_shapes=False)


def proposals(state: Weights) -> bytes:
    """P-Net as ONNX: ``heads`` is (N, 5, h, w), a cell of 12 px at every second pixel."""
    graph = OnnxGraph()
    x = _first_two(graph, state, window=2)
    x = _prelu(graph, _conv(graph, x, *_layer(state, "conv3")), state, "prelu3")
    _conv(graph, x, *_heads(state, "conv4_1", "conv4_2"), output=OUTPUT)
    return graph.model({INPUT: ("n", 3, "height", "width")}, {OUTPUT: ("n", 5, "rows", "columns")})


def refiner(state: Weights) -> bytes:
    """R-Net as ONNX, for crops of 24 px: ``heads`` is (N, 5)."""
    graph = OnnxGraph()
    x = _pool(graph, _first_two(graph, state, window=3), 3, pad=0)
    x = _prelu(graph, _conv(graph, x, *_layer(state, "conv3")), state, "prelu3")
    x = _dense(graph, graph.node("Flatten", x, axis=1), *_from_picture(state, "dense4", (64, 3, 3)))
    _dense(graph, _prelu(graph, x, state, "prelu4", flat=True), *_heads(state, "dense5_1", "dense5_2"), output=OUTPUT)
    return graph.model({INPUT: ("n", 3, 24, 24)}, {OUTPUT: ("n", 5)})


def judge(state: Weights) -> bytes:
    """O-Net as ONNX, for crops of 48 px: ``heads`` is (N, 15)."""
    graph = OnnxGraph()
    x = _pool(graph, _first_two(graph, state, window=3), 3, pad=0)
    x = _pool(graph, _prelu(graph, _conv(graph, x, *_layer(state, "conv3")), state, "prelu3"), 2, pad=0)
    x = _prelu(graph, _conv(graph, x, *_layer(state, "conv4")), state, "prelu4")
    x = _dense(graph, graph.node("Flatten", x, axis=1), *_from_picture(state, "dense5", (128, 3, 3)))
    x = _prelu(graph, x, state, "prelu5", flat=True)
    _dense(graph, x, *_heads(state, "dense6_1", "dense6_2", "dense6_3"), output=OUTPUT)
    return graph.model({INPUT: ("n", 3, 48, 48)}, {OUTPUT: ("n", 15)})


Layer = tuple[NDArray[np.float64], NDArray[np.float64]]


def _layer(state: Weights, name: str) -> Layer:
    return np.asarray(state[f"{name}.weight"], np.float64), np.asarray(state[f"{name}.bias"], np.float64)


def _scaled(state: Weights, name: str) -> Layer:
    """A first convolution that takes pixels in [0, 255] and not in [-1, 1]; it must not pad."""
    weight, bias = _layer(state, name)
    return weight * _SCALE, bias - _OFFSET * _SCALE * weight.sum(axis=(1, 2, 3))


def _from_picture(state: Weights, name: str, shape: tuple[int, int, int]) -> Layer:
    """A dense layer for a picture flattened as (C, H, W); the published one takes (W, H, C)."""
    weight, bias = _layer(state, name)
    channels, height, width = shape
    return weight.reshape(-1, width, height, channels).transpose(0, 3, 2, 1).reshape(len(weight), -1), bias


def _heads(state: Weights, classes: str, *others: str) -> Layer:
    """One layer for all results: the logit of a face (the softmax's second class less its first), then the others."""
    weight, bias = _layer(state, classes)
    rest = [_layer(state, other) for other in others]
    return (
        np.concatenate([weight[1:] - weight[:1], *(w for w, _ in rest)]),
        np.concatenate([bias[1:] - bias[:1], *(b for _, b in rest)]),
    )


def _conv(graph: OnnxGraph, x: str, weight: NDArray[np.float64], bias: NDArray[np.float64], *, output: str = "") -> str:
    size = weight.shape[2:]
    return graph.node("Conv", x, graph.constant(weight), graph.constant(bias), output=output, kernel_shape=size)


def _dense(
    graph: OnnxGraph, x: str, weight: NDArray[np.float64], bias: NDArray[np.float64], *, output: str = ""
) -> str:
    return graph.node("Gemm", x, graph.constant(weight), graph.constant(bias), output=output, transB=1)


def _prelu(graph: OnnxGraph, x: str, state: Weights, name: str, *, flat: bool = False) -> str:
    slopes = np.asarray(state[f"{name}.weight"])
    return graph.node("PRelu", x, graph.constant(slopes if flat else slopes.reshape(-1, 1, 1)))


def _first_two(graph: OnnxGraph, state: Weights, *, window: int) -> str:
    """First convolution, PReLU, maxima of windows; second convolution and PReLU.

    The maxima are taken first, so that the PReLU has a quarter of the values. One of slope a >= 0 never falls, and may
    follow a maximum. One of slope a < 0 is max(x, a x): its maximum is that of the maxima of x and of a x, which are
    two channels of the convolution.
    """
    weight, bias = _scaled(state, "conv1")
    slopes = np.asarray(state["prelu1.weight"], np.float64)
    falling, rising = np.flatnonzero(slopes < 0), np.flatnonzero(slopes >= 0)
    order, a = np.concatenate([falling, rising]), slopes[falling]
    weights = np.concatenate([weight[order], a[:, None, None, None] * weight[falling]])
    biases = np.concatenate([bias[order], a * bias[falling]])
    x = _pool(graph, _conv(graph, INPUT, weights, biases), window, pad=1)
    n, n_all = len(falling), len(slopes)
    first, middle, last = (_channels(graph, x, *ends) for ends in ((0, n), (n, n_all), (n_all, n_all + n)))
    kept = graph.node("PRelu", middle, graph.constant(slopes[rising].reshape(-1, 1, 1)))
    x = graph.node("Concat", graph.node("Max", first, last), kept, axis=1)
    weight, bias = _layer(state, "conv2")
    return _prelu(graph, _conv(graph, x, weight[:, order], bias), state, "prelu2")


def _channels(graph: OnnxGraph, x: str, start: int, stop: int) -> str:
    ends = (graph.constant(np.array([value])) for value in (start, stop, 1))
    return graph.node("Slice", x, *ends)


def _pool(graph: OnnxGraph, x: str, size: int, *, pad: int) -> str:
    """Maxima of windows two pixels apart; ``pad`` at the end stands for windows that reach over the border."""
    pads: Sequence[int] = (0, 0, pad, pad)
    return graph.node("MaxPool", x, kernel_shape=(size, size), strides=(2, 2), pads=pads)
