"""What a WebP file's chunks say: size, and whether it was stored without loss."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WebpHeader:
    """Size of the canvas and kind of the first picture in it."""

    width: int
    height: int
    lossless: bool


def _chunks(data: bytes, start: int, stop: int) -> list[tuple[bytes, int, int]]:
    """(name, start, stop) of the chunks in a range of bytes."""
    found = []
    while start + 8 <= stop:
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        found.append((data[start : start + 4], start + 8, min(start + 8 + size, stop)))
        start += 8 + size + size % 2
    return found


def _picture_size(data: bytes, name: bytes, start: int) -> tuple[int, int] | None:
    """Size in the header of a VP8 or VP8L chunk."""
    if name == b"VP8L" and data[start : start + 1] == b"\x2f":
        bits = int.from_bytes(data[start + 1 : start + 5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and data[start + 3 : start + 6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[start + k : start + k + 2], "little") & 0x3FFF for k in (6, 8))
        return width, height
    return None


def read_webp_header(data: bytes) -> WebpHeader | None:
    """Read a WebP file's header; None where it holds no picture.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    WebpHeader or None
        The larger of the canvas and the picture in it.
    """
    width = height = 0
    chunks = _chunks(data, 12, len(data))
    for name, start, stop in chunks:
        if name == b"VP8X" and stop - start >= 10:
            width = int.from_bytes(data[start + 4 : start + 7], "little") + 1
            height = int.from_bytes(data[start + 7 : start + 10], "little") + 1
        elif name == b"ANMF":
            chunks.extend(_chunks(data, start + 16, stop))
        elif size := _picture_size(data, name, start):
            return WebpHeader(max(width, size[0]), max(height, size[1]), name == b"VP8L")
    return None
