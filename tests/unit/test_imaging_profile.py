"""Colour profiles, checked against a computation that does not use the colour library."""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from understudy.imaging import composite_native, decode, encode, to_native

# Columns: red, green, blue in XYZ, adapted to D50 (Bradford). Display P3 primaries, and sRGB's.
WIDE = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
GAMMA = 2.2


def matrix_profile(matrix: np.ndarray, gamma: float, space: bytes = b"RGB ") -> bytes:
    """An ICC v2 display profile of three primaries (or grey) and one gamma, written by hand."""

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \x00\x00\x00\x00" + struct.pack(">3i", *(round(v * 65536) for v in values))

    curve = b"curv\x00\x00\x00\x00" + struct.pack(">IH", 1, round(gamma * 256)) + b"\x00\x00"
    text = b"hand made\x00"
    desc = b"desc\x00\x00\x00\x00" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = {b"desc": desc, b"cprt": b"text\x00\x00\x00\x00none\x00", b"wtpt": xyz(np.array([0.9642, 1.0, 0.8249]))}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {b"rXYZ": xyz(matrix[:, 0]), b"gXYZ": xyz(matrix[:, 1]), b"bXYZ": xyz(matrix[:, 2])}
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\x00" * (-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02100000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(np.array([0.9642, 1.0, 0.8249]))[8:]
    return header.ljust(128, b"\x00") + table + body


