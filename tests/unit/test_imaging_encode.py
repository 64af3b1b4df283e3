"""Writing pictures: same format, tables, sampling, depth and mode; compositing into native values."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin

from understudy.errors import InvalidInputError
from understudy.imaging import composite_native, decode, encode, jpeg_writer, reencode_error, to_native
from understudy.types import SourceImage

QUARTER_TURNS = (5, 6, 7, 8)


def saved(image: Image.Image, format_name: str, **arguments: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **arguments)
    return buffer.getvalue()


def noise(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def scene(height: int = 96, width: int = 128) -> np.ndarray:
    """Soft colours with some texture: what JPEG is made for."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([128 + 90 * np.sin(x / 9 + y / 23), 128 + 80 * np.cos(x / 17 - y / 11), 60 + y + 0 * x], axis=2)
    return np.clip(waves + noise(height, width, 3) / 16, 0, 255).astype(np.uint8)


def written(source: SourceImage, **arguments: object) -> SourceImage:
    encoded = encode(source, source.native, **arguments)
    return decode(encoded.data, source.image_id + encoded.suffix)


def jpeg(orientation: int = 1, **arguments: object) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return saved(Image.fromarray(scene()), "JPEG", exif=exif, **arguments)


def tables_of(data: bytes) -> list[list[int]]:
    """Quantisation tables per component, as Pillow reads them."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return [list(image.quantization[component[3]]) for component in image.layer]


@pytest.mark.parametrize("quality", [35, 75, 92, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_keeps_tables_and_subsampling(quality, subsampling):
    """A written JPEG has the source's quantisation tables and chroma subsampling."""
    data = jpeg(quality=quality, subsampling=subsampling)
    source = decode(data, "a.jpg")
    again = encode(source, source.native).data
    assert tables_of(again) == tables_of(data)
    with Image.open(io.BytesIO(data)) as a, Image.open(io.BytesIO(again)) as b:
        assert JpegImagePlugin.get_sampling(a) == JpegImagePlugin.get_sampling(b)
        assert (a.size, a.mode) == (b.size, b.mode)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_tables_are_transposed_on_quarter_turns(orientation):
    """On a quarter turn rows become columns, in the picture and in its quantisation tables."""
    lopsided = [[1 + 3 * (k % 8) + k // 8 for k in range(64)], [2 + 2 * (k % 8) + k // 8 for k in range(64)]]
    data = jpeg(orientation, qtables=lopsided, subsampling="4:2:0")
    source = decode(data, "a.jpg")
    expected = [np.array(table).reshape(8, 8) for table in lopsided]
    if orientation in QUARTER_TURNS:
        expected = [table.T for table in expected]
    found = tables_of(encode(source, source.native).data)
    assert found == [table.ravel().tolist() for table in (expected[0], expected[1], expected[1])]


def test_three_tables_and_large_entries_stay():
    """A table for each component, and entries over 255, are kept."""
    three = [[7] * 64, [300] * 64, [23] * 64]
    data = saved(Image.fromarray(scene()), "JPEG", qtables=three)
    source = decode(data, "a.jpg")
    assert tables_of(encode(source, source.native).data) == three


def test_progressive_stays_progressive():
    """A progressive JPEG is written progressive, a baseline one baseline."""
    for progressive in (True, False):
        source = decode(jpeg(progressive=progressive), "a.jpg")
        with Image.open(io.BytesIO(encode(source, source.native).data)) as image:
            assert bool(image.info.get("progressive")) is progressive


def test_jpeg_stored_as_rgb_stays_so():
    """A JPEG that stores RGB is written as RGB, with its one table."""
    data = jpeg(quality=90, keep_rgb=True)
    source = decode(data, "a.jpg")
    again = encode(source, source.native).data
    assert tables_of(again) == tables_of(data)
    with Image.open(io.BytesIO(again)) as image:
        assert [component[0] for component in image.layer] == [ord(c) for c in "RGB"]
    assert np.abs(decode(again, "a.jpg").native.astype(int) - source.native).mean() < 3


def test_untouched_jpeg_errs_like_a_plain_reencode():
    """With nothing replaced, the error is that of decoding and encoding with the same tables, computed with Pillow."""
    data = jpeg(quality=85)
    source = decode(data, "a.jpg")
    error = reencode_error(source, encode(source, source.native), np.zeros(source.view.shape[:2], bool))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        plain = saved(image, "JPEG", quality="keep")
        difference = np.abs(np.asarray(Image.open(io.BytesIO(plain))).astype(int) - np.asarray(image))
    assert error.mean_abs == pytest.approx(difference.mean(), abs=1e-9)
    assert error.max_abs == difference.max()
    assert (error.plain_mean_abs, error.plain_max_abs) == (error.mean_abs, error.max_abs)


def test_reencoding_error_looks_outside_the_mask_only():
    """What is replaced does not count as error; one whole block away from it, the error is the plain one."""
    noisy = saved(Image.fromarray(noise(96, 128, 3, seed=2)), "JPEG", quality=60, subsampling="4:4:4")
    source = decode(noisy, "a.jpg")
    replaced = np.zeros(source.view.shape[:2], bool)
    replaced[32:64, 32:64] = True
    native = composite_native(source, noise(96, 128, 3), replaced)
    error = reencode_error(source, encode(source, native), replaced)
    assert error == reencode_error(source, encode(source, source.native), replaced)  # the mask ends on block edges
    assert 0 < error.mean_abs < 3
    everything = np.ones_like(replaced)
    assert np.isnan(reencode_error(source, encode(source, native), everything).mean_abs)


def test_lossless_error_is_zero():
    """Files without loss err by nothing."""
    source = decode(saved(Image.fromarray(scene()), "PNG"), "a.png")
    encoded = encode(source, source.native)
    assert encoded.lossless
    assert reencode_error(source, encoded, np.zeros((96, 128), bool)).max_abs == 0
    assert np.array_equal(decode(encoded.data, "a.png").native, source.native)


LOSSLESS = [
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", {"compression": "packbits"}),
]


@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 2), (9, 11, 3), (9, 11, 4), (1, 1, 3), (1, 1)])
@pytest.mark.parametrize(("format_name", "arguments"), LOSSLESS)
def test_lossless_formats_come_back_bit_for_bit(format_name, arguments, shape):
    """8-bit PNG and TIFF in every mode: what is decoded, written and decoded again is the same, down to one pixel."""
    source = decode(saved(Image.fromarray(noise(*shape)), format_name, **arguments), "a." + format_name.lower())
    again = written(source)
    assert again.mode == source.mode
    assert np.array_equal(again.native, source.native)
    assert again.encoding.options.get("compression") == source.encoding.options.get("compression")


