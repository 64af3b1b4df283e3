"""Read a state dict that torch saved in its old format (before 1.6), without torch and without unpickling.

Such a file is five pickles (magic number, protocol, sizes, the tensors by name, the order of the storages) and then the
storages as raw numbers. The pickles are read as lists of instructions, and the few that a state dict consists of are
carried out here; whatever else stands in a file is refused, and nothing in it is ever imported or called.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_ORDERED_DICT, _REBUILD = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
_GLOBALS = frozenset({_ORDERED_DICT, _REBUILD, *_DTYPES})


@dataclass(frozen=True)
class _Global:
    """A name that the file mentions; it stays a name."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """Numbers that follow later in the file."""

    key: str
    dtype: np.dtype[np.generic]
    size: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """Start of a group on the stack."""


def read_state_dict(path: Path) -> dict[str, NDArray[np.generic]]:
    """Tensors of a file by their names.

    Parameters
    ----------
    path : Path
        Check its digest first.

    Returns
    -------
    dict of name to array

    Raises
    ------
    InvalidInputError
        The file is no state dict in the old format, or holds anything else.
    """
    content = path.read_bytes()
    stream = io.BytesIO(content)
    try:
        magic, protocol, _, tensors, keys = (_load(stream) for _ in range(5))
        if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(tensors, dict) or not isinstance(keys, list):
            raise ValueError("not the head of a state dict")
        numbers = _storages(content[stream.tell() :], tensors, [str(key) for key in keys])
        return {str(name): _array(tensor, numbers) for name, tensor in tensors.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise InvalidInputError(f"{path} is no state dict in torch's format before 1.6: {error}") from error


def _storages(raw: bytes, tensors: dict[object, object], keys: list[str]) -> dict[str, NDArray[np.generic]]:
    """Numbers of each storage: its length as int64, then its values, one storage after the other."""
    wanted = {tensor.storage.key: tensor.storage for tensor in tensors.values() if isinstance(tensor, _Tensor)}
    found: dict[str, NDArray[np.generic]] = {}
    at = 0
    for key in keys:
        storage = wanted[key]
        if int.from_bytes(raw[at : at + 8], "little") != storage.size:
            raise ValueError(f"storage {key} has not its {storage.size} numbers")
        found[key] = np.frombuffer(raw, storage.dtype, storage.size, at + 8)
        at += 8 + storage.size * storage.dtype.itemsize
    if at != len(raw):
        raise ValueError(f"{len(raw) - at} bytes after the last storage")
    return found


def _array(tensor: object, numbers: dict[str, NDArray[np.generic]]) -> NDArray[np.generic]:
    if not isinstance(tensor, _Tensor):
        raise TypeError(f"expected a tensor, found {type(tensor).__name__}")
    values = numbers[tensor.storage.key]
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset < 0 or min((*tensor.shape, *tensor.strides), default=1) < 1 or last >= len(values):
        raise ValueError(f"a tensor of shape {tensor.shape} reaches out of its {len(values)} numbers")
    steps = tuple(step * values.itemsize for step in tensor.strides)
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, steps).copy()


def _load(stream: io.BytesIO) -> object:
    """The value of one pickle, by carrying out the instructions that a state dict consists of."""
    machine = _Machine()
    for operation, argument, _ in pickletools.genops(stream):
        machine.step(operation.name, argument)
    if len(machine.stack) != 1:
        raise ValueError(f"{len(machine.stack)} values in a pickle")
    return machine.stack[0]


class _Machine:
    """A stack and a memo; every instruction that is not named here is refused."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.memo: dict[object, object] = {}
        self.steps: dict[str, Callable[[object], None]] = {
            "GLOBAL": self._global,
            "BINPERSID": self._storage,
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "SETITEM": lambda _: self._set_items([self.stack.pop(-2), self.stack.pop()]),
            "SETITEMS": lambda _: self._set_items(self._group()),
            "APPENDS": lambda _: self._extend(self._group()),
            "TUPLE": lambda _: self.stack.append(tuple(self._group())),
            "EMPTY_TUPLE": lambda _: self.stack.append(()),
            "EMPTY_DICT": lambda _: self.stack.append({}),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "MARK": lambda _: self.stack.append(_Mark()),
            "NONE": lambda _: self.stack.append(None),
            "NEWTRUE": lambda _: self.stack.append(True),
            "NEWFALSE": lambda _: self.stack.append(False),
        }
        for name in ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"):
            self.steps[name] = self.stack.append
        for n in (1, 2, 3):
            self.steps[f"TUPLE{n}"] = lambda _, n=n: self.stack.append(tuple(self._last(n)))  # type: ignore[misc]
        for name in ("BINPUT", "LONG_BINPUT"):
            self.steps[name] = lambda key: self.memo.__setitem__(key, self.stack[-1])
        for name in ("BINGET", "LONG_BINGET"):
            self.steps[name] = lambda key: self.stack.append(self.memo[key])
        for name in ("PROTO", "STOP"):
            self.steps[name] = lambda _: None

    def step(self, name: str, argument: object) -> None:
        """Carry out one instruction; ValueError for one that no state dict needs."""
        if name not in self.steps:
            raise ValueError(f"instruction {name} is not one of a state dict")
        self.steps[name](argument)

    def _last(self, n: int) -> list[object]:
        taken = self.stack[-n:]
        del self.stack[-n:]
        return taken

    def _group(self) -> list[object]:
        start = max(i for i, value in enumerate(self.stack) if isinstance(value, _Mark))
        taken = self.stack[start + 1 :]
        del self.stack[start:]
        return taken

    def _global(self, name: object) -> None:
        if name not in _GLOBALS:
            raise ValueError(f"the name {name!r} is not one of a state dict")
        self.stack.append(_Global(str(name)))

    def _storage(self, _: object) -> None:
        named = self.stack.pop()
        if not isinstance(named, tuple) or len(named) != 6 or named[0] != "storage":
            raise ValueError(f"expected a storage, found {named!r}")
        _, dtype, key, _, size, _ = named
        if not isinstance(dtype, _Global) or not isinstance(size, int) or size < 0:
            raise ValueError(f"a storage of {size!r} numbers of type {dtype!r}")
        self.stack.append(_Storage(str(key), np.dtype(_DTYPES[dtype.name]), size))

    def _reduce(self, _: object) -> None:
        called, arguments = self._last(2)
        if called == _Global(_ORDERED_DICT) and arguments == ():
            self.stack.append({})
        elif called == _Global(_REBUILD) and isinstance(arguments, tuple):
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, _Storage) or not isinstance(offset, int):
                raise ValueError("a tensor without its storage")
            self.stack.append(_Tensor(storage, offset, tuple(map(int, shape)), tuple(map(int, strides))))
        else:
            raise ValueError("a call that no state dict needs")

    def _build(self, _: object) -> None:
        """The metadata of an OrderedDict, which nobody needs."""
        if not isinstance(self.stack.pop(), dict) or not isinstance(self.stack[-1], dict):
            raise ValueError("state for something that is no dict")

    def _set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items for something that is no dict")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError("items for something that is no list")
        target.extend(items)
