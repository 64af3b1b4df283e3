"""From a file's bytes to a ``SourceImage``: upright, checked, with everything that is needed to write it again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageCms, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from understudy.errors import MissingExtraError, RefusedImageError, UnderstudyError, UnreadableImageError
from understudy.imaging import ifd, tiff
from understudy.imaging.heif import HeifPicture
from understudy.imaging.jpeg import JpegHeader, read_jpeg_header, upright_subsampling, upright_tables
from understudy.imaging.native import channels_of, view_of
from understudy.imaging.png import is_deep_png, read_deep_png
from understudy.imaging.profile import apply_transform, load_profile, trimmed_profile
from understudy.imaging.sniff import readable_format
from understudy.imaging.webp import read_webp_header
from understudy.types import Encoding, SourceImage

MAX_PIXELS = 200_000_000

_UINT8_MODES = {"L", "LA", "RGB", "RGBA"}
_DIRECT_CONVERSIONS = {"La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "PA": "RGBA", "YCbCr": "RGB", "HSV": "RGB"}


@dataclass
class _Decoded:
    """What a reader found, not yet upright."""

    native: NDArray[np.generic]
    mode: str
    icc: bytes | None = None
    orientation: int = 1
    applied_orientation: int = 1
    """What ``native`` was turned by already."""
    header: JpegHeader | None = None
    subsampling: str | None = None
    """Of ``native`` as it is, for formats other than JPEG."""
    options: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _check_size(image_id: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse, from the header alone, what is larger than the limit."""
    if width < 1 or height < 1:
        raise UnreadableImageError(f"{image_id}: its header says {width} x {height} px")
    if width * height > max_pixels:
        raise RefusedImageError(
            f"{image_id}: {width} x {height} px is {width * height / 1e6:.1f} megapixels, over the limit of "
            f"{max_pixels / 1e6:g}; raise max_pixels if you trust this file"
        )


def _refuse_animation(image_id: str, image: Image.Image) -> None:
    if getattr(image, "is_animated", False):
        n_frames = getattr(image, "n_frames", 2)
        what = "pages" if image.format == "TIFF" else "frames"
        raise RefusedImageError(
            f"{image_id}: {image.format} with {n_frames} {what}; only single pictures are handled: extract them first"
        )


def _resolution(image: Image.Image) -> tuple[float, float] | None:
    """Dots per inch, if they make sense; 1 is what Pillow says of a TIFF without any."""
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if all(math.isfinite(v) and 1 < v < 65535 for v in (x, y)) else None


def _profile_to_keep(icc: object, channels: str, notes: list[str]) -> bytes | None:
    """The embedded profile, if it is one and fits; else None, and a note."""
    if not isinstance(icc, bytes) or not icc:
        return None
    trimmed = trimmed_profile(icc)
    profile = load_profile(trimmed, channels) if trimmed else None
    if profile is None:
        notes.append("broken or unfitting colour profile dropped, colours taken as srgb")
        return None
    if profile.from_srgb is None and channels != "CMYK":
        notes.append("colour profile works one way only, replaced colours are written as srgb values")
    return trimmed


