"""Colour profiles: from a file's colours to sRGB for the view, and back for what is written into the file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_SPACE_OF_CHANNELS = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}
_CHUNK_PX = 1 << 20
_MAX_PROFILE_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class Profile:
    """A profile that fits a picture's channels."""

    channels: str
    """ "L", "RGB" or "CMYK"."""
    is_srgb: bool
    """The colours are sRGB's within one level: nothing is converted."""
    to_srgb: ImageCms.ImageCmsTransform
    from_srgb: ImageCms.ImageCmsTransform | None
    """None where the profile has no way back."""


def trimmed_profile(icc: bytes) -> bytes | None:
    """The profile without what follows its declared end; None where it is no ICC profile."""
    if not 128 < len(icc) <= _MAX_PROFILE_BYTES or icc[36:40] != b"acsp":
        return None
    size = int.from_bytes(icc[:4], "big")
    return icc[:size] if 128 < size <= len(icc) else None


def _build(source: object, target: object, modes: tuple[str, str]) -> ImageCms.ImageCmsTransform | None:
    """Relative colorimetric transform with black point compensation, or None where the profile does not serve."""
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        return ImageCms.buildTransform(source, target, *modes, renderingIntent=intent, flags=flags)  # type: ignore[arg-type]
    except ImageCms.PyCMSError:
        return None


def _sample_colors(channels: str) -> NDArray[np.uint8]:
    """All grey levels, or a grid of 4,913 colours."""
    if channels == "L":
        return np.arange(256, dtype=np.uint8)
    axis = np.append(np.arange(0, 256, 16), 255).astype(np.uint8)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


@lru_cache(maxsize=32)
def load_profile(icc: bytes, channels: str) -> Profile | None:
    """Open a profile for pictures of the given channels.

    Parameters
    ----------
    icc : bytes
        As ``trimmed_profile`` returns it.
    channels : str
        "L", "RGB" or "CMYK".

    Returns
    -------
    Profile or None
        None where the profile is broken or belongs to other channels.
    """
    if icc[16:20] != _SPACE_OF_CHANNELS[channels]:
        return None
    srgb = ImageCms.createProfile("sRGB")
    try:
        opened = ImageCms.getOpenProfile(BytesIO(icc))
    except ImageCms.PyCMSError:
        return None
    to_srgb = _build(opened, srgb, (channels, "RGB"))
    if to_srgb is None:
        return None
    if channels == "CMYK":
        return Profile(channels, False, to_srgb, None)
    colors = _sample_colors(channels)
    reference = np.repeat(colors[:, None], 3, axis=1) if channels == "L" else colors
    shift = np.abs(apply_transform(to_srgb, colors, channels, "RGB").astype(np.int16) - reference)
    return Profile(channels, bool(shift.max() <= 1), to_srgb, _build(srgb, opened, ("RGB", channels)))


def apply_transform(
    transform: ImageCms.ImageCmsTransform, pixels: NDArray[np.uint8], mode_in: str, mode_out: str
) -> NDArray[np.uint8]:
    """Colours of pixels after a transform, in chunks that keep memory low.

    Parameters
    ----------
    transform : ImageCmsTransform
    pixels : (..., C) uint8, or (...) uint8 for "L"
    mode_in, mode_out : str
        Pillow modes of input and output.

    Returns
    -------
    (..., C') uint8, or (...) uint8 for "L"
    """
    n_in, n_out = Image.getmodebands(mode_in), Image.getmodebands(mode_out)
    shape = pixels.shape if n_in == 1 else pixels.shape[:-1]
    flat = np.ascontiguousarray(pixels).reshape(-1, n_in)
    result = np.empty((len(flat), n_out), np.uint8)
    for start in range(0, len(flat), _CHUNK_PX):
        chunk = flat[start : start + _CHUNK_PX]
        image = Image.frombytes(mode_in, (len(chunk), 1), chunk.tobytes())
        done = ImageCms.applyTransform(image, transform)
        if done is None:
            raise ValueError(f"the colour transform from {mode_in} to {mode_out} returned nothing")
        result[start : start + len(chunk)] = np.frombuffer(done.tobytes(), np.uint8).reshape(-1, n_out)
    return result.reshape(shape if n_out == 1 else (*shape, n_out))
