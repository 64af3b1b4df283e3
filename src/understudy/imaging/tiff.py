"""16-bit TIFF with several channels: reading what Pillow reduces to 8 bits, and writing what it cannot hold."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.imaging.ifd import ORIENTATION, Directory

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANES, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 259, 262, 277, 284, 338, 339
DNG_VERSION = 50706
_STRIP_BYTES = 1 << 18
_DEFLATE = 8


def is_deep_color(directory: Directory) -> bool:
    """Whether the file holds RGB or RGBA at 16 bits."""
    rgb = directory.first(PHOTOMETRIC, -1) == 2
    return rgb and directory.first(BITS, 1) == 16 and directory.first(SAMPLES, 1) in (3, 4)


def read_deep_tiff(data: bytes, directory: Directory) -> tuple[NDArray[np.uint16], str]:
    """Decode RGB or RGBA at 16 bits, without applying the orientation.

    Parameters
    ----------
    data : bytes
    directory : Directory
        Of the file.

    Returns
    -------
    pixels : (H, W, C) uint16, channels in the order R, G, B, A
    mode : str
        "RGB;16" or "RGBA;16"
    """
    raw = bytearray(data)
    if ORIENTATION in directory.offsets:
        # OpenCV turns some TIFFs by itself and some not: it is given upright ones only.
        struct.pack_into(directory.byte_order + "H", raw, directory.offsets[ORIENTATION], 1)
    decoded = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
        raise ValueError("the 16-bit decoder cannot read it")
    has_alpha = directory.first(SAMPLES, 3) == 4 and directory.first(EXTRA_SAMPLES, 0) in (1, 2)
    if has_alpha and decoded.shape[2] == 4:
        return np.ascontiguousarray(decoded[..., [2, 1, 0, 3]], np.uint16), "RGBA;16"
    return np.ascontiguousarray(decoded[..., 2::-1], np.uint16), "RGB;16"


def _strips(pixels: NDArray[np.uint16], deflate: bool) -> tuple[list[bytes], int]:
    """The picture in strips, differenced and compressed if asked for, and the number of rows in each."""
    height, width, n_channels = pixels.shape
    n_rows = max(1, min(height, _STRIP_BYTES // (width * n_channels * 2)))
    strips = []
    for start in range(0, height, n_rows):
        block = pixels[start : start + n_rows].astype("<u2")
        if deflate:
            block[:, 1:] -= block[:, :-1].copy()
        strips.append(zlib.compress(block.tobytes(), 6) if deflate else block.tobytes())
    return strips, n_rows


def _entry(tag: int, kind: str, values: list[int] | bytes) -> tuple[int, int, int, bytes]:
    """(tag, type, count, bytes) of a directory entry; kinds: B bytes, H short, I long, R rational, U undefined."""
    type_number = {"B": 1, "H": 3, "I": 4, "R": 5, "U": 7}[kind]
    if isinstance(values, bytes):
        return tag, type_number, len(values), values
    count = len(values) // 2 if kind == "R" else len(values)
    return tag, type_number, count, struct.pack(f"<{len(values)}{'I' if kind == 'R' else kind}", *values)


def _rational(value: float) -> list[int]:
    fraction = Fraction(value).limit_denominator(10_000)
    return [fraction.numerator, fraction.denominator]


def write_deep_tiff(
    pixels: NDArray[np.uint16],
    *,
    deflate: bool,
    icc: bytes | None,
    dpi: tuple[float, float] | None,
    xmp: bytes | None,
    extra_samples: int = 2,
) -> bytes:
    """A little-endian 16-bit TIFF file, uncompressed or deflated.

    Parameters
    ----------
    pixels : (H, W, C) uint16
        RGB or RGBA.
    deflate : bool
    icc, xmp : bytes, optional
    dpi : (x, y), optional
    extra_samples : int
        What alpha is: 1 = premultiplied, 2 = straight.

    Returns
    -------
    bytes
    """
    height, width, n_channels = pixels.shape
    strips, n_rows = _strips(pixels, deflate)
    offsets, at = [], 8
    for strip in strips:
        offsets.append(at)
        at += len(strip) + len(strip) % 2
    entries = [
        _entry(256, "I", [width]),
        _entry(257, "I", [height]),
        _entry(BITS, "H", [16] * n_channels),
        _entry(COMPRESSION, "H", [_DEFLATE if deflate else 1]),
        _entry(PHOTOMETRIC, "H", [2]),
        _entry(273, "I", offsets),
        _entry(SAMPLES, "H", [n_channels]),
        _entry(278, "I", [n_rows]),
        _entry(279, "I", [len(strip) for strip in strips]),
        _entry(PLANES, "H", [1]),
    ]
    if dpi:
        entries += [_entry(282, "R", _rational(dpi[0])), _entry(283, "R", _rational(dpi[1])), _entry(296, "H", [2])]
    if deflate:
        entries.append(_entry(317, "H", [2]))
    if n_channels == 4:
        entries.append(_entry(EXTRA_SAMPLES, "H", [extra_samples]))
    entries.append(_entry(SAMPLE_FORMAT, "H", [1] * n_channels))
    if xmp:
        entries.append(_entry(700, "B", xmp))
    if icc:
        entries.append(_entry(34675, "U", icc))
    entries.sort()
    directory, tail_at = bytearray(struct.pack("<H", len(entries))), at + 2 + 12 * len(entries) + 4
    tail = bytearray()
    for tag, kind, count, body in entries:
        directory += struct.pack("<HHI", tag, kind, count)
        if len(body) <= 4:
            directory += body.ljust(4, b"\x00")
        else:
            directory += struct.pack("<I", tail_at + len(tail))
            tail += body + b"\x00" * (len(body) % 2)
    padded = [strip + b"\x00" * (len(strip) % 2) for strip in strips]
    return b"".join([b"II*\x00", struct.pack("<I", at), *padded, bytes(directory), b"\x00" * 4, bytes(tail)])
