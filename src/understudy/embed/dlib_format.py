"""Read the networks that dlib serialises, without dlib: layers in the order in which data flows, weights as arrays.

The format is defined by dlib's own code: integers in ``dlib/serialize.h`` and ``dlib/float_details.h``, nesting in
``dlib/dnn/core.h``, layers in ``dlib/dnn/layers.h``, input in ``dlib/dnn/input.h``. A network is written from the
outside in: a version number for each wrapper, then, once the input layer is reached, every layer's details on the way
back out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError

_LAYER, _INNERMOST_LAYER, _TAG_OR_SKIP = 2, 3, 1
"""Version numbers by which dlib 19.2 and later tell its wrappers apart."""


@dataclass(frozen=True)
class Convolution:
    """``con``: cross-correlation with a bias."""

    filters: NDArray[np.float32]  # (out, in, kernel_h, kernel_w)
    biases: NDArray[np.float32]  # (out,)
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Affine:
    """``affine``: one gain and one offset for each channel."""

    gamma: NDArray[np.float32]  # (C,)
    beta: NDArray[np.float32]  # (C,)


@dataclass(frozen=True)
class Relu:
    """``relu``."""


@dataclass(frozen=True)
class MaxPool:
    """``max_pool``; a window of (0, 0) covers everything."""

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class AveragePool:
    """``avg_pool``; a window of (0, 0) covers everything."""

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class AddPrevious:
    """``add_prev``: adds a tagged layer's output; the smaller of the two is padded with zeros at its far ends."""


@dataclass(frozen=True)
class FullyConnected:
    """``fc_no_bias``."""

    weights: NDArray[np.float32]  # (in, out)


@dataclass(frozen=True)
class TagOrSkip:
    """A tag, or a jump back to one; the file tells neither which of the two nor the tag's number."""


Layer = Convolution | Affine | Relu | MaxPool | AveragePool | AddPrevious | FullyConnected | TagOrSkip


@dataclass(frozen=True)
class DlibNetwork:
    """A network from its input to its output."""

    mean_rgb: tuple[float, float, float]
    """Subtracted from each pixel, which is then divided by 256."""
    input_size: tuple[int, int]
    """Height and width, px."""
    layers: tuple[Layer, ...]


def read_network(data: bytes) -> DlibNetwork:
    """Read a serialised ``loss_metric`` network over ``input_rgb_image_sized``.

    Parameters
    ----------
    data : bytes
        Content of the file.

    Raises
    ------
    InvalidInputError
        The bytes are no such network: truncated, longer than the network, or with a layer that is not known here.
    """
    reader = _Reader(data)
    reader.expect("loss layer", reader.integer(), 1)
    reader.expect("loss", reader.text(), "loss_metric_2")
    reader.real(), reader.real()  # margin and distance threshold serve the training only
    wrappers = [reader.integer()]
    while wrappers[-1] != _INNERMOST_LAYER:
        if wrappers[-1] not in (_LAYER, _TAG_OR_SKIP):
            raise InvalidInputError(f"unknown version {wrappers[-1]} of a layer {reader.place()}")
        wrappers.append(reader.integer())
    mean_rgb, input_size = _input_layer(reader)
    layers = [_tag_or_layer(wrapper, reader) for wrapper in reversed(wrappers)]
    reader.expect("end of the file", reader.at, len(data))
    return DlibNetwork(mean_rgb, input_size, tuple(layers))


def _input_layer(reader: _Reader) -> tuple[tuple[float, float, float], tuple[int, int]]:
    """Mean colour, and height and width."""
    reader.expect("input layer", reader.text(), "input_rgb_image_sized")
    mean = (reader.real(), reader.real(), reader.real())
    return mean, reader.pair()


def _tag_or_layer(wrapper: int, reader: _Reader) -> Layer:
    """One wrapper's own part of the file; what dlib keeps there between two steps of training must be empty."""
    if wrapper == _TAG_OR_SKIP:
        return TagOrSkip()
    name = reader.text()
    if name not in _READERS:
        raise InvalidInputError(f"unknown layer {name!r} {reader.place()}; known: {', '.join(_READERS)}")
    layer = _READERS[name](reader)
    reader.skip_flags(3)
    for _ in range(3):
        reader.expect("values of a cache", reader.tensor().size, 0)
    if wrapper == _INNERMOST_LAYER:
        reader.expect("sample expansion", reader.integer(), 1)
    return layer


def _convolution(reader: _Reader) -> Convolution:
    values = reader.tensor()
    n_filters, kernel, stride, padding = reader.integer(), reader.pair(), reader.pair(), reader.pair()
    shape = reader.alias()
    reader.expect("filters", (shape[0], *shape[2:]), (n_filters, *kernel))
    reader.expect("biases", reader.alias(), (1, n_filters, 1, 1))
    reader.skip_multipliers()
    filters, biases = reader.split(values, math.prod(shape), n_filters)
    return Convolution(filters.reshape(shape), biases, stride, padding)


