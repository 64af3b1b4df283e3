"""Reading pictures: modes, depth, orientation, kinds."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from understudy.errors import NotMediaError, RefusedImageError, UnreadableImageError
from understudy.imaging import decode, encode, sniff

# An F in a field: no mirror or turn maps it onto itself. Large cells, so that JPEG and WebP keep it.
LETTER = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
F_PIXELS = np.where(np.kron(LETTER, np.ones((16, 16), bool))[..., None], [220, 60, 40], [20, 90, 200]).astype(np.uint8)

# Stored pixels for each orientation, made with Pillow's transpositions: the inverse of what a viewer does.
STORE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def saved(image: Image.Image, format_name: str, **arguments: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **arguments)
    return buffer.getvalue()


def oriented(orientation: int, format_name: str, **arguments: object) -> bytes:
    image = Image.fromarray(F_PIXELS)
    if (how := STORE[orientation]) is not None:
        image = image.transpose(how)
    exif = Image.Exif()
    exif[274] = orientation
    return saved(image, format_name, exif=exif, **arguments)


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def chunked_png(width: int, height: int, depth: int, color_type: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG by the book, each row unfiltered: the second implementation for 16-bit files."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    n = len(rows) // height
    filtered = b"".join(b"\x00" + rows[k * n : (k + 1) * n] for k in range(height))
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(filtered)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format_name", "arguments"), [("JPEG", {"quality": 95}), ("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_every_orientation_is_turned_upright(orientation, format_name, arguments):
    """All eight EXIF orientations give the same upright picture, in native values and in the view."""
    source = decode(oriented(orientation, format_name, **arguments), "f." + format_name.lower())
    assert source.orientation == orientation
    for pixels in (source.native, source.view):
        assert pixels.shape == F_PIXELS.shape
        difference = np.abs(pixels.astype(int) - F_PIXELS)
        assert np.median(difference) <= 2
        assert (difference > 60).mean() < 0.02


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiff_is_turned_upright(orientation):
    """16-bit RGB TIFFs, which take another way through the decoder, are upright too, bit for bit."""
    deep = F_PIXELS.astype(np.uint16) * 257 + 3
    turned = {1: deep, 2: deep[:, ::-1], 3: deep[::-1, ::-1], 4: deep[::-1]}
    turned |= {5: deep.swapaxes(0, 1), 6: np.rot90(deep), 7: np.rot90(deep, 2).swapaxes(0, 1), 8: np.rot90(deep, -1)}
    ok, raw = cv2.imencode(".tiff", np.ascontiguousarray(turned[orientation][..., ::-1]))
    assert ok
    data = bytearray(raw.tobytes())
    at = struct.unpack_from("<I", data, 4)[0]
    entries = [data[at + 2 + 12 * k : at + 14 + 12 * k] for k in range(struct.unpack_from("<H", data, at)[0])]
    entries = [entry for entry in entries if entry[:2] != struct.pack("<H", 274)]
    entries = sorted(
        [*entries, struct.pack("<HHIHH", 274, 3, 1, orientation, 0)], key=lambda e: struct.unpack("<H", e[:2])
    )
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + b"\x00" * 4
    where = len(data) + len(data) % 2
    data[4:8] = struct.pack("<I", where)
    source = decode(bytes(data).ljust(where, b"\x00") + directory, "f.tif")
    assert (source.mode, source.orientation) == ("RGB;16", orientation)
    assert np.array_equal(source.native, deep)


@pytest.mark.parametrize(
    ("mode", "format_name"),
    [(mode, name) for name in ("PNG", "TIFF") for mode in ("L", "LA", "RGB", "RGBA")] + [("RGB", "BMP"), ("L", "BMP")],
)
def test_lossless_files_keep_mode_and_values(mode, format_name):
    """Native values of a lossless file are the file's own, in its own mode."""
    n_channels = len(mode)
    pixels = noise(13, 17, n_channels) if n_channels > 1 else noise(13, 17)
    source = decode(saved(Image.fromarray(pixels), format_name), "a." + format_name.lower())
    assert source.mode == mode
    assert np.array_equal(source.native, pixels)
    color = pixels[..., :3] if n_channels >= 3 else np.repeat(pixels.reshape(13, 17, -1)[..., :1], 3, axis=2)
    assert np.array_equal(source.view, color)


