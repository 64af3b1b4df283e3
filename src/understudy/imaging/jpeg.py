"""What a JPEG's header says about how it was made: size, tables, sampling, colour model, metadata."""

from __future__ import annotations

from dataclasses import dataclass

SUBSAMPLING_OF_RATIO = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (1, 2): "4:4:0",
    (2, 2): "4:2:0",
    (4, 1): "4:1:1",
    (1, 4): "1x4",
    (4, 2): "4:1:0",
    (2, 4): "2x4",
}
"""Name of (horizontal, vertical) chroma reduction; turned ones that have no name are called by their numbers."""

RATIO_OF_SUBSAMPLING = {name: ratio for ratio, name in SUBSAMPLING_OF_RATIO.items()}

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE_MARKERS = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
ZIGZAG = tuple(sorted(range(64), key=lambda k: (k // 8 + k % 8, k // 8 if (k // 8 + k % 8) % 2 else k % 8)))
"""Natural position (8 x row + column) of the k-th entry of a stored table: diagonal by diagonal, to and fro."""

Table = tuple[int, ...]


@dataclass(frozen=True)
class JpegHeader:
    """Everything before the first scan that matters for writing the picture in the same way."""

    width: int
    height: int
    precision: int
    progressive: bool
    sampling: tuple[tuple[int, int], ...]
    """(horizontal, vertical) sampling factors, one pair per component."""
    tables: tuple[Table, ...]
    """Quantisation tables of 64 entries in natural order, one per component; empty where one is missing."""
    is_rgb: bool
    """Three components that are stored as RGB, not YCbCr."""
    exif: bytes | None
    has_more_pictures: bool
    """The file holds further pictures (MPO, gain map) after this one."""

    @property
    def subsampling(self) -> str | None:
        """Chroma subsampling by name; None for one component and for factors that have no name."""
        if len(self.sampling) < 3:
            return None
        (h0, v0), (h1, v1) = self.sampling[:2]
        if self.sampling[1] != self.sampling[2] or not h1 or not v1 or h0 % h1 or v0 % v1:
            return None
        return SUBSAMPLING_OF_RATIO.get((h0 // h1, v0 // v1))


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """(marker, payload) of every segment before the first scan."""
    found: list[tuple[int, bytes]] = []
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in (0xD9, 0xDA):
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + max(length, 2)
    return found


def _quantization_tables(payload: bytes) -> dict[int, Table]:
    """Tables of one DQT segment by number, in natural order."""
    tables: dict[int, Table] = {}
    at = 0
    while at < len(payload):
        wide, number = payload[at] >> 4, payload[at] & 15
        size = 2 if wide else 1
        raw = payload[at + 1 : at + 1 + 64 * size]
        if len(raw) < 64 * size:
            break
        natural = [0] * 64
        for k, position in enumerate(ZIGZAG):
            natural[position] = int.from_bytes(raw[k * size : (k + 1) * size], "big")
        tables[number] = tuple(natural)
        at += 1 + 64 * size
    return tables


def _stored_as_rgb(ids: tuple[int, ...], has_jfif: bool, adobe_transform: int | None) -> bool:
    """The rule of libjpeg for three components (jdapimin.c, default_decompress_parms)."""
    if len(ids) != 3 or has_jfif:
        return False
    if adobe_transform is not None:
        return adobe_transform == 0
    return ids == (0x52, 0x47, 0x42)


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """Parse the segments before the first scan.

    Parameters
    ----------
    data : bytes
        A JPEG file.

    Returns
    -------
    JpegHeader or None
        None where there is no frame header.
    """
    frame: tuple[int, bytes] | None = None
    tables: dict[int, Table] = {}
    exif: bytes | None = None
    adobe: int | None = None
    has_jfif = has_more = False
    for marker, payload in segments(data):
        if marker in _FRAME_MARKERS and frame is None and len(payload) >= 6 + 3 * payload[5]:
            frame = (marker, payload)
        elif marker == 0xDB:
            tables.update(_quantization_tables(payload))
        elif marker == 0xE0 and payload[:5] == b"JFIF\x00":
            has_jfif = True
        elif marker == 0xE1 and payload[:6] == b"Exif\x00\x00" and exif is None:
            exif = payload
        elif marker == 0xE2 and payload[:4] == b"MPF\x00":
            has_more = True
        elif marker == 0xEE and payload[:5] == b"Adobe" and len(payload) >= 12:
            adobe = payload[11]
    if frame is None:
        return None
    marker, payload = frame
    components = [payload[6 + 3 * k : 9 + 3 * k] for k in range(payload[5])]
    known = all(component[2] in tables for component in components)
    return JpegHeader(
        width=int.from_bytes(payload[3:5], "big"),
        height=int.from_bytes(payload[1:3], "big"),
        precision=payload[0],
        progressive=marker in _PROGRESSIVE_MARKERS,
        sampling=tuple((c[1] >> 4, c[1] & 15) for c in components),
        tables=tuple(tables[c[2]] for c in components) if known else (),
        is_rgb=_stored_as_rgb(tuple(c[0] for c in components), has_jfif, adobe),
        exif=exif,
        has_more_pictures=has_more,
    )


def upright_tables(tables: tuple[Table, ...], orientation: int) -> tuple[Table, ...]:
    """Tables for the upright picture: transposed where the orientation swaps rows and columns (5 to 8)."""
    if orientation < 5:
        return tables
    return tuple(tuple(table[8 * (k % 8) + k // 8] for k in range(64)) for table in tables)


def upright_subsampling(subsampling: str | None, orientation: int) -> str | None:
    """Subsampling for the upright picture: horizontal and vertical change places on quarter turns."""
    if orientation < 5 or subsampling is None:
        return subsampling
    h, v = RATIO_OF_SUBSAMPLING[subsampling]
    return SUBSAMPLING_OF_RATIO[v, h]
