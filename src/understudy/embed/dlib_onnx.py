"""dlib's face recognition ResNet on onnxruntime: the same embedding, many times faster than a dlib built without BLAS.

The network (https://github.com/davisking/dlib/blob/master/examples/dnn_face_recognition_ex.cpp) is read from dlib's own
weight file and written as ONNX once, into the cache. Each ``affine`` is folded into the convolution before it, in
float64; everything else stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy import weights
from understudy.embed import dlib_format as dlib
from understudy.embed.dlib_chip import CHIP_SIZE, aligned_chip, is_frontal
from understudy.errors import InvalidInputError, MissingExtraError, MissingWeightsError, WeightsDigestError
from understudy.runtime.onnx import CPU, open_session

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

SOURCE = "dlib_face_recognition_resnet_v1"
CONVERTED = "dlib_face_recognition_resnet_v1_onnx"
"""Names of the network in the registry: as dlib wrote it, and as ``convert`` does."""

_OPSET, _IR_VERSION = 13, 8


@dataclass(frozen=True)
class _Value:
    """An intermediate result: its name in the graph, and its shape without the batch."""

    name: str
    shape: tuple[int, ...]


class _Graph:
    """An ONNX graph that grows node by node; names follow from the order alone: the bytes are always the same."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: int | Sequence[int]) -> str:
        from onnx import helper

        name = output or f"{operator.lower()}_{len(self.nodes)}"
        made = helper.make_node(operator, inputs, [name], name=name)
        made.attribute.extend(helper.make_attribute(key, attributes[key]) for key in sorted(attributes))
        self.nodes.append(made)
        return name


