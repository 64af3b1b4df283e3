"""From native values back to a file of the same format, without the source's metadata."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, TiffImagePlugin

from understudy.errors import InvalidInputError, MissingExtraError, OutputError
from understudy.imaging.heif import write_heif
from understudy.imaging.jpeg import RATIO_OF_SUBSAMPLING
from understudy.imaging.jpeg_writer import write_jpeg
from understudy.imaging.metadata import PNG_XMP_KEYWORD, XMP_PACKET, jpeg_xmp_segment
from understudy.imaging.native import MODES
from understudy.imaging.png import write_deep_png
from understudy.imaging.tiff import write_deep_tiff
from understudy.types import SourceImage

WEBP_QUALITY = 95

_XMP_TAG, _BYTE = 700, 1
_SUBSAMPLING_NUMBER = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
_LOSSLESS_TIFF = {"tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"}
_BILEVEL_TIFF = {"group3", "group4", "tiff_ccitt"}
_UNCOMPRESSED_TIFF = {"raw", "tiff_raw_16"}


@dataclass(frozen=True)
class EncodedImage:
    """A file's bytes."""

    data: bytes
    suffix: str
    """To be appended to the source's name: "" for the source's own format, ".png" where that could not hold it."""
    notes: tuple[str, ...] = ()
    """What the table should say."""
    lossless: bool = True
    """The file holds exactly the values that were given."""


@dataclass(frozen=True)
class _Job:
    """One picture to be written."""

    source: SourceImage
    native: NDArray[np.generic]
    xmp: bytes | None

    def option(self, name: str) -> Any:
        """One of the encoder's options, which are of many types."""
        return self.source.encoding.options.get(name)

    @property
    def common(self) -> dict[str, Any]:
        """Profile and resolution as Pillow's arguments."""
        found: dict[str, Any] = {}
        if self.source.icc:
            found["icc_profile"] = self.source.icc
        if dpi := self.option("dpi"):
            found["dpi"] = dpi
        return found


def _saved(image: Image.Image, format_name: str, **arguments: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_name, **arguments)
    return buffer.getvalue()


def _indexed(native: NDArray[np.generic], mode: str) -> tuple[Image.Image, NDArray[np.uint8] | None] | None:
    """The picture with a palette, and the palette's alphas; None where it has more than 256 colours."""
    if mode not in ("RGB", "RGBA"):
        return None
    codes = np.zeros(native.shape[:2], np.uint32)
    for k in range(native.shape[2]):
        codes = codes << np.uint32(8) | native[..., k].astype(np.uint32)
    if len(np.unique(codes.ravel()[::97])) > 256:
        return None
    colors, index = np.unique(codes, return_inverse=True)
    if len(colors) > 256:
        return None
    alphas = None
    if mode == "RGBA":
        alphas, colors = (colors & np.uint32(255)).astype(np.uint8), colors >> np.uint32(8)
    palette = np.stack([colors >> np.uint32(16), colors >> np.uint32(8), colors], axis=1).astype(np.uint8)
    image = Image.fromarray(index.reshape(native.shape[:2]).astype(np.uint8))
    image.putpalette(palette.tobytes())
    return image, alphas


def _as_image(job: _Job) -> tuple[Image.Image, dict[str, Any]]:
    """A Pillow image and its arguments, with 1 bit or a palette where the source had that and it still fits."""
    native, options = job.native, {}
    if job.option("bilevel") and job.source.mode == "L" and bool(((native == 0) | (native == 255)).all()):
        return Image.fromarray(native == 255), {}
    if job.option("palette") and (found := _indexed(native, job.source.mode)):
        image, alphas = found
        if alphas is not None and (alphas < 255).any():
            options["transparency"] = alphas.tobytes()
        return image, options
    return Image.fromarray(native), options


def _write_unusual_jpeg(job: _Job, tables: tuple[tuple[int, ...], ...], ratio: tuple[int, int]) -> EncodedImage:
    """A JPEG of a subsampling that Pillow's encoder does not know."""
    notes = ("progressive jpeg written as baseline",) if job.option("progressive") else ()
    extra = jpeg_xmp_segment(job.xmp) if job.xmp else b""
    pixels = job.native.astype(np.uint8, copy=False)
    data = write_jpeg(pixels, tables, ratio, icc=job.source.icc, dpi=job.option("dpi"), extra=extra)
    return EncodedImage(data, "", notes, lossless=False)