@pytest.mark.parametrize(
    ("color_type", "channels", "mode"), [(0, 1, "I;16"), (2, 3, "RGB;16"), (4, 2, "LA;16"), (6, 4, "RGBA;16")]
)
def test_deep_png_keeps_all_16_bits(color_type, channels, mode):
    """Every 16-bit PNG colour type is decoded bit for bit, channels in their order, from a file written by the book."""
    values = noise(9, 11, channels, dtype=np.uint16)
    source = decode(chunked_png(11, 9, 16, color_type, values.astype(">u2").tobytes()), "deep.png")
    assert source.mode == mode
    assert source.native.dtype == np.uint16
    assert np.array_equal(source.native.reshape(9, 11, channels), values)
    first = np.round(values[..., 0] / 257).astype(np.uint8)
    assert np.array_equal(source.view[..., 0], first)


@pytest.mark.parametrize(("color_type", "key", "mode"), [(0, (700,), "LA;16"), (2, (700, 800, 900), "RGBA;16")])
def test_deep_png_color_key_becomes_alpha(color_type, key, mode):
    """The one transparent colour of a 16-bit PNG without alpha becomes an alpha channel."""
    values = np.zeros((2, 3, len(key)), np.uint16)
    values[1, 2] = key
    body = struct.pack(f">{len(key)}H", *key)
    trns = struct.pack(">I", len(body)) + b"tRNS" + body + struct.pack(">I", zlib.crc32(b"tRNS" + body))
    source = decode(chunked_png(3, 2, 16, color_type, values.astype(">u2").tobytes(), trns), "key.png")
    assert source.mode == mode
    assert source.native[..., -1].tolist() == [[65535, 65535, 65535], [65535, 65535, 0]]
    assert np.array_equal(source.native[..., :-1], values)


@pytest.mark.parametrize("channels", [3, 4])
def test_deep_tiff_keeps_all_16_bits(channels):
    """16-bit RGB and RGBA TIFFs are decoded bit for bit; the file is OpenCV's, the expectation is not."""
    values = noise(9, 11, channels, dtype=np.uint16)
    ok, raw = cv2.imencode(".tiff", values[..., [2, 1, 0, 3][:channels]])
    assert ok
    source = decode(raw.tobytes(), "deep.tif")
    if source.mode == "RGB;16":  # OpenCV may leave the fourth channel undeclared
        assert np.array_equal(source.native, values[..., :3])
    else:
        assert np.array_equal(source.native, values)


def test_deep_tiff_of_separate_planes_is_refused():
    """16-bit planes stored one after the other, which OpenCV reads wrongly without saying so, are refused."""
    ok, raw = cv2.imencode(".tiff", noise(9, 11, 3, dtype=np.uint16))
    assert ok
    data = bytearray(raw.tobytes())
    at = struct.unpack_from("<I", data, 4)[0]
    tags = {struct.unpack_from("<H", data, at + 2 + 12 * k)[0]: at + 10 + 12 * k for k in range(data[at])}
    struct.pack_into("<H", data, tags[284], 2)
    with pytest.raises(RefusedImageError, match="save it interleaved"):
        decode(bytes(data), "planes.tif")


def test_deep_grey_tiff_with_white_as_zero_is_inverted():
    """In a "white is zero" TIFF the value 0 is white, and the view shows it white."""
    data = bytearray(saved(Image.fromarray(np.array([[0, 65535]], np.uint16)), "TIFF"))
    at = struct.unpack_from("<I", data, 4)[0]
    for k in range(struct.unpack_from("<H", data, at)[0]):
        if struct.unpack_from("<H", data, at + 2 + 12 * k)[0] == 262:
            struct.pack_into("<H", data, at + 2 + 12 * k + 8, 0)
    source = decode(bytes(data), "w.tif")
    assert source.native.tolist() == [[65535, 0]]
    assert source.view[0, :, 0].tolist() == [255, 0]


