"""A baseline JPEG writer for the chroma subsamplings that Pillow's encoder cannot write, 4:4:0 above all.

A 4:2:2 picture that was taken upright and stored lying becomes 4:4:0 when it is turned. ITU-T T.81, vectorised.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.imaging.jpeg import ZIGZAG, Table, segments

_YCC_FROM_RGB = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)  # JFIF 1.02
_BLOCKS_PER_CHUNK = 1 << 15
_SIZE_OF = np.array([value.bit_length() for value in range(2048)])
_DHT, _DQT, _SOF0, _SOF1, _SOS = 0xC4, 0xDB, 0xC0, 0xC1, 0xDA

Codes = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class _Huffman:
    """The standard Huffman tables as their segments, and as code and length of every symbol."""

    payloads: tuple[bytes, ...]
    dc: tuple[Codes, Codes]
    ac: tuple[Codes, Codes]


def _codes(counts: bytes, symbols: bytes) -> Codes:
    """Code and length by symbol (T.81, annex C)."""
    codes, lengths = np.zeros(256, np.int64), np.zeros(256, np.int64)
    code, k = 0, 0
    for length, count in enumerate(counts, start=1):
        for symbol in symbols[k : k + count]:
            codes[symbol], lengths[symbol] = code, length
            code += 1
        k += count
        code <<= 1
    return codes, lengths


@lru_cache(maxsize=1)
def _standard_huffman() -> _Huffman:
    """The tables of T.81, annex K, read from a picture that libjpeg writes with them."""
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", optimize=False, progressive=False)
    payloads = tuple(payload for marker, payload in segments(buffer.getvalue()) if marker == _DHT)
    found: dict[int, Codes] = {}
    for payload in payloads:
        at = 0
        while at < len(payload):
            counts = payload[at + 1 : at + 17]
            n_symbols = sum(counts)
            found[payload[at]] = _codes(counts, payload[at + 17 : at + 17 + n_symbols])
            at += 17 + n_symbols
    return _Huffman(payloads, (found[0x00], found[0x01]), (found[0x10], found[0x11]))


def _dct_matrix() -> NDArray[np.float32]:
    """The orthonormal DCT of 8 values: one frequency per row."""
    k, n = np.mgrid[:8, :8]
    matrix = np.cos((2 * n + 1) * k * np.pi / 16) / 2
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


def _quantized_blocks(plane: NDArray[np.float32], table: Table) -> NDArray[np.int64]:
    """(rows of blocks, blocks in a row, 64) quantised coefficients, in zigzag order."""
    height, width = plane.shape
    dct = _dct_matrix()
    across = (plane.reshape(-1, 8) @ dct.T).reshape(height // 8, 8, width // 8, 8)
    columns = np.ascontiguousarray(across.transpose(0, 2, 3, 1))
    turned = (columns.reshape(-1, 8) @ dct.T).reshape(-1, 64)  # horizontal frequency x vertical frequency
    order = [8 * (position % 8) + position // 8 for position in ZIGZAG]
    steps = np.array([table[position] for position in ZIGZAG], np.float32)
    quantized = np.rint(np.take(turned, order, axis=1) / steps).clip(-1023, 1023)
    return np.asarray(quantized, np.int64).reshape(height // 8, width // 8, 64)


def _component_blocks(
    pixels: NDArray[np.uint8], tables: tuple[Table, ...], ratio: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quantised blocks of a band of rows in the order of the stream, (n, 64), and the component of each, (n,)."""
    h, v = ratio
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % (8 * v)), (0, -width % (8 * h)), (0, 0)), mode="edge")
    ycc = cv2.transform(padded.astype(np.float32), _YCC_FROM_RGB)
    ycc[..., 0] -= 128
    rows, columns = ycc.shape[0] // (8 * v), ycc.shape[1] // (8 * h)
    smaller = cv2.resize(ycc, (columns * 8, rows * 8), interpolation=cv2.INTER_AREA)
    luma = _quantized_blocks(np.ascontiguousarray(ycc[..., 0], np.float32), tables[0])
    units = [luma.reshape(rows, v, columns, h, 64).swapaxes(1, 2).reshape(rows * columns, h * v, 64)]
    for k in (1, 2):
        chroma = _quantized_blocks(np.ascontiguousarray(smaller[..., k], np.float32), tables[k])
        units.append(chroma.reshape(rows * columns, 1, 64))
    component = np.tile(np.array([0] * (h * v) + [1, 2]), rows * columns)
    return np.concatenate(units, axis=1).reshape(-1, 64), component


def _sizes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of bits of |value|, which is below 2048."""
    return _SIZE_OF[np.abs(values)]


def _with_value(codes: Codes, symbol: NDArray[np.int64], values: NDArray[np.int64], size: NDArray[np.int64]) -> Codes:
    """Huffman code followed by the value's own bits, and the length of both."""
    bits = np.where(values >= 0, values, values + (1 << size) - 1)
    return codes[0][symbol] << size | bits, codes[1][symbol] + size