@pytest.mark.parametrize("shape", [(9, 11), (1, 1), (300, 7)])
@pytest.mark.parametrize(
    ("mode", "format_name"),
    [(mode, "PNG") for mode in ("I;16", "LA;16", "RGB;16", "RGBA;16")]
    + [(mode, "TIFF") for mode in ("I;16", "RGB;16", "RGBA;16")],
)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_16_bit_comes_back_bit_for_bit(mode, shape, format_name, compression):
    """16-bit PNG and TIFF keep all their bits; the written file is read by another decoder as well."""
    n_channels = {"I;16": 1, "LA;16": 2, "RGB;16": 3, "RGBA;16": 4}[mode]
    values = noise(*shape, n_channels, dtype=np.uint16) if n_channels > 1 else noise(*shape, dtype=np.uint16)
    source = made(values, mode, format_name, {"compression": compression, "extra_samples": 2})
    encoded = encode(source, values)
    again = decode(encoded.data, "a")
    assert (encoded.suffix, again.mode, again.encoding.format) == ("", mode, format_name)
    assert np.array_equal(again.native, values)
    with Image.open(io.BytesIO(encoded.data)) as image:
        other = np.asarray(image)
    other = other[..., [0, 3]] if mode == "LA;16" else other  # Pillow reads grey with alpha as RGBA
    top = other if other.dtype == np.uint16 else other.astype(np.uint16) * 257
    assert np.abs(top.astype(int) - values).max() <= 257


def made(values: np.ndarray, mode: str, format_name: str, options: dict[str, object]) -> SourceImage:
    """A source with given native values and encoding."""
    base = decode(saved(Image.new("RGB", values.shape[1::-1]), "PNG"), "a")
    encoding = type(base.encoding)(format_name, options=options)
    return SourceImage("a", values.copy(), mode, None, base.view.copy(), base.digest, encoding)


def test_one_bit_stays_one_bit_until_greys_come():
    """A 1-bit TIFF with Group 4 compression is written so again if nothing changed, else as 8-bit grey."""
    bits = noise(64, 64) > 127
    source = decode(saved(Image.fromarray(bits), "TIFF", compression="group4"), "fax.tif")
    with Image.open(io.BytesIO(encode(source, source.native).data)) as image:
        assert (image.mode, image.info["compression"]) == ("1", "group4")
        assert np.array_equal(np.asarray(image), bits)
    changed = source.native.copy()
    changed[0, 0] = 100
    again = encode(source, changed)
    assert np.array_equal(decode(again.data, "fax.tif").native, changed)