def _cmyk_to_srgb(image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    """CMYK through its profile, or by Pillow's plain rule where it has none."""
    icc = _profile_to_keep(image.info.get("icc_profile"), "CMYK", notes)
    profile = load_profile(icc, "CMYK") if icc else None
    notes.append("cmyk written as srgb")
    if profile is None:
        return np.asarray(image.convert("RGB"))
    return apply_transform(profile.to_srgb, np.asarray(image), "CMYK", "RGB")


def _lab_to_srgb(image: Image.Image) -> NDArray[np.uint8]:
    """CIELAB with white D50, through the colour library."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    values = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, 3)
    return apply_transform(transform, values, "LAB", "RGB")


def _pixels(image_id: str, image: Image.Image) -> _Decoded:
    """Pixels of a loaded Pillow image in one of our modes, with its profile."""
    found = _Decoded(np.empty(0), image.mode)
    icc = image.info.get("icc_profile")
    has_transparency = image.has_transparency_data
    if image.mode == "CMYK":
        found.native, found.mode, icc = _cmyk_to_srgb(image, found.notes), "RGB", None
    elif image.mode == "LAB":
        found.native, found.mode, icc = _lab_to_srgb(image), "RGB", None
        found.notes.append("lab written as srgb")
    elif image.mode in ("I;16", "I;16L", "I;16B"):
        found.native, found.mode = np.asarray(image).astype(np.uint16), "I;16"
    else:
        if image.mode == "P":
            found.mode, found.options["palette"] = "RGBA" if has_transparency else "RGB", True
        elif image.mode == "1":
            found.mode, found.options["bilevel"] = "LA" if has_transparency else "L", not has_transparency
        elif image.mode in ("L", "RGB") and has_transparency:
            found.mode = image.mode + "A"
        else:
            found.mode = _DIRECT_CONVERSIONS.get(image.mode, image.mode)
        if found.mode not in _UINT8_MODES:
            raise RefusedImageError(
                f"{image_id}: values of the kind {image.mode} (32-bit or floating point) have no agreed white; "
                "convert it to 8 or 16 bits"
            )
        if image.mode in ("YCbCr", "HSV"):
            found.notes.append(f"{image.mode.lower()} written as rgb")
        found.native = np.asarray(image if image.mode == found.mode else image.convert(found.mode))
    found.icc = _profile_to_keep(icc, channels_of(found.mode), found.notes)
    if dpi := _resolution(image):
        found.options["dpi"] = dpi
    return found


def _read_jpeg(data: bytes, image_id: str, max_pixels: int) -> _Decoded:
    header = read_jpeg_header(data)
    if header is None:
        raise UnreadableImageError(f"{image_id}: a JPEG without a frame header; it is cut off or damaged")
    _check_size(image_id, header.width, header.height, max_pixels)
    if header.precision != 8:
        raise RefusedImageError(f"{image_id}: a JPEG with {header.precision} bits; convert it to PNG or TIFF")
    with JpegImagePlugin.JpegImageFile(BytesIO(data)) as image:
        _check_size(image_id, *image.size, max_pixels)
        image.load()
        found = _pixels(image_id, image)
    found.header, found.orientation = header, ifd.exif_orientation(header.exif)
    found.options["progressive"] = header.progressive
    found.options["keep_rgb"] = header.is_rgb
    if header.has_more_pictures:
        found.notes.append("first of several pictures in the file, the others dropped")
    return found


def _gamma_note(image: Image.Image) -> list[str]:
    """What to say where a PNG asks for a display gamma other than sRGB's, which is not carried."""
    gamma = image.info.get("gamma")
    unusual = isinstance(gamma, float) and not 0.42 < gamma < 0.48 and "icc_profile" not in image.info
    return [f"png gamma {gamma:.3f} dropped, colours taken as srgb"] if unusual else []


def _read_png(data: bytes, image_id: str, max_pixels: int) -> _Decoded:
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise UnreadableImageError(f"{image_id}: a PNG without a header; it is cut off or damaged")
    _check_size(image_id, int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"), max_pixels)
    with PngImagePlugin.PngImageFile(BytesIO(data)) as image:
        _check_size(image_id, *image.size, max_pixels)
        _refuse_animation(image_id, image)
        image.load()
        exif, transparent = image.info.get("exif"), image.info.get("transparency")
        orientation = ifd.exif_orientation(exif if isinstance(exif, bytes) else None)
        if not is_deep_png(data):
            found = _pixels(image_id, image)
            found.orientation = orientation
            found.notes.extend(_gamma_note(image))
            return found
        notes = _gamma_note(image)
        icc = _profile_to_keep(image.info.get("icc_profile"), "L" if data[25] in (0, 4) else "RGB", notes)
        dpi = _resolution(image)
        shallow = np.asarray(image)
    native, mode = read_deep_png(data, transparent)
    if shallow.dtype == np.uint8:
        _check_high_bytes(native, shallow)
    return _Decoded(native, mode, icc, orientation, options={"dpi": dpi} if dpi else {}, notes=notes)


def _read_webp(data: bytes, image_id: str, max_pixels: int) -> _Decoded:
    header = read_webp_header(data)
    if header is None:
        raise UnreadableImageError(f"{image_id}: a WebP without a picture; it is cut off or damaged")
    _check_size(image_id, header.width, header.height, max_pixels)
    with WebPImagePlugin.WebPImageFile(BytesIO(data)) as image:
        _check_size(image_id, *image.size, max_pixels)
        _refuse_animation(image_id, image)
        image.load()
        found = _pixels(image_id, image)
        exif = image.info.get("exif")
    found.orientation = ifd.exif_orientation(exif if isinstance(exif, bytes) else None)
    found.options["lossless"] = header.lossless
    return found


def _refuse_tiff(image_id: str, directory: ifd.Directory) -> None:
    """Refuse what a TIFF can hold and a picture to be looked at does not."""
    bits, sample_format = directory.first(tiff.BITS, 1), directory.first(tiff.SAMPLE_FORMAT, 1)
    if sample_format not in (1, 4) or bits > 16:
        raise RefusedImageError(
            f"{image_id}: a TIFF of {bits}-bit values (sample format {sample_format}) has no agreed white; "
            "convert it to 8 or 16 bits"
        )
    if tiff.is_deep_color(directory) and directory.first(tiff.PLANES, 1) != 1:
        raise RefusedImageError(f"{image_id}: a 16-bit TIFF with separate planes is not handled; save it interleaved")
    if 8 < bits < 16:
        raise RefusedImageError(f"{image_id}: a TIFF with {bits} bits is not handled; convert it to 16 bits")
    if tiff.DNG_VERSION in directory.values:
        raise RefusedImageError(f"{image_id}: a camera raw file (DNG) is not handled; export it as JPEG, PNG or TIFF")


def _open_tiff(data: bytes, image_id: str, directory: ifd.Directory) -> TiffImageFile:
    try:
        return TiffImageFile(BytesIO(data))
    except SyntaxError as error:
        if "unknown pixel mode" not in str(error):
            raise
        what = f"{directory.first(tiff.SAMPLES, 1)} x {directory.first(tiff.BITS, 1)} bits"
        photometric = directory.first(tiff.PHOTOMETRIC, -1)
        raise RefusedImageError(
            f"{image_id}: a TIFF of {what} (photometric {photometric}) is not handled; convert it to 8- or 16-bit RGB"
        ) from error


def _check_high_bytes(deep: NDArray[np.uint16], shallow: NDArray[np.uint8]) -> None:
    """The decoder for 16 bits must agree with Pillow's, which keeps the upper 8."""
    planes = deep.reshape(*deep.shape[:2], -1)
    reduced = shallow.reshape(*shallow.shape[:2], -1)
    n_colors = 3 if planes.shape[2] >= 3 else 1
    if not np.array_equal((planes[..., :n_colors] >> 8).astype(np.uint8), reduced[..., :n_colors]):
        raise ValueError("two decoders read different pixels")


def _read_tiff(data: bytes, image_id: str, max_pixels: int) -> _Decoded:
    directory = ifd.read_directory(data)
    if directory is None:
        raise UnreadableImageError(f"{image_id}: a TIFF without a directory; it is cut off or damaged")
    _check_size(image_id, directory.first(256, 0), directory.first(257, 0), max_pixels)
    _refuse_tiff(image_id, directory)
    orientation = directory.first(ifd.ORIENTATION, 1)
    orientation = orientation if 1 <= orientation <= 8 else 1
    with _open_tiff(data, image_id, directory) as image:
        _check_size(image_id, *image.size, max_pixels)
        _refuse_animation(image_id, image)
        compression = str(image.info.get("compression", "raw"))
        image.load()  # Pillow turns TIFFs upright by itself
        found = _pixels(image_id, image)
    found.orientation = found.applied_orientation = orientation
    if tiff.is_deep_color(directory):
        deep, mode = tiff.read_deep_tiff(data, directory)
        deep = ifd.upright(deep, orientation)
        extra_samples = directory.first(tiff.EXTRA_SAMPLES, 2)
        if extra_samples != 1:  # Pillow divides colours by a premultiplied alpha
            _check_high_bytes(deep, found.native.astype(np.uint8, copy=False))
        found.native, found.mode = deep, mode
        found.options["extra_samples"] = extra_samples
    elif found.mode == "I;16" and directory.first(tiff.PHOTOMETRIC, 1) == 0:
        found.native = 65535 - found.native.astype(np.uint16)  # white is zero in the file
    found.options["compression"] = compression
    return found


def _read_plain(opener: Callable[[BytesIO], Image.Image]) -> Callable[[bytes, str, int], _Decoded]:
    """Reader for formats without orientation: BMP and GIF."""

    def read(data: bytes, image_id: str, max_pixels: int) -> _Decoded:
        with opener(BytesIO(data)) as image:
            _check_size(image_id, *image.size, max_pixels)
            _refuse_animation(image_id, image)
            image.load()
            return _pixels(image_id, image)

    return read


def _read_heif(data: bytes, image_id: str, max_pixels: int) -> _Decoded:
    try:
        picture = HeifPicture(data)
    except MissingExtraError as error:
        raise RefusedImageError(f"{image_id}: {error}") from error
    _check_size(image_id, picture.width, picture.height, max_pixels)
    native, mode = picture.read()
    notes = ["first of several pictures in the file, the others dropped"] if picture.n_pictures > 1 else []
    icc = _profile_to_keep(picture.icc, channels_of(mode), notes)
    options: dict[str, object] = {"bit_depth": picture.bit_depth}
    return _Decoded(native, mode, icc, subsampling=picture.subsampling, options=options, notes=notes)


_READERS: dict[str, Callable[[bytes, str, int], _Decoded]] = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "WEBP": _read_webp,
    "TIFF": _read_tiff,
    "BMP": _read_plain(BmpImagePlugin.BmpImageFile),
    "GIF": _read_plain(GifImagePlugin.GifImageFile),
    "HEIF": _read_heif,
}


def _assemble(data: bytes, image_id: str, format_name: str, found: _Decoded) -> SourceImage:
    """Turn upright, make the view, and gather what the encoder needs."""
    remaining = 1 if found.applied_orientation == found.orientation else found.orientation
    native = ifd.upright(found.native, remaining)
    dpi = found.options.get("dpi")
    if found.orientation >= 5 and isinstance(dpi, tuple):
        found.options["dpi"] = dpi[::-1]
    header = found.header
    tables = upright_tables(header.tables, found.orientation) if header and header.tables else None
    subsampling = upright_subsampling(header.subsampling, found.orientation) if header else found.subsampling
    return SourceImage(
        image_id=image_id,
        native=native,
        mode=found.mode,
        icc=found.icc,
        view=view_of(native, found.mode, found.icc),
        digest=hashlib.sha256(data).digest(),
        encoding=Encoding(format_name, tables, subsampling, found.options),
        orientation=found.orientation,
        notes=tuple(found.notes),
    )


def decode(data: bytes, image_id: str, *, max_pixels: int = MAX_PIXELS) -> SourceImage:
    """Decode a picture, upright, with an 8-bit sRGB view.

    Parameters
    ----------
    data : bytes
        The whole file.
    image_id : str
        Relative POSIX path of the file, for messages.
    max_pixels : int
        Larger pictures are refused from their header, before anything is decoded.

    Returns
    -------
    SourceImage

    Raises
    ------
    NotMediaError
        The file is no picture and does not claim to be one.
    UnreadableImageError
        The file claims to be a picture and cannot be decoded.
    RefusedImageError
        The picture is over the limit, animated, of several pages, a video, or of a kind that is not handled.
    """
    format_name = readable_format(data, image_id)
    try:
        return _assemble(data, image_id, format_name, _READERS[format_name](data, image_id, max_pixels))
    except UnderstudyError:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise RefusedImageError(f"{image_id}: too large for this machine's memory: {error}") from error
    except Exception as error:  # decoders of hostile input raise whatever they like
        reason = str(error) or type(error).__name__
        raise UnreadableImageError(f"{image_id}: cannot be decoded as {format_name}: {reason}") from error
