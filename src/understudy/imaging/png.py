"""16-bit PNG: reading what Pillow reduces to 8 bits, and writing what it cannot hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.metadata import png_chunk, png_xmp_chunk

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPE_OF_CHANNELS = {1: 0, 2: 4, 3: 2, 4: 6}
_MODE_OF_COLOR_TYPE = {0: "I;16", 2: "RGB;16", 4: "LA;16", 6: "RGBA;16"}
_ROWS_PER_STRIP_BYTES = 1 << 20
_COMPRESSION_LEVEL = 5


def is_deep_png(data: bytes) -> bool:
    """Whether the header says 16 bits."""
    return len(data) > 25 and data[24] == 16


def _pixels_only(data: bytes) -> bytes:
    """The file with nothing but header and pixels: no lengths beyond its end, no second header, no metadata."""
    parts = [SIGNATURE, png_chunk(b"IHDR", data[16:29])]
    at = 33
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise ValueError(f"a chunk of {length} bytes reaches beyond the file's end")
        if kind == b"IDAT":
            parts.append(png_chunk(b"IDAT", data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join([*parts, png_chunk(b"IEND", b"")])


def read_deep_png(data: bytes, transparent: object) -> tuple[NDArray[np.uint16], str]:
    """Decode a 16-bit PNG that another decoder has found whole.

    Parameters
    ----------
    data : bytes
    transparent : int, (int, int, int) or None
        The grey or colour of the tRNS chunk: it becomes alpha.

    Returns
    -------
    pixels : (H, W) or (H, W, C) uint16, channels in the order R, G, B, A
    mode : str
    """
    mode = _MODE_OF_COLOR_TYPE[data[25]]
    decoded = cv2.imdecode(np.frombuffer(_pixels_only(data), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("the 16-bit decoder cannot read it")
    n_decoded = 1 if decoded.ndim == 2 else decoded.shape[2]
    if mode == "I;16":
        planes = decoded if n_decoded == 1 else decoded[..., 0]
    elif mode == "LA;16":
        if n_decoded != 4:
            raise ValueError(f"the 16-bit decoder returned {n_decoded} channels for grey with alpha")
        planes = decoded[..., 2:]
    elif mode == "RGB;16":
        planes = decoded[..., 2::-1]
    else:
        planes = decoded[..., [2, 1, 0, 3]]
    pixels: NDArray[np.uint16] = np.ascontiguousarray(planes, np.uint16)
    if transparent is None or mode not in ("I;16", "RGB;16"):
        return pixels, mode
    colors = pixels.reshape(*pixels.shape[:2], -1)
    hidden = (colors == np.asarray(transparent, np.uint16)).all(axis=2)
    alpha = np.where(hidden, np.uint16(0), np.uint16(65535))
    return np.dstack([colors, alpha]), "LA;16" if mode == "I;16" else "RGBA;16"


def _filtered_rows(rows: NDArray[np.uint8], bytes_per_pixel: int) -> Iterator[bytes]:
    """Rows of big-endian bytes, each filtered by Sub or Up, whichever leaves smaller differences."""
    n_rows, row_bytes = rows.shape
    step = max(1, _ROWS_PER_STRIP_BYTES // row_bytes)
    for start in range(0, n_rows, step):
        block = rows[start : start + step]
        sub = block.copy()
        sub[:, bytes_per_pixel:] -= block[:, :-bytes_per_pixel]
        up = block.copy()
        up[1:] -= block[:-1]
        if start:
            up[0] -= rows[start - 1]
        cost = [np.abs(f.view(np.int8).astype(np.int16)).sum(axis=1) for f in (sub, up)]
        use_up = cost[1] < cost[0]
        out = np.empty((len(block), row_bytes + 1), np.uint8)
        out[:, 0] = np.where(use_up, 2, 1)
        out[:, 1:] = np.where(use_up[:, None], up, sub)
        yield out.tobytes()


def write_deep_png(
    pixels: NDArray[np.uint16], *, icc: bytes | None, dpi: tuple[float, float] | None, xmp: bytes | None
) -> bytes:
    """A 16-bit PNG file.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) uint16
        Grey, grey and alpha, RGB or RGBA.
    icc, xmp : bytes, optional
    dpi : (x, y), optional

    Returns
    -------
    bytes
    """
    height, width = pixels.shape[:2]
    n_channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    parts = [SIGNATURE]
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOR_TYPE_OF_CHANNELS[n_channels], 0, 0, 0)
    parts.append(png_chunk(b"IHDR", header))
    if icc:
        parts.append(png_chunk(b"iCCP", b"ICC Profile\x00\x00" + zlib.compress(icc)))
    if dpi:
        x, y = (round(value / 0.0254) for value in dpi)
        parts.append(png_chunk(b"pHYs", struct.pack(">IIB", x, y, 1)))
    if xmp:
        parts.append(png_xmp_chunk(xmp))
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, width * n_channels * 2)
    deflate = zlib.compressobj(_COMPRESSION_LEVEL)
    bodies = (deflate.compress(block) for block in _filtered_rows(rows, n_channels * 2))
    parts.extend(png_chunk(b"IDAT", body) for body in bodies if body)
    parts.append(png_chunk(b"IDAT", deflate.flush()))
    parts.append(png_chunk(b"IEND", b""))
    return b"".join(parts)