def _stream(blocks: NDArray[np.int64], component: NDArray[np.int64], before: list[int]) -> Codes:
    """Codes and lengths of a run of blocks; ``before`` holds the components' last DC values and is updated."""
    huffman = _standard_huffman()
    keys: list[NDArray[np.int64]] = []
    codes: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.int64]] = []

    def put(key: NDArray[np.int64], pair: Codes) -> None:
        keys.append(key)
        codes.append(pair[0])
        lengths.append(pair[1])

    for k in range(3):
        mine = np.flatnonzero(component == k)
        dc = blocks[mine, 0]
        difference = np.diff(dc, prepend=before[k])
        before[k] = int(dc[-1])
        size = _sizes(difference)
        put(mine << 10, _with_value(huffman.dc[min(k, 1)], size, difference, size))
    at, position = np.nonzero(blocks[:, 1:])
    position = position + 1
    values = blocks[at, position]
    first = np.append(True, at[1:] != at[:-1]) if len(at) else np.empty(0, bool)
    run = position - np.where(first, 0, np.append(0, position[:-1])[: len(at)]) - 1
    size = _sizes(values)
    last = np.zeros(len(blocks), np.int64)
    last[at] = position  # in ascending order: the last one stays
    for table in (0, 1):
        ac = huffman.ac[table]
        here = (component[at] > 0) == bool(table)
        key = at[here] << 10 | position[here] << 3
        put(key | 4, _with_value(ac, (run[here] % 16) << 4 | size[here], values[here], size[here]))
        for k in range(3):
            long = key[run[here] >= 16 * (k + 1)] | k
            put(long, (np.full(len(long), ac[0][0xF0]), np.full(len(long), ac[1][0xF0])))
        ended = np.flatnonzero(((component > 0) == bool(table)) & (last < 63)) << 10 | 64 << 3
        put(ended, (np.full(len(ended), ac[0][0]), np.full(len(ended), ac[1][0])))
    order = np.argsort(np.concatenate(keys), kind="stable")
    return np.concatenate(codes)[order], np.concatenate(lengths)[order]


def _bits(codes: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The codes' bits, one per entry, most significant first."""
    ends = np.cumsum(lengths)
    shift = np.repeat(ends, lengths) - 1 - np.arange(ends[-1])
    return (np.repeat(codes, lengths) >> shift & 1).astype(np.uint8)


def _scan(pixels: NDArray[np.uint8], tables: tuple[Table, ...], ratio: tuple[int, int]) -> Iterator[bytes]:
    """The entropy-coded data, in pieces."""
    unit_rows = 8 * ratio[1]
    rows = unit_rows * max(1, _BLOCKS_PER_CHUNK * 64 // (3 * pixels.shape[1] * unit_rows))
    before = [0, 0, 0]
    rest = np.empty(0, np.uint8)
    for start in range(0, len(pixels), rows):
        blocks, component = _component_blocks(pixels[start : start + rows], tables, ratio)
        bits = np.concatenate([rest, _bits(*_stream(blocks, component, before))])
        whole = len(bits) // 8 * 8
        rest = bits[whole:]
        yield np.packbits(bits[:whole]).tobytes().replace(b"\xff", b"\xff\x00")
    if len(rest):
        last = np.packbits(np.append(rest, np.ones(8 - len(rest), np.uint8))).tobytes()
        yield last.replace(b"\xff", b"\xff\x00")


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _icc_segments(icc: bytes) -> bytes:
    """The profile in as many APP2 segments as it needs."""
    parts = [icc[k : k + 65519] for k in range(0, len(icc), 65519)]
    heads = (b"ICC_PROFILE\x00" + bytes([k + 1, len(parts)]) for k in range(len(parts)))
    return b"".join(_segment(0xE2, head + part) for head, part in zip(heads, parts, strict=True))


def write_jpeg(
    pixels: NDArray[np.uint8],
    tables: tuple[Table, ...],
    ratio: tuple[int, int],
    *,
    icc: bytes | None,
    dpi: tuple[float, float] | None,
    extra: bytes = b"",
) -> bytes:
    """A baseline JPEG with given quantisation tables and chroma subsampling.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
    tables : three tables of 64 entries, natural order
        For Y, Cb and Cr.
    ratio : (int, int)
        Horizontal and vertical chroma reduction; their product is 8 at most. (1, 2) is 4:4:0.
    icc : bytes, optional
    dpi : (x, y), optional
    extra : bytes
        Whole segments, written after the first.

    Returns
    -------
    bytes
    """
    height, width = pixels.shape[:2]
    x, y = (round(value) for value in dpi) if dpi else (1, 1)
    jfif = b"JFIF\x00\x01\x01" + struct.pack(">BHHBB", 1 if dpi else 0, x, y, 0, 0)
    parts = [b"\xff\xd8", _segment(0xE0, jfif), extra, _icc_segments(icc) if icc else b""]
    wide = any(max(table) > 255 for table in tables)
    for number, table in enumerate(tables):
        entries = [table[position] for position in ZIGZAG]
        body = bytes([number | (16 if wide else 0)]) + struct.pack(f">64{'H' if wide else 'B'}", *entries)
        parts.append(_segment(_DQT, body))
    factors = (ratio[0] << 4 | ratio[1], 0x11, 0x11)
    frame = struct.pack(">BHHB", 8, height, width, 3)
    frame += b"".join(bytes([k + 1, factors[k], k]) for k in range(3))
    parts.append(_segment(_SOF1 if wide else _SOF0, frame))
    parts.extend(_segment(_DHT, payload) for payload in _standard_huffman().payloads)
    parts.append(_segment(_SOS, bytes([3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0])))
    return b"".join([*parts, *_scan(pixels, tables, ratio), b"\xff\xd9"])