def srgb_curve(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_linear(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def wide_to_srgb(values: np.ndarray) -> np.ndarray:
    linear = (values / 255) ** GAMMA @ WIDE.T @ np.linalg.inv(SRGB).T
    return srgb_curve(linear) * 255


def srgb_to_wide(values: np.ndarray) -> np.ndarray:
    linear = srgb_linear(values / 255) @ SRGB.T @ np.linalg.inv(WIDE).T
    return np.clip(linear, 0, 1) ** (1 / GAMMA) * 255


def saved(image: Image.Image, format_name: str, **arguments: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **arguments)
    return buffer.getvalue()


def mid_tones(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(4).integers(60, 200, (height, width, 3), dtype=np.uint8)


WIDE_ICC = matrix_profile(WIDE, GAMMA)


def test_view_of_a_wide_gamut_picture_is_srgb():
    """The view of a wide-gamut file equals matrix and curves computed by hand, and the native values are untouched."""
    pixels = mid_tones()
    source = decode(saved(Image.fromarray(pixels), "PNG", icc_profile=WIDE_ICC), "wide.png")
    assert np.array_equal(source.native, pixels)
    expected = wide_to_srgb(pixels)
    assert np.abs(expected - pixels).max() > 8  # else the test could not fail
    assert np.abs(source.view - expected).max() <= 1.5


def test_replaced_colors_are_written_in_the_files_profile():
    """Generated sRGB colours go into a wide-gamut file as that file's values, and look the same when it is viewed."""
    source = decode(saved(Image.fromarray(mid_tones()), "PNG", icc_profile=WIDE_ICC), "wide.png")
    pixels = mid_tones()[::-1].copy()
    mask = np.ones((20, 30), bool)
    native = composite_native(source, pixels, mask)
    assert np.abs(native - srgb_to_wide(pixels)).max() <= 1.5
    again = decode(encode(source, native).data, "wide.png")
    assert again.icc == source.icc == WIDE_ICC
    assert np.abs(again.view.astype(int) - pixels).max() <= 2


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tif", "a.png"])
def test_profile_stays_in_the_file(name):
    """The embedded profile is written again, byte for byte."""
    format_name = {"a.jpg": "JPEG", "a.webp": "WEBP", "a.tif": "TIFF", "a.png": "PNG"}[name]
    source = decode(saved(Image.fromarray(mid_tones()), format_name, icc_profile=WIDE_ICC), name)
    with Image.open(io.BytesIO(encode(source, source.native).data)) as image:
        assert image.info["icc_profile"] == WIDE_ICC


def test_deep_pictures_use_their_profile():
    """The view of a 16-bit wide-gamut PNG is sRGB too, and colours come back in its profile at 16 bits."""
    base = decode(saved(Image.fromarray(mid_tones()), "PNG", icc_profile=WIDE_ICC), "a.png")
    deep = base.native.astype(np.uint16) * 257
    source = type(base)("a.png", deep, "RGB;16", base.icc, base.view.copy(), base.digest, base.encoding)
    again = decode(encode(source, deep).data, "a.png")
    assert np.array_equal(again.view, base.view)
    values = to_native(mid_tones(), "RGB;16", again.icc)
    assert values.dtype == np.uint16
    assert np.abs(values / 257 - srgb_to_wide(mid_tones())).max() <= 1.5


def test_grey_profile_is_used():
    """A grey picture of gamma 1.8 is seen through its profile, and a grey is written back through it."""
    icc = matrix_profile(WIDE, 1.8, b"GRAY")
    levels = np.arange(40, 240, dtype=np.uint8)[None].repeat(2, axis=0)
    source = decode(saved(Image.fromarray(levels), "PNG", icc_profile=icc), "g.png")
    expected = srgb_curve((levels / 255) ** (round(1.8 * 256) / 256)) * 255
    assert np.abs(source.view - expected[..., None]).max() <= 1.5
    assert np.abs(expected - levels).max() > 8
    back = composite_native(source, source.view.copy(), np.ones(levels.shape, bool))
    assert np.abs(back.astype(int) - levels).max() <= 2


def test_srgb_profile_changes_nothing():
    """With an sRGB profile the view is the file's values exactly, and what is written is exactly what is shown."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = mid_tones()
    source = decode(saved(Image.fromarray(pixels), "PNG", icc_profile=icc), "s.png")
    assert np.array_equal(source.view, pixels)
    assert np.array_equal(composite_native(source, pixels, np.ones((20, 30), bool)), pixels)
    assert source.icc == icc


@pytest.mark.parametrize(
    "icc", [b"no profile at all", WIDE_ICC[:200], bytes(200), matrix_profile(WIDE, 1.8, b"GRAY"), b"x" * 5000]
)
def test_broken_or_unfitting_profile_is_dropped_with_a_note(icc):
    """A profile that is broken or belongs to grey pictures is ignored, is not written, and a note says so."""
    pixels = mid_tones()
    source = decode(saved(Image.fromarray(pixels), "PNG", icc_profile=icc), "b.png")
    assert np.array_equal(source.view, pixels)
    assert source.icc is None
    assert any("profile dropped" in note for note in source.notes)
    assert icc not in encode(source, source.native).data


def test_bytes_behind_a_profile_are_not_written():
    """What hides behind the profile's declared end is cut off."""
    source = decode(saved(Image.fromarray(mid_tones()), "TIFF", icc_profile=WIDE_ICC + b"SECRET"), "a.tif")
    assert source.icc == WIDE_ICC
    assert b"SECRET" not in encode(source, source.native).data


def test_threads_get_the_same_colors():
    """One profile used by eight threads at once gives the same view in each."""
    data = saved(Image.fromarray(mid_tones(200, 300)), "PNG", icc_profile=WIDE_ICC)
    expected = decode(data, "a.png").view
    with ThreadPoolExecutor(8) as pool:
        views = list(pool.map(lambda k: decode(data, f"{k}.png").view, range(24)))
    assert all(np.array_equal(view, expected) for view in views)


def test_transparent_and_wide_at_once():
    """RGBA with a profile: colours through the profile, alpha as it was."""
    pixels = np.dstack([mid_tones(), np.random.default_rng(1).integers(0, 256, (20, 30), dtype=np.uint8)])
    source = decode(saved(Image.fromarray(pixels), "PNG", icc_profile=WIDE_ICC), "a.png")
    assert np.abs(source.view - wide_to_srgb(pixels[..., :3])).max() <= 1.5
    native = composite_native(source, mid_tones()[::-1].copy(), np.ones((20, 30), bool))
    assert np.array_equal(native[..., 3], pixels[..., 3])