def test_bmp_with_declared_alpha_keeps_it():
    """The alpha of a BMP with a version 4 header stays, through decoding and encoding."""
    pixels = noise(5, 7, 4)
    body = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    header = struct.pack(
        "<IiiHHIIiiII4I", 108, 7, 5, 1, 32, 3, len(body), 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, 0xFF000000
    )
    data = b"BM" + struct.pack("<III", 122 + len(body), 0, 122) + header.ljust(108, b"\x00") + body
    source = decode(data, "a.bmp")
    assert np.array_equal(source.native, pixels)
    assert np.array_equal(decode(encode(source, source.native).data, "a.bmp").native, pixels)


def test_one_bit_pictures_are_black_and_white():
    """1-bit pictures become 0 and 255."""
    bits = noise(9, 11) > 127
    for format_name in ("PNG", "TIFF", "BMP"):
        source = decode(saved(Image.fromarray(bits), format_name), "b." + format_name.lower())
        assert source.mode == "L"
        assert np.array_equal(source.native, np.where(bits, 255, 0))


def test_palette_becomes_color():
    """A palette picture becomes RGB, or RGBA where the palette holds transparent entries."""
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    plain = decode(saved(image, "PNG"), "p.png")
    assert (plain.mode, plain.native[0, 1].tolist()) == ("RGB", [40, 50, 60])
    clear = decode(saved(image, "PNG", transparency=bytes([255, 0, 128])), "p.png")
    assert clear.mode == "RGBA"
    assert clear.native[0, 1].tolist() == [40, 50, 60, 0]
    assert clear.view[0, 1].tolist() == [40, 50, 60]


def test_colors_under_full_transparency_are_seen():
    """A face hidden under alpha 0 is in the view, so that it is found and replaced."""
    pixels = noise(8, 8, 4)
    pixels[..., 3] = 0
    source = decode(saved(Image.fromarray(pixels), "PNG"), "hidden.png")
    assert np.array_equal(source.view, pixels[..., :3])


def test_cmyk_is_read_as_srgb_and_noted():
    """CMYK without a profile is converted by the plain rule, RGB = (1 - C)(1 - K), and a note says so."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 255, 51
    source = decode(saved(Image.frombytes("CMYK", (16, 16), pixels.tobytes()), "TIFF"), "c.tif")
    assert source.mode == "RGB"
    assert "cmyk written as srgb" in source.notes
    assert np.abs(source.native[3, 3].astype(int) - [0, 204, 204]).max() <= 1


def test_cmyk_jpeg_is_not_inverted():
    """White paper in a CMYK JPEG with Adobe's inverted values is white."""
    data = saved(Image.frombytes("CMYK", (16, 16), bytes(4 * 256)), "JPEG", quality=95)
    assert decode(data, "c.jpg").native.min() >= 253