def _affine(reader: _Reader) -> Affine:
    values = reader.tensor()
    n_channels = values.size // 2
    for part in ("gamma", "beta"):
        reader.expect(part, reader.alias(), (1, n_channels, 1, 1))
    reader.expect("mode of affine (0 = for each channel)", reader.integer(), 0)
    gamma, beta = reader.split(values, n_channels, n_channels)
    return Affine(gamma, beta)


def _fully_connected(reader: _Reader) -> FullyConnected:
    n_outputs, n_inputs = reader.integer(), reader.integer()
    values = reader.tensor()
    reader.expect("weights", reader.alias(), (n_inputs, n_outputs, 1, 1))
    reader.alias()  # of the biases, which this layer has not
    reader.expect("mode of fc (1 = no bias)", reader.integer(), 1)
    reader.skip_multipliers()
    (weights,) = reader.split(values, n_inputs * n_outputs)
    return FullyConnected(weights.reshape(n_inputs, n_outputs))


_READERS: Mapping[str, Callable[[_Reader], Layer]] = {
    "con_4": _convolution,
    "affine_": _affine,
    "relu_": lambda _: Relu(),
    "max_pool_2": lambda reader: MaxPool(reader.pair(), reader.pair(), reader.pair()),
    "avg_pool_2": lambda reader: AveragePool(reader.pair(), reader.pair(), reader.pair()),
    "add_prev_": lambda _: AddPrevious(),
    "fc_2": _fully_connected,
}


class _Reader:
    """Reads dlib's elementary types one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def place(self) -> str:
        return f"at byte {self.at} of {len(self._data)}"

    def expect(self, what: str, got: object, expected: object) -> None:
        if got != expected:
            raise InvalidInputError(f"{what}: expected {expected!r}, got {got!r} {self.place()}")

    def _take(self, n_bytes: int) -> bytes:
        if n_bytes > len(self._data) - self.at:
            raise InvalidInputError(f"the file ends too early: {n_bytes} bytes wanted {self.place()}")
        self.at += n_bytes
        return self._data[self.at - n_bytes : self.at]

    def integer(self) -> int:
        """One control byte (sign in bit 7, number of bytes in the lower four), then the magnitude, low byte first."""
        control = self._take(1)[0]
        size = control & 0x0F
        if control & 0x70 or not 1 <= size <= 8:
            raise InvalidInputError(f"no integer {self.place()}: its first byte is {control:#04x}")
        magnitude = int.from_bytes(self._take(size), "little")
        return -magnitude if control & 0x80 else magnitude

    def real(self) -> float:
        """Mantissa and exponent, two integers; dlib keeps exponents from 32000 on for infinity and not-a-number."""
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > 1100:
            raise InvalidInputError(f"no finite number {self.place()}: its exponent is {exponent}")
        return math.ldexp(mantissa, exponent)

    def text(self) -> str:
        return self._take(self._size()).decode("latin-1")

    def _size(self) -> int:
        size = self.integer()
        if size < 0:
            raise InvalidInputError(f"a size cannot be {size} {self.place()}")
        return size

    def pair(self) -> tuple[int, int]:
        return self._size(), self._size()

    def skip_flags(self, count: int) -> None:
        """Booleans are the characters 0 and 1."""
        for flag in self._take(count):
            if flag not in b"01":
                raise InvalidInputError(f"no boolean {self.place()}: its byte is {flag:#04x}")

    def skip_multipliers(self) -> None:
        """Rates of learning and decay, of weights and biases."""
        for _ in range(4):
            self.real()

    def _shape(self) -> tuple[int, int, int, int]:
        return self._size(), self._size(), self._size(), self._size()

    def alias(self) -> tuple[int, int, int, int]:
        """Shape of a view of a part of a tensor."""
        self.expect("version of an alias", self.integer(), 1)
        return self._shape()

    def tensor(self) -> NDArray[np.float32]:
        """Values of a tensor, flat: version, shape, then float32, low byte first."""
        self.expect("version of a tensor", self.integer(), 2)
        n_values = math.prod(self._shape())
        values = np.frombuffer(self._take(n_values * 4), np.dtype("<f4")).astype(np.float32)
        if not np.isfinite(values).all():
            raise InvalidInputError(f"a weight is not finite {self.place()}")
        return values

    def split(self, values: NDArray[np.float32], *sizes: int) -> list[NDArray[np.float32]]:
        """Parts of a flat tensor that must fill it."""
        self.expect("size of the weights", values.size, sum(sizes))
        return np.split(values, np.cumsum(sizes)[:-1])