def model_bytes(network: dlib.DlibNetwork) -> bytes:
    """The network as a serialised ONNX model; the same bytes for the same network.

    Its input ``chips`` is (n, H, W, 3) uint8 sRGB, its output ``embedding`` (n, D) float32; n is free.

    Parameters
    ----------
    network : DlibNetwork
        Built of plain and of halving residual blocks, as dlib's face recognition network is.

    Raises
    ------
    InvalidInputError
        The layers do not form such blocks.
    MissingExtraError
        The package onnx is not installed.
    """
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise MissingExtraError(
            "converting dlib's network needs the package onnx: run `pip install 'understudy[identity]'`"
        ) from error
    graph = _Graph()
    result = _forward(graph, network)
    graph.node("Identity", result.name, output="embedding")
    height, width = network.input_size
    proto = helper.make_graph(
        graph.nodes,
        "dlib_resnet",
        [helper.make_tensor_value_info("chips", TensorProto.UINT8, ["n", height, width, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", *result.shape])],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(proto, producer_name="understudy", opset_imports=opsets, ir_version=_IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


def _forward(graph: _Graph, network: dlib.DlibNetwork) -> _Value:
    """Every layer in turn.

    The file does not tell a tag from a skip. In this network a lone one is ``tag1``, the start of a block; two in a row
    are ``tag2``, the end of a halving block's main path, and ``skip1``, back to the block's start.
    """
    value = _normalised_input(graph, network)
    start: _Value | None = None
    main_path: _Value | None = None
    layers = list(network.layers)
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, dlib.TagOrSkip):
            if layers and isinstance(layers[0], dlib.TagOrSkip):
                layers.pop(0)
                if start is None:
                    raise InvalidInputError("a skip needs a tag before it; not dlib's face recognition network")
                main_path, value = value, start
            else:
                start = value
        elif isinstance(layer, dlib.AddPrevious):
            other = main_path or start
            if other is None:
                raise InvalidInputError("add_prev needs a tag before it; not dlib's face recognition network")
            value = _add(graph, value, other)
            start = main_path = None
        elif isinstance(layer, dlib.Convolution):
            affine = layers.pop(0) if layers and isinstance(layers[0], dlib.Affine) else None
            value = _convolve(graph, value, layer, affine if isinstance(affine, dlib.Affine) else None)
        else:
            value = _simple(graph, value, layer)
    return value


def _normalised_input(graph: _Graph, network: dlib.DlibNetwork) -> _Value:
    """Channels first, mean subtracted, divided by 256."""
    planes = graph.node("Transpose", "chips", perm=[0, 3, 1, 2])
    pixels = graph.node("Cast", planes, to=1)  # 1 = float32
    mean = graph.constant(np.array(network.mean_rgb, np.float32).reshape(1, 3, 1, 1))
    centered = graph.node("Sub", pixels, mean)
    scaled = graph.node("Mul", centered, graph.constant(np.array(1 / 256, np.float32)))
    return _Value(scaled, (3, *network.input_size))


def _convolve(graph: _Graph, value: _Value, layer: dlib.Convolution, affine: dlib.Affine | None) -> _Value:
    """A convolution, with the gain and offset that follow folded into it."""
    n_filters, n_inputs, *kernel = layer.filters.shape
    if n_inputs != value.shape[0]:
        raise InvalidInputError(f"a convolution of {n_inputs} channels follows a layer of {value.shape[0]}")
    filters, biases = layer.filters.astype(np.float64), layer.biases.astype(np.float64)
    if affine is not None:
        if len(affine.gamma) != n_filters:
            raise InvalidInputError(f"an affine layer of {len(affine.gamma)} channels follows {n_filters} filters")
        filters = filters * affine.gamma.astype(np.float64)[:, None, None, None]
        biases = biases * affine.gamma + affine.beta
    name = graph.node(
        "Conv",
        value.name,
        graph.constant(filters.astype(np.float32)),
        graph.constant(biases.astype(np.float32)),
        kernel_shape=kernel,
        strides=layer.stride,
        pads=[*layer.padding, *layer.padding],
    )
    return _Value(name, (n_filters, *_size_after(value.shape, kernel, layer.stride, layer.padding)))


def _simple(graph: _Graph, value: _Value, layer: dlib.Layer) -> _Value:
    """A layer that has nothing to do with those around it."""
    if isinstance(layer, dlib.Relu):
        return _Value(graph.node("Relu", value.name), value.shape)
    if isinstance(layer, dlib.FullyConnected):
        n_inputs, n_outputs = layer.weights.shape
        if value.shape not in ((n_inputs,), (n_inputs, 1, 1)):
            raise InvalidInputError(f"fc of {n_inputs} inputs follows a layer of shape {value.shape}")
        flat = graph.node("Flatten", value.name)
        return _Value(graph.node("MatMul", flat, graph.constant(layer.weights)), (n_outputs,))
    if isinstance(layer, dlib.AveragePool) and layer.window == (0, 0):
        return _Value(graph.node("GlobalAveragePool", value.name), (value.shape[0], 1, 1))
    if isinstance(layer, dlib.MaxPool | dlib.AveragePool) and min(layer.window) > 0 and layer.padding == (0, 0):
        operator = "MaxPool" if isinstance(layer, dlib.MaxPool) else "AveragePool"
        name = graph.node(operator, value.name, kernel_shape=layer.window, strides=layer.stride)
        return _Value(name, (value.shape[0], *_size_after(value.shape, layer.window, layer.stride, (0, 0))))
    raise InvalidInputError(f"{layer} cannot stand here; not dlib's face recognition network")


def _size_after(
    shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[int, int]:
    """Height and width after a sliding window; what does not fill a window is left out."""
    if min(stride) < 1:
        raise InvalidInputError(f"a stride must be 1 or more, got {tuple(stride)}")
    height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True))
    return height, width


def _add(graph: _Graph, left: _Value, right: _Value) -> _Value:
    """Sum of two results, each padded with zeros at its far ends to the larger size (dlib's ``tt::add``)."""
    shape = tuple(max(a, b) for a, b in zip(left.shape, right.shape, strict=True))
    names = []
    for value in (left, right):
        missing = [full - own for full, own in zip(shape, value.shape, strict=True)]
        pads = np.array([0, 0, 0, 0, 0, *missing], np.int64)
        names.append(graph.node("Pad", value.name, graph.constant(pads)) if any(missing) else value.name)
    return _Value(graph.node("Add", *names), shape)


def convert(dat_path: Path, onnx_path: Path) -> None:
    """Write dlib's network as an ONNX file, in one step: it is there as a whole or not at all.

    Parameters
    ----------
    dat_path : Path
        Such as dlib_face_recognition_resnet_model_v1.dat.
    onnx_path : Path
        Its folder is made where it is absent.

    Raises
    ------
    InvalidInputError
        The file holds another network.
    MissingExtraError
        The package onnx is not installed.
    """
    _write(model_bytes(dlib.read_network(dat_path.read_bytes())), onnx_path)


def _write(content: bytes, target: Path) -> None:
    """Write a file beside its target and move it there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=target.name, suffix=".part", dir=target.parent)
    part = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def converted_network() -> Path | bytes:
    """The converted network: from a mirror or the cache, else converted now and cached where the cache can be written.

    Raises
    ------
    MissingWeightsError
        Neither the converted network nor dlib's is on this machine.
    MissingExtraError
        It must be converted and the package onnx is not installed.
    WeightsDigestError
        The conversion gave another network than the registry names.
    """
    try:
        return weights.find(CONVERTED)
    except (MissingWeightsError, WeightsDigestError):
        source = weights.find(SOURCE)
    item = weights.entry(CONVERTED)
    content = model_bytes(dlib.read_network(source.read_bytes()))
    digest = hashlib.sha256(content).hexdigest()
    if digest != item.sha256:
        raise WeightsDigestError(
            f"converting {source} gave a network with sha256 {digest}, expected {item.sha256}: convert it with another "
            f"version of the package onnx, or set {weights.MIRROR_VARIABLE} to a folder that holds {item.file}"
        )
    target = weights.cache_folder() / item.file
    try:
        _write(content, target)
    except OSError:
        return content
    return target


class DlibOnnxEmbedder:
    """dlib's face recognition network on onnxruntime; may be shared by threads.

    Embeddings keep dlib's own scale (norms of about 1.3 to 1.6, not 1): the distance of 0.6 under which dlib calls two
    faces one person holds on that scale.

    Parameters
    ----------
    min_face_px : float
        Faces whose box has a shorter side cannot be judged.
    network : str, optional
        Path of the converted network, as ``understudy export`` writes it; the registry's where left out.
    providers, n_threads
        As in ``open_session``.

    Raises
    ------
    MissingExtraError
        The weights, or the package onnx that converts them, are not on this machine; the extra [identity] brings both.
    """

    name = "dlib_resnet"

    def __init__(
        self,
        *,
        min_face_px: float = 40.0,
        network: str | None = None,
        providers: Sequence[str] = (CPU,),
        n_threads: int = 1,
    ) -> None:
        self.min_face_px = min_face_px
        self._path = None if network is None else weights.resolve(network)
        try:
            found = self._path or converted_network()
        except MissingWeightsError as error:
            raise MissingExtraError(
                f"no identity embedder: {error}; or `pip install 'understudy[identity]'`"
            ) from error
        self._session = open_session(found, providers=providers, n_threads=n_threads)

    def can_judge(
        self, keypoints: NDArray[np.floating], visibility: NDArray[np.floating], xyxy: NDArray[np.floating]
    ) -> bool:
        """Whether a face is large enough, and turned by less than about 55 degrees.

        Parameters
        ----------
        keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
        visibility : (5,), 0 = absent
        xyxy : (4,) px
        """
        x0, y0, x1, y1 = (float(v) for v in xyxy)
        return min(x1 - x0, y1 - y0) >= self.min_face_px and is_frontal(keypoints, visibility)

    def embed(
        self, view: NDArray[np.uint8], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Embedding of one face.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
        visibility : (5,), 0 = absent; at least two must be there

        Returns
        -------
        (128,) float32, not normalised
        """
        embedding: NDArray[np.float32] = self.embed_chips(aligned_chip(view, keypoints, visibility)[None])[0]
        return embedding

    def embed_chips(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings of several aligned faces at once.

        Parameters
        ----------
        chips : (N, 150, 150, 3) uint8 sRGB
            As ``aligned_chip`` cuts them.

        Returns
        -------
        (N, 128) float32, not normalised
        """
        if chips.dtype != np.uint8 or chips.shape[1:] != (CHIP_SIZE, CHIP_SIZE, 3):
            raise InvalidInputError(
                f"chips must be (N, {CHIP_SIZE}, {CHIP_SIZE}, 3) uint8, got {chips.shape} {chips.dtype}"
            )
        if len(chips) == 0:
            return np.zeros((0, 128), np.float32)
        return np.asarray(self._session.run({"chips": np.ascontiguousarray(chips)})[0], np.float32)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the network in use, by its name in the registry."""
        if self._path is not None:
            return {CONVERTED: weights.file_digest(self._path)}
        return {CONVERTED: weights.entry(CONVERTED).sha256}