def palette_image(format_name: str, **arguments: object) -> bytes:
    index = noise(24, 24) % 200
    image = Image.fromarray(index)
    image.putpalette(noise(256, 3, seed=3).tobytes())
    return saved(image, format_name, **arguments)


@pytest.mark.parametrize("format_name", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette_is_kept_while_it_fits(format_name):
    """A palette file with nothing replaced keeps a palette and every colour."""
    source = decode(palette_image(format_name), "p." + format_name.lower())
    encoded = encode(source, source.native, mark=False)
    assert (encoded.suffix, encoded.notes) == ("", ())
    with Image.open(io.BytesIO(encoded.data)) as image:
        assert image.mode == "P"
    assert np.array_equal(decode(encoded.data, "p").native, source.native)


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_transparent_palette_comes_back(format_name):
    """Transparent palette entries keep their transparency."""
    source = decode(palette_image(format_name, transparency=7), "p." + format_name.lower())
    assert source.mode == "RGBA"
    again = written(source)
    assert again.encoding.format == format_name
    assert np.array_equal(again.native[..., 3], source.native[..., 3])
    shown = source.native[..., 3] > 0
    assert np.array_equal(again.native[shown], source.native[shown])


def test_new_colors_end_the_palette():
    """With more than 256 colours a palette PNG is written as RGB, and a GIF as PNG, said in suffix and notes."""
    for format_name, suffix in (("PNG", ""), ("GIF", ".png")):
        source = decode(palette_image(format_name), "p." + format_name.lower())
        mask = np.zeros((24, 24), bool)
        mask[4:20, 4:20] = True
        native = composite_native(source, noise(24, 24, 3, seed=9), mask)
        encoded = encode(source, native)
        assert encoded.suffix == suffix
        assert bool(encoded.notes) == bool(suffix)
        assert np.array_equal(decode(encoded.data, "p" + suffix).native, native)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("channels", [3, 4])
def test_webp_keeps_its_kind(lossless, channels):
    """A lossless WebP stays lossless, hidden colours included; a lossy one stays lossy and near."""
    pixels = np.dstack([scene(), noise(96, 128)])[..., :channels]
    if channels == 4:
        pixels[:48, :, 3] = 0
    data = saved(Image.fromarray(pixels), "WEBP", lossless=lossless, exact=True, quality=90)
    source = decode(data, "a.webp")
    assert source.encoding.options["lossless"] is lossless
    encoded = encode(source, source.native)
    again = decode(encoded.data, "a.webp")
    assert (encoded.lossless, again.encoding.options["lossless"], again.mode) == (lossless, lossless, source.mode)
    if lossless:
        assert np.array_equal(source.native, pixels)
        assert np.array_equal(again.native, pixels)
    else:
        assert np.abs(again.native.astype(int) - source.native).mean() < 2


def test_what_a_format_cannot_hold_becomes_png():
    """Where the source's encoder fails, a PNG is written, and the note tells why."""
    wide = np.zeros((1, 20_000, 3), np.uint8)  # WebP ends at 16,383 px
    encoded = encode(made(wide, "RGB", "WEBP", {"lossless": True}), wide)
    assert encoded.suffix == ".png"
    assert "written as png" in encoded.notes[0]
    assert decode(encoded.data, "a.png").native.shape == wide.shape


def test_native_of_another_shape_is_refused():
    """Values that do not fit the source are an error that names both shapes."""
    source = decode(saved(Image.fromarray(scene()), "PNG"), "a.png")
    with pytest.raises(InvalidInputError, match=r"\(96, 128, 3\).*\(96, 127, 3\)"):
        encode(source, source.native[:, 1:])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "LA;16", "RGB;16", "RGBA;16"])
def test_composite_changes_the_masked_colors_and_nothing_else(mode):
    """Outside the mask every value is the source's; under it colours are the new ones and alpha is the old one."""
    n_channels = {"L": 1, "I;16": 1, "LA": 2, "LA;16": 2, "RGB": 3, "RGB;16": 3, "RGBA": 4, "RGBA;16": 4}[mode]
    dtype = np.uint16 if mode.endswith("16") else np.uint8
    values = noise(10, 12, n_channels, dtype=dtype) if n_channels > 1 else noise(10, 12, dtype=dtype)
    source = made(values, mode, "PNG", {})
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    pixels = np.full((10, 12, 3), [200, 100, 50], np.uint8)
    result = composite_native(source, pixels, mask)
    assert np.array_equal(result[~mask], values[~mask])
    scale = 257 if dtype == np.uint16 else 1
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    colors = [luma * scale] if n_channels <= 2 else [200 * scale, 100 * scale, 50 * scale]
    planes = result.reshape(10, 12, n_channels)
    assert (planes[mask][:, : len(colors)] == colors).all()
    if n_channels in (2, 4):
        assert np.array_equal(planes[..., -1], values[..., -1])