def _write_jpeg(job: _Job) -> EncodedImage:
    encoding, notes = job.source.encoding, []
    subsampling = "4:4:4" if job.option("keep_rgb") or not encoding.subsampling else encoding.subsampling
    is_color = job.native.ndim == 3
    if is_color and subsampling not in _SUBSAMPLING_NUMBER and encoding.quantization:
        return _write_unusual_jpeg(job, encoding.quantization[:3], RATIO_OF_SUBSAMPLING[subsampling])
    arguments = job.common
    if tables := encoding.quantization:
        tables = tables[:3] if is_color else tables[:1]
        while len(tables) > 1 and tables[-1] == tables[-2]:
            tables = tables[:-1]
        arguments["qtables"] = [list(table) for table in tables]
    else:
        arguments["quality"] = 95
        notes.append("source's jpeg tables unknown, quality 95 used")
    if is_color:
        arguments["subsampling"] = _SUBSAMPLING_NUMBER.get(subsampling, 0)
        if job.option("keep_rgb"):
            arguments["keep_rgb"] = True
            arguments.pop("dpi", None)  # it comes with a JFIF header, and that header says YCbCr
        if not encoding.subsampling:
            notes.append("irregular jpeg subsampling written as 4:4:4")
    if job.xmp:
        arguments["extra"] = jpeg_xmp_segment(job.xmp)
    data = _saved(Image.fromarray(job.native), "JPEG", progressive=bool(job.option("progressive")), **arguments)
    return EncodedImage(data, "", tuple(notes), lossless=False)


def _write_png(job: _Job) -> EncodedImage:
    if job.source.mode in ("I;16", "LA;16", "RGB;16", "RGBA;16"):
        deep = job.native.astype(np.uint16, copy=False)
        return EncodedImage(write_deep_png(deep, icc=job.source.icc, dpi=job.option("dpi"), xmp=job.xmp), "")
    image, arguments = _as_image(job)
    info = PngImagePlugin.PngInfo()
    if job.xmp:
        info.add_itxt(PNG_XMP_KEYWORD, job.xmp.decode())
    return EncodedImage(_saved(image, "PNG", pnginfo=info, **job.common, **arguments), "")


def _write_webp(job: _Job) -> EncodedImage:
    lossless = bool(job.option("lossless"))
    arguments: dict[str, Any] = {"xmp": job.xmp} if job.xmp else {}
    if job.source.icc:
        arguments["icc_profile"] = job.source.icc
    if not lossless:
        arguments["quality"] = WEBP_QUALITY
    data = _saved(Image.fromarray(job.native), "WEBP", lossless=lossless, exact=True, **arguments)
    return EncodedImage(data, "", lossless=lossless)


def _write_tiff(job: _Job) -> EncodedImage:
    compression, notes = str(job.option("compression") or "raw"), []
    if compression in ("jpeg", "tiff_jpeg", "webp"):
        notes.append("lossy tiff written without loss")
    if job.source.mode in ("LA;16", "RGB;16", "RGBA;16"):
        data = write_deep_tiff(
            job.native.astype(np.uint16, copy=False),
            deflate=compression not in _UNCOMPRESSED_TIFF,
            icc=job.source.icc,
            dpi=job.option("dpi"),
            xmp=job.xmp,
            extra_samples=int(job.option("extra_samples") or 2),
        )
        return EncodedImage(data, "", tuple(notes))
    image, arguments = _as_image(job)
    arguments.pop("transparency", None)
    if image.mode == "P" and job.source.mode == "RGBA":
        image = Image.fromarray(job.native)
    kept = compression in _LOSSLESS_TIFF or (compression in _BILEVEL_TIFF and image.mode == "1")
    if compression not in _UNCOMPRESSED_TIFF:
        arguments["compression"] = compression if kept else "tiff_adobe_deflate"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if job.xmp:
        tags.tagtype[_XMP_TAG] = _BYTE
        tags[_XMP_TAG] = job.xmp
    return EncodedImage(_saved(image, "TIFF", tiffinfo=tags, **job.common, **arguments), "", tuple(notes))


