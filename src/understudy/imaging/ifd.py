"""Tags of the first directory of a TIFF structure: of a TIFF file, or of the EXIF block inside another format."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

ORIENTATION = 274

_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
_MAX_ENTRIES = 4096
_MAX_VALUES = 64

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Directory:
    """Integer tags of one directory, and where each value lies in the file."""

    values: dict[int, tuple[int, ...]]
    """Of at most the first 64 numbers of every integer tag."""
    offsets: dict[int, int]
    byte_order: str
    """ "<" or ">"."""

    def first(self, tag: int, default: int) -> int:
        """First value of a tag, or ``default`` where the tag is absent or no integer."""
        return (self.values.get(tag) or (default,))[0]


def read_directory(data: bytes) -> Directory | None:
    """Read the first directory of a classic or big TIFF structure.

    Parameters
    ----------
    data : bytes
        Starts with the byte order mark.

    Returns
    -------
    Directory or None
        None where there is no readable directory; damaged entries are left out.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return None
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    head, entry, inline = (8, 20, 8) if big else (2, 12, 4)
    if start + head > len(data):
        return None
    n_entries = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    values: dict[int, tuple[int, ...]] = {}
    offsets: dict[int, int] = {}
    for k in range(min(n_entries, _MAX_ENTRIES)):
        at = start + head + k * entry
        if at + entry > len(data):
            break
        tag, kind = struct.unpack_from(order + "HH", data, at)
        count = struct.unpack_from(order + ("Q" if big else "I"), data, at + 4)[0]
        where = at + entry - inline
        if count * _TYPE_SIZES.get(kind, 1) > inline:
            where = struct.unpack_from(order + ("Q" if big else "I"), data, where)[0]
        code, n = _INTEGERS.get(kind), min(count, _MAX_VALUES)
        if code is None or where + n * _TYPE_SIZES[kind] > len(data) or tag in values:
            continue
        values[tag] = struct.unpack_from(f"{order}{n}{code}", data, where)
        offsets[tag] = where
    return Directory(values, offsets, order)


def exif_orientation(exif: bytes | None) -> int:
    """Orientation of an EXIF block, 1 to 8; 1 where there is none or it makes no sense."""
    if not exif:
        return 1
    directory = read_directory(exif.removeprefix(b"Exif\x00\x00"))
    value = directory.first(ORIENTATION, 1) if directory else 1
    return value if 1 <= value <= 8 else 1


def upright(pixels: NDArray[T], orientation: int) -> NDArray[T]:
    """Pixels as they are meant to be seen.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C)
    orientation : int
        EXIF orientation, 1 to 8: 2, 4 mirror; 3 turns by half; 5, 7 transpose; 6 turns clockwise, 8 counter-clockwise.

    Returns
    -------
    (H, W) or (H, W, C), contiguous; H and W are swapped for 5 to 8
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