def test_composite_does_not_depend_on_what_was_under_the_mask():
    """Other source values under the mask give the same result, bit for bit."""
    mask = noise(10, 12) > 128
    values = noise(10, 12, 3, dtype=np.uint16)
    other = values.copy()
    other[mask] = 12345
    pixels = noise(10, 12, 3, seed=5)
    results = [composite_native(made(v, "RGB;16", "PNG", {}), pixels, mask) for v in (values, other)]
    assert np.array_equal(*results)


def test_windows_compose_to_the_whole():
    """Two windows written one after the other equal one call with the whole picture."""
    source = made(noise(10, 12, 3), "RGB", "PNG", {})
    pixels, mask = noise(10, 12, 3, seed=5), noise(10, 12, seed=6) > 128
    step = composite_native(source, pixels[:4], mask[:4], window=(0, 0, 12, 4))
    whole = composite_native(source, pixels[4:, 2:], mask[4:, 2:], window=(2, 4, 12, 10), into=step)
    left = composite_native(source, pixels[4:, :2], mask[4:, :2], window=(0, 4, 2, 10), into=whole)
    assert np.array_equal(left, composite_native(source, pixels, mask))
    with pytest.raises(InvalidInputError, match="window must lie within 12 x 10"):
        composite_native(source, pixels, mask, window=(0, 0, 13, 10))


def test_greys_are_kept_exactly():
    """The grey of the view, written back into a grey picture, is the same grey."""
    levels = np.arange(256, dtype=np.uint8)
    pixels = np.repeat(levels[:, None], 3, axis=1)
    assert np.array_equal(to_native(pixels, "L", None), levels)
    assert np.array_equal(to_native(pixels, "I;16", None), levels.astype(np.uint16) * 257)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_heic_keeps_alpha_and_subsampling(subsampling):
    """HEIC with alpha stays with alpha, and is written with the chroma subsampling that it had."""
    heif = pytest.importorskip("pillow_heif", reason="needs the extra [heic]")
    pixels = np.dstack([scene(), np.full((96, 128), 200, np.uint8)])
    buffer = io.BytesIO()
    heif.from_bytes("RGBA", (128, 96), pixels.tobytes()).save(buffer, quality=90, subsampling=subsampling)
    source = decode(buffer.getvalue(), "a.heic")
    again = written(source)
    assert (source.mode, source.encoding.subsampling) == ("RGBA", subsampling)
    assert (again.mode, again.encoding.subsampling) == ("RGBA", subsampling)
    assert np.abs(again.native[..., 3].astype(int) - 200).max() <= 2


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_heic_round_trip(bit_depth):
    """HEIC is read and written near the source, at its depth."""
    heif = pytest.importorskip("pillow_heif", reason="needs the extra [heic]")
    buffer = io.BytesIO()
    deep = scene().astype(np.uint16) * 257
    if bit_depth == 8:
        heif.from_bytes("RGB", (128, 96), scene().tobytes()).save(buffer, quality=90)
    else:
        heif.from_bytes("RGB;16", (128, 96), deep.tobytes()).save(buffer, quality=90)
    source = decode(buffer.getvalue(), "a.heic")
    assert source.mode == ("RGB" if bit_depth == 8 else "RGB;16")
    assert np.abs(source.view.astype(int) - scene()).mean() < 4
    encoded = encode(source, source.native)
    again = decode(encoded.data, "a.heic")
    assert (encoded.suffix, again.encoding.options["bit_depth"]) == ("", bit_depth)
    assert np.abs(again.view.astype(int) - source.view).mean() < 3


