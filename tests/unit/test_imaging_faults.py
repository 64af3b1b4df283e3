"""Hostile and damaged files: bombs, truncation, random damage. Only the project's own errors may come out."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from understudy.errors import NotMediaError, RefusedImageError, UnderstudyError, UnreadableImageError
from understudy.imaging import decode, encode


def saved(image: Image.Image, format_name: str, **arguments: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **arguments)
    return buffer.getvalue()


def picture(height: int = 24, width: int = 32, channels: int = 3) -> Image.Image:
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (height, width, channels), dtype=np.uint8))


def deep(extension: str) -> bytes:
    values = np.random.default_rng(7).integers(0, 65536, (24, 32, 3), dtype=np.uint16)
    return cv2.imencode(extension, values)[1].tobytes()


SMALL = {
    "a.jpg": saved(picture(), "JPEG", quality=80),
    "progressive.jpg": saved(picture(), "JPEG", quality=80, progressive=True),
    "a.png": saved(picture(), "PNG"),
    "palette.png": saved(picture().quantize(17), "PNG", transparency=3),
    "deep.png": deep(".png"),
    "a.webp": saved(picture(), "WEBP"),
    "lossless.webp": saved(picture(channels=4), "WEBP", lossless=True),
    "a.tif": saved(picture(), "TIFF"),
    "lzw.tif": saved(picture(), "TIFF", compression="tiff_lzw"),
    "deep.tif": deep(".tiff"),
    "a.bmp": saved(picture(), "BMP"),
    "a.gif": saved(picture().quantize(17), "GIF"),
}


def png_header(width: int, height: int, depth: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d" + body + struct.pack(">I", zlib.crc32(body)) + bytes(64)


def resized_header(data: bytes, name: str, width: int, height: int) -> bytes:
    """The same file with another size in its header."""
    raw = bytearray(data)
    if name.endswith(".jpg"):
        at = max(raw.find(b"\xff\xc0"), raw.find(b"\xff\xc2"))
        struct.pack_into(">HH", raw, at + 5, height, width)
    elif name.endswith(".bmp"):
        struct.pack_into("<ii", raw, 18, width, height)
    elif name.endswith(".gif"):
        struct.pack_into("<HH", raw, 6, width, height)
    elif name.endswith(".webp"):
        at = raw.find(b"VP8L") + 9
        struct.pack_into("<I", raw, at, (width - 1) | (height - 1) << 14)
    else:
        at = struct.unpack_from("<I", raw, 4)[0]
        for k in range(struct.unpack_from("<H", raw, at)[0]):
            tag, kind = struct.unpack_from("<HH", raw, at + 2 + 12 * k)
            if tag in (256, 257):
                struct.pack_into("<I" if kind == 4 else "<H", raw, at + 10 + 12 * k, width if tag == 256 else height)
    return bytes(raw)


BOMBS = {
    "bomb.png": png_header(40_000, 40_000, 8),
    "deep_bomb.png": png_header(40_000, 40_000, 16),
    "bomb.jpg": resized_header(SMALL["a.jpg"], "a.jpg", 40_000, 40_000),
    "bomb.webp": resized_header(SMALL["lossless.webp"], "a.webp", 16_383, 16_383),
    "bomb.tif": resized_header(SMALL["a.tif"], "a.tif", 40_000, 40_000),
    "deep_bomb.tif": resized_header(SMALL["deep.tif"], "a.tif", 40_000, 40_000),
    "bomb.bmp": resized_header(SMALL["a.bmp"], "a.bmp", 40_000, 40_000),
    "bomb.gif": resized_header(SMALL["a.gif"], "a.gif", 40_000, 40_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_from_its_header(name):
    """A picture of 40,000 x 40,000 px is refused with its size and the way out, without memory for its pixels."""
    tracemalloc.start()
    try:
        with pytest.raises(RefusedImageError, match=r"megapixels, over the limit of 200; raise max_pixels"):
            decode(BOMBS[name], name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


def test_chunk_that_claims_gigabytes_is_unreadable():
    """A length of 3 GB inside a small 16-bit PNG is found before a decoder believes it."""
    raw = bytearray(SMALL["deep.png"])
    raw[33] = 0xB5
    with pytest.raises(UnreadableImageError, match=r"deep\.png"):
        decode(bytes(raw), "deep.png")


@pytest.mark.parametrize("name", SMALL)
def test_limit_is_the_callers(name):
    """The pixel limit is exact: a picture at the limit is read, one pixel less is refused."""
    assert decode(SMALL[name], name, max_pixels=24 * 32).view.shape == (24, 32, 3)
    with pytest.raises(RefusedImageError, match="32 x 24 px"):
        decode(SMALL[name], name, max_pixels=24 * 32 - 1)


@pytest.mark.parametrize("name", SMALL)
def test_truncated_files_are_unreadable(name):
    """Cut off at ten places, a file is never read as if it were whole, and no other error comes out."""
    data = SMALL[name]
    for cut in np.linspace(0, len(data) * 0.9, 10).astype(int):
        with pytest.raises(UnreadableImageError, match=name):
            decode(data[:cut], name)


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_raise_only_our_errors(name, data):
    """Random bytes changed at random places: the file is read, or one of our errors is raised."""
    raw = bytearray(SMALL[name])
    n_places = data.draw(st.integers(1, 8))
    for _ in range(n_places):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        source = decode(bytes(raw), name, max_pixels=1_000_000)
    except UnderstudyError:
        return
    assert source.native.shape[:2] == source.view.shape[:2]
    if source.view.size < 300_000:
        encode(source, source.native)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(head=st.sampled_from([data[:n] for data in SMALL.values() for n in (4, 12, 26)]), tail=st.binary(max_size=80))
def test_noise_behind_a_known_head_raises_only_our_errors(head, tail):
    """A file that only begins like a picture is refused by our errors."""
    with pytest.raises((UnreadableImageError, RefusedImageError, NotMediaError)):
        decode(head + tail, "a.jpg", max_pixels=10_000)


@pytest.mark.parametrize("shape", [(1, 1), (900, 3), (3, 900)])
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_extreme_shapes_are_read_and_written(format_name, shape):
    """1 x 1 and 3 x 900 pictures go through like any other."""
    image = picture(*shape)
    data = saved(image.quantize(8) if format_name == "GIF" else image, format_name)
    source = decode(data, "a." + format_name.lower())
    again = decode(encode(source, source.native).data, "a." + format_name.lower())
    assert again.view.shape == (*shape, 3)


def test_missing_heic_extra_is_said(monkeypatch):
    """Without pillow-heif a HEIC file is refused, and the message says what to install."""
    import builtins

    real = builtins.__import__

    def absent(name: str, *rest: object) -> object:
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(RefusedImageError, match=r"a\.heic: .*understudy\[heic\]"):
        decode(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100), "a.heic")


def test_damaged_heic_raises_only_our_errors():
    """HEIC files cut off or damaged anywhere are read or unreadable, and never crash."""
    heif = pytest.importorskip("pillow_heif", reason="needs the extra [heic]")
    buffer = io.BytesIO()
    heif.from_bytes("RGB", (32, 24), picture().tobytes()).save(buffer, quality=50)
    whole = buffer.getvalue()
    rng = np.random.default_rng(11)
    for cut in np.linspace(30, len(whole) * 0.9, 10).astype(int):
        with pytest.raises(UnderstudyError, match=r"a\.heic"):
            decode(whole[:cut], "a.heic")
    for _ in range(60):
        raw = bytearray(whole)
        raw[rng.integers(len(raw))] = rng.integers(256)
        try:
            decode(bytes(raw), "a.heic", max_pixels=10_000)
        except UnderstudyError:
            continue
