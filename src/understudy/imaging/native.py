"""Between a file's own values (depth, channels, alpha, profile) and the 8-bit sRGB view."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.imaging.profile import Profile, apply_transform, load_profile
from understudy.types import SourceImage

MODES = {
    "L": (1, np.dtype(np.uint8)),
    "LA": (2, np.dtype(np.uint8)),
    "RGB": (3, np.dtype(np.uint8)),
    "RGBA": (4, np.dtype(np.uint8)),
    "I;16": (1, np.dtype(np.uint16)),
    "LA;16": (2, np.dtype(np.uint16)),
    "RGB;16": (3, np.dtype(np.uint16)),
    "RGBA;16": (4, np.dtype(np.uint16)),
}
"""Modes of ``SourceImage.native``: number of channels and type of a value."""

_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R BT.601 in 1/65536, so that a grey stays exactly itself


def channels_of(mode: str) -> str:
    """The channels that a profile is about: "L" for grey modes, "RGB" for colour."""
    return "L" if MODES[mode][0] <= 2 else "RGB"


def _profile(icc: bytes | None, mode: str) -> Profile | None:
    """The profile where it changes anything."""
    profile = load_profile(icc, channels_of(mode)) if icc else None
    return None if profile is None or profile.is_srgb else profile


def view_of(native: NDArray[np.generic], mode: str, icc: bytes | None) -> NDArray[np.uint8]:
    """The picture as 8-bit sRGB; alpha is ignored, so that hidden colours count as picture content too.

    Parameters
    ----------
    native : (H, W) or (H, W, C) uint8 or uint16
    mode : str
        One of ``MODES``.
    icc : bytes, optional

    Returns
    -------
    (H, W, 3) uint8; ``native`` itself where that is the same
    """
    n_channels, dtype = MODES[mode]
    profile = _profile(icc, mode)
    color: NDArray[np.uint8]
    if n_channels <= 2:
        plane = native if n_channels == 1 else native[..., 0]
        color = plane if dtype == np.uint8 else cv2.convertScaleAbs(np.ascontiguousarray(plane), alpha=1 / 257)  # type: ignore[assignment]
        if profile:
            return apply_transform(profile.to_srgb, color, "L", "RGB")
        return np.repeat(color[..., None], 3, axis=2)
    color = native if n_channels == 3 else native[..., :3]  # type: ignore[assignment]
    if dtype == np.uint16:
        color = cv2.convertScaleAbs(np.ascontiguousarray(color), alpha=1 / 257).reshape(*native.shape[:2], 3)  # type: ignore[assignment]
    if profile:
        return apply_transform(profile.to_srgb, color, "RGB", "RGB")
    return np.ascontiguousarray(color)


def to_native(pixels: NDArray[np.uint8], mode: str, icc: bytes | None) -> NDArray[np.generic]:
    """Colour values, in a file's own depth, channels and profile, that show the given sRGB colours.

    Parameters
    ----------
    pixels : (..., 3) uint8 sRGB
    mode : str
        One of ``MODES``; alpha is no part of the result.
    icc : bytes, optional

    Returns
    -------
    (...) for grey modes, (..., 3) for colour, uint8 or uint16
    """
    profile = _profile(icc, mode)
    grey = channels_of(mode) == "L"
    values: NDArray[np.uint8]
    if profile is not None and profile.from_srgb is not None:
        values = apply_transform(profile.from_srgb, pixels, "RGB", "L" if grey else "RGB")
    elif grey:
        values = ((pixels.astype(np.uint32) @ _LUMA + 32768) >> 16).astype(np.uint8)
    else:
        values = pixels
    return values if MODES[mode][1] == np.uint8 else values.astype(np.uint16) * np.uint16(257)


def composite_native(
    source: SourceImage,
    pixels: NDArray[np.uint8],
    replace_mask: NDArray[np.bool_],
    *,
    window: tuple[int, int, int, int] | None = None,
    into: NDArray[np.generic] | None = None,
) -> NDArray[np.generic]:
    """Write already blended sRGB pixels into a picture's own values.

    Under the mask the source's values have no influence on the result, except for alpha, which stays as it is.
    Outside the mask every value is the source's, bit for bit.

    Parameters
    ----------
    source : SourceImage
    pixels : (h, w, 3) uint8 sRGB
        Of the whole picture, or of ``window``.
    replace_mask : (h, w) bool
        True = taken from ``pixels``.
    window : (x0, y0, x1, y1) px, optional
        Where ``pixels`` lies; the whole picture if left out.
    into : (H, W) or (H, W, C), optional
        A result of an earlier call, to be changed in place; a copy of the source's values if left out.

    Returns
    -------
    (H, W) or (H, W, C) of the source's type
    """
    height, width = source.native.shape[:2]
    x0, y0, x1, y1 = window or (0, 0, width, height)
    if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
        raise InvalidInputError(f"window must lie within {width} x {height}, got {(x0, y0, x1, y1)}")
    size = (y1 - y0, x1 - x0)
    if pixels.shape != (*size, 3) or pixels.dtype != np.uint8:
        raise InvalidInputError(f"pixels must be uint8 of shape {(*size, 3)}, got {pixels.dtype} {pixels.shape}")
    if replace_mask.shape != size or replace_mask.dtype != np.bool_:
        found = f"{replace_mask.dtype} {replace_mask.shape}"
        raise InvalidInputError(f"replace_mask must be bool of shape {size}, got {found}")
    if into is not None and (into.shape != source.native.shape or into.dtype != source.native.dtype):
        raise InvalidInputError(
            f"into must be {source.native.dtype} {source.native.shape}, got {into.dtype} {into.shape}"
        )
    result = source.native.copy() if into is None else into
    if not replace_mask.any():
        return result
    part = result[y0:y1, x0:x1]
    n_channels = MODES[source.mode][0]
    color = part[..., 0] if n_channels == 2 else part[..., :3] if n_channels >= 3 else part
    if source.mode == "RGB" and _profile(source.icc, source.mode) is None:  # the usual case, many times faster so
        part[...] = cv2.copyTo(pixels, np.ascontiguousarray(replace_mask).view(np.uint8), np.ascontiguousarray(part))
    else:
        color[replace_mask] = to_native(pixels[replace_mask], source.mode, source.icc)
    return result