def sampling_of(data: bytes) -> list[tuple[int, int]]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return [component[1:3] for component in image.layer]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_422_becomes_440_on_quarter_turns(orientation):
    """Halved columns become halved rows when the picture is turned by a quarter, with tables transposed too."""
    lopsided = [[3 + 2 * (k % 8) + k // 8 for k in range(64)], [4 + (k % 8) + k // 8 for k in range(64)]]
    source = decode(jpeg(orientation, qtables=lopsided, subsampling="4:2:2"), "a.jpg")
    out = encode(source, source.native).data
    turned = orientation in QUARTER_TURNS
    assert sampling_of(out) == [(1, 2) if turned else (2, 1), (1, 1), (1, 1)]
    tables = [np.array(table).reshape(8, 8) for table in lopsided]
    expected = [(table.T if turned else table).ravel().tolist() for table in tables]
    assert tables_of(out) == [expected[0], expected[1], expected[1]]
    error = reencode_error(source, encode(source, source.native), np.zeros(source.view.shape[:2], bool))
    assert error.mean_abs < 2
    assert error.mean_abs == error.plain_mean_abs


RATIOS = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (1, 2): "4:4:0",
    (2, 2): "4:2:0",
    (4, 1): "4:1:1",
    (1, 4): "1x4",
    (4, 2): "4:1:0",
}


@pytest.mark.parametrize(("ratio", "name"), RATIOS.items())
@pytest.mark.parametrize("shape", [(96, 128), (37, 53), (1, 1), (900, 3)])
def test_own_jpeg_writer_is_as_near_as_libjpeg(ratio, name, shape):
    """A JPEG from our writer is read by libjpeg, and is as near to the picture as libjpeg's own with its tables."""
    pixels = np.ascontiguousarray(scene(max(shape[0], 8), max(shape[1], 8))[: shape[0], : shape[1]])
    tables = ([4] * 64, [6] * 64, [9] * 64)
    extra = jpeg_writer.write_jpeg(pixels, tuple(map(tuple, tables)), ratio, icc=None, dpi=(300, 200))
    found = decode(extra, "a.jpg")
    assert found.encoding.subsampling == name
    assert tables_of(extra) == list(tables)
    assert found.encoding.options["dpi"] == (300, 200)
    again = encode(found, found.native)
    assert (sampling_of(again.data), again.notes) == (sampling_of(extra), ())
    if name in ("4:4:4", "4:2:2", "4:2:0"):
        other = saved(Image.fromarray(pixels), "JPEG", qtables=list(tables), subsampling=name)
        theirs = np.abs(decode(other, "a.jpg").native.astype(int) - pixels).mean()
        assert np.abs(found.native.astype(int) - pixels).mean() < 1.1 * theirs + 0.5
        if min(shape) > 16:  # below, libjpeg pads with flat blocks, we with what is at the edge
            assert len(extra) < 1.05 * len(other) + 100


def test_own_jpeg_writer_works_in_pieces(monkeypatch):
    """Written in many bands of rows, the stream is the same as in one, bit for bit."""
    pixels = noise(200, 56, 3)
    tables = (tuple(range(1, 65)),) * 3
    whole = jpeg_writer.write_jpeg(pixels, tables, (1, 2), icc=None, dpi=None)
    monkeypatch.setattr(jpeg_writer, "_BLOCKS_PER_CHUNK", 1)
    assert jpeg_writer.write_jpeg(pixels, tables, (1, 2), icc=None, dpi=None) == whole


def test_own_jpeg_writer_takes_the_sharpest_and_coarsest_tables():
    """Tables of ones on hard noise, and entries over 255, are written so that libjpeg reads them back."""
    hard = np.where(noise(32, 32, 3) > 127, 255, 0).astype(np.uint8)
    for table in ((1,) * 64, (1,) * 8 + (400,) * 56):
        data = jpeg_writer.write_jpeg(hard, (table,) * 3, (1, 1), icc=None, dpi=None)
        assert tables_of(data) == [list(table)] * 3
        other = saved(Image.fromarray(hard), "JPEG", qtables=[list(table)], subsampling="4:4:4")
        ours, theirs = (np.abs(decode(d, "a.jpg").native.astype(int) - hard).mean() for d in (data, other))
        assert ours == pytest.approx(theirs, rel=0.05, abs=0.1)


def test_own_jpeg_writer_carries_a_long_profile_and_the_mark():
    """A profile longer than one segment, and the mark, are read back from a turned 4:2:2 picture."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    size = 150_000
    long = struct.pack(">I", size) + icc[4:].ljust(size - 4, b"\x01")
    source = decode(jpeg(6, subsampling="4:2:2", icc_profile=long, quality=90), "a.jpg")
    assert source.icc == long
    with Image.open(io.BytesIO(encode(source, source.native).data)) as image:
        assert image.info["icc_profile"] == long
        assert b"compositeWithTrainedAlgorithmicMedia" in image.info["xmp"]