def test_lab_tiff_is_read_as_srgb():
    """L* = 50 without colour is sRGB 119 (CIE 15: Y = 18.4 %)."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[..., 0] = 128  # 128 / 255 x 100 = 50.2
    source = decode(saved(Image.frombytes("LAB", (4, 4), pixels.tobytes()), "TIFF"), "lab.tif")
    assert source.mode == "RGB"
    assert np.abs(source.native.astype(int) - 119).max() <= 2
    assert "lab written as srgb" in source.notes


def test_unusual_gamma_is_noted():
    """A PNG that asks for a gamma of 1.0 is read as it is, and a note says that the gamma is dropped."""
    body = b"gAMA" + struct.pack(">I", 100_000)
    gama = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    source = decode(chunked_png(2, 1, 8, 0, b"\x10\x20", gama), "g.png")
    assert source.native.tolist() == [[16, 32]]
    assert source.notes == ("png gamma 1.000 dropped, colours taken as srgb",)


def test_digest_is_of_the_file():
    """The digest is the SHA-256 of the bytes that were given."""
    data = saved(Image.fromarray(noise(8, 8)), "PNG")
    assert decode(data, "d.png").digest == hashlib.sha256(data).digest()


def test_first_of_several_phone_pictures_is_used():
    """Of a multi-picture JPEG the first is used, and a note says so."""
    image = Image.fromarray(F_PIXELS)
    data = saved(image, "MPO", save_all=True, append_images=[image.rotate(180)], quality=95)
    source = decode(data, "phone.jpg")
    assert np.median(np.abs(source.native.astype(int) - F_PIXELS)) <= 2
    assert any("first of several" in note for note in source.notes)
    assert data.count(b"\xff\xd8\xff") == 2
    assert encode(source, source.native).data.count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_and_pages_are_refused(format_name):
    """Animated GIF, WebP and PNG, and TIFF with several pages, are refused with the number of frames or pages."""
    frames = [Image.fromarray(noise(16, 16, seed=k)) for k in range(3)]
    data = saved(frames[0].convert("RGB"), format_name, save_all=True, append_images=frames[1:])
    with pytest.raises(RefusedImageError, match=r"with 3 (frames|pages)"):
        decode(data, "a." + format_name.lower())


@pytest.mark.parametrize("mode", ["F", "I"])
def test_floating_and_32_bit_tiffs_are_refused(mode):
    """Values without an agreed white are refused, with the way out."""
    with pytest.raises(RefusedImageError, match="convert it to 8 or 16 bits"):
        decode(saved(Image.new(mode, (4, 4)), "TIFF"), "x.tif")


def test_camera_raw_is_refused():
    """A camera raw file is not taken for the small picture inside it."""
    data = saved(Image.fromarray(noise(8, 8)), "TIFF")
    with pytest.raises(RefusedImageError, match="camera raw"):
        decode(data, "photo.NEF")


KINDS = {
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "image/tiff": b"MM\x00*\x00\x00\x00\x08",
    "image/bmp": b"BM" + bytes(12) + b"\x28\x00\x00\x00",
    "image/heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
    "image/avif": b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif",
    "video/mp4": b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42",
    "video/quicktime": b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ",
    "video/x-matroska": b"\x1a\x45\xdf\xa3\x01",
    "video/x-msvideo": b"RIFF\x00\x00\x00\x00AVI LIST",
    None: b"Dear diary, BMW and GIFs",
}


@pytest.mark.parametrize(("kind", "head"), KINDS.items())
def test_kind_is_told_by_content(kind, head):
    """The first bytes tell the kind; prose, audio and short files are no media."""
    assert sniff(head) == kind
    assert sniff(b"") is None
    assert sniff(b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A ") is None


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("notes.txt", b"hello", NotMediaError, "neither a picture nor a video"),
        ("empty.txt", b"", NotMediaError, "neither"),
        ("empty.jpg", b"", UnreadableImageError, "empty"),
        ("text.JPG", b"hello there", UnreadableImageError, "holds no picture"),
        ("text.mp4", b"hello there", UnreadableImageError, "holds no picture"),
        ("clip.mp4", KINDS["video/mp4"], RefusedImageError, "pictures are read here"),
        ("clip.jpg", KINDS["video/mp4"], RefusedImageError, "pictures are read here"),
        ("a.avif", KINDS["image/avif"], RefusedImageError, "convert it"),
        ("a.jpg", KINDS["image/jpeg"], UnreadableImageError, "a.jpg"),
    ],
)
def test_what_is_no_picture_is_told_apart(name, content, error, says):
    """No media, a broken picture and a video are three different errors, and each names the file."""
    with pytest.raises(error, match=says) as raised:
        decode(content, name)
    assert name in str(raised.value)


def test_content_decides_over_the_name():
    """A PNG that is named .jpg, or has no extension, is read as PNG."""
    data = saved(Image.fromarray(noise(8, 8)), "PNG")
    assert {decode(data, name).encoding.format for name in ("a.jpg", "a", "a.txt")} == {"PNG"}
