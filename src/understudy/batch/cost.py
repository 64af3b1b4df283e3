"""How much a picture will take while it is in flight, told by its first bytes: it is let in when there is room."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import BinaryIO, cast

from understudy.batch.flow import Cost
from understudy.imaging.ifd import read_directory
from understudy.imaging.jpeg import read_jpeg_header
from understudy.imaging.sniff import HEAD_BYTES, READABLE, sniff

_JPEG_HEADER_BYTES = 1 << 18
_PIXELS_PER_BYTE = 8
"""Guess where the header does not tell: about what a strongly compressed photograph has."""


def picture_cost(path: Path) -> Cost:
    """Pixels and bytes of a file, without decoding it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Cost
        Nothing for what is no picture or cannot be read: of such a file only the first bytes are ever taken.
    """
    try:
        with path.open("rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES)
            kind = sniff(head)
            if kind not in READABLE:
                return Cost()
            size = _size(READABLE[kind], head, file)
    except (OSError, ValueError, struct.error):
        return Cost()
    return Cost(size[0] * size[1] if size else n_bytes * _PIXELS_PER_BYTE, n_bytes)


def _size(kind: str, head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    """Width and height, in whatever order; None where the header does not tell."""
    if kind == "PNG":
        return struct.unpack_from(">II", head, 16)
    if kind == "GIF":
        return struct.unpack_from("<HH", head, 6)
    if kind == "BMP":
        wide = int.from_bytes(head[14:18], "little") >= 40
        width, height = struct.unpack_from("<ii" if wide else "<HH", head, 18)
        return abs(width), abs(height)
    if kind == "WEBP":
        return _webp_size(head)
    if kind == "JPEG":
        header = read_jpeg_header(head + file.read(_JPEG_HEADER_BYTES))
        return None if header is None else (header.width, header.height)
    if kind == "TIFF":
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            directory = read_directory(cast("bytes", whole))  # a map reads like bytes
        return None if directory is None else (directory.first(256, 0), directory.first(257, 0))
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    chunk = head[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