def _bmp_with_alpha(pixels: NDArray[np.generic]) -> bytes:
    """A BMP with a version 4 header, which declares the alpha that Pillow's writer leaves undeclared."""
    height, width = pixels.shape[:2]
    body = np.ascontiguousarray(pixels[::-1, :, [2, 1, 0, 3]]).tobytes()
    masks = (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 0, 0, 0, 0)
    header += struct.pack("<4I4s", *masks, b"BGRs").ljust(108 - len(header), b"\x00")  # LCS_sRGB
    return struct.pack("<2sIII", b"BM", 14 + len(header) + len(body), 0, 14 + len(header)) + header + body


def _write_bmp(job: _Job) -> EncodedImage:
    notes = ("bmp cannot hold the mark",) if job.xmp else ()
    if job.source.mode == "RGBA":
        return EncodedImage(_bmp_with_alpha(job.native), "", notes)
    dpi = {"dpi": job.option("dpi")} if job.option("dpi") else {}
    return EncodedImage(_saved(_as_image(job)[0], "BMP", **dpi), "", notes)


def _write_gif(job: _Job) -> EncodedImage:
    image = Image.fromarray(job.native)
    arguments: dict[str, Any] = {}
    if job.source.mode != "L":
        found = _indexed(job.native, job.source.mode)
        alphas = found[1] if found else None
        holes = np.flatnonzero(alphas == 0) if alphas is not None else np.empty(0, int)
        if found is None or len(holes) > 1 or (alphas is not None and bool(((alphas > 0) & (alphas < 255)).any())):
            raise ValueError("more colours than a GIF holds")
        image = found[0]
        if len(holes):
            arguments["transparency"] = int(holes[0])
    data = _saved(image, "GIF", optimize=False, interlace=0, **arguments)
    return EncodedImage(data, "", ("gif cannot hold the mark",) if job.xmp else ())


def _write_heif(job: _Job) -> EncodedImage:
    data = write_heif(
        job.native, job.source.mode, icc=job.source.icc, xmp=job.xmp, subsampling=job.source.encoding.subsampling
    )
    notes = ("12-bit heic written with 10 bits",) if int(job.option("bit_depth") or 8) > 10 else ()
    return EncodedImage(data, "", notes, lossless=False)


_WRITERS: dict[str, Callable[[_Job], EncodedImage]] = {
    "JPEG": _write_jpeg,
    "PNG": _write_png,
    "WEBP": _write_webp,
    "TIFF": _write_tiff,
    "BMP": _write_bmp,
    "GIF": _write_gif,
    "HEIF": _write_heif,
}


def encode(source: SourceImage, native: NDArray[np.generic], *, mark: bool = True) -> EncodedImage:
    """Write a picture as its source was written, upright, with profile and resolution and no other metadata.

    What the source's format cannot hold is written as PNG; the suffix and a note say so.

    Parameters
    ----------
    source : SourceImage
        Tells format, tables, profile and resolution.
    native : (H, W) or (H, W, C)
        Values to be written, of the shape and type of ``source.native``.
    mark : bool
        Add the XMP that declares a picture with generated parts; ask for it when a person was replaced.

    Returns
    -------
    EncodedImage

    Raises
    ------
    InvalidInputError
        ``native`` does not fit the source.
    OutputError
        The picture cannot be written even as PNG.
    """
    if native.shape != source.native.shape or native.dtype != source.native.dtype or source.mode not in MODES:
        raise InvalidInputError(
            f"native must be {source.native.dtype} {source.native.shape}, got {native.dtype} {native.shape}"
        )
    job = _Job(source, np.ascontiguousarray(native), XMP_PACKET if mark else None)
    format_name = source.encoding.format
    try:
        return _WRITERS[format_name](job)
    except (OSError, ValueError, RuntimeError, MissingExtraError) as error:
        reason = f"could not be written as {format_name.lower()} ({error}), written as png"
    try:
        return EncodedImage(_write_png(job).data, ".png", (reason,))
    except (OSError, ValueError, MemoryError) as error:
        raise OutputError(f"{source.image_id}: cannot be encoded as {format_name} or PNG: {error}") from error
