"""Skin tone of a face as one of six ITA bins, measured on cheeks and forehead. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.color import ita_deg, lab
from understudy.errors import InvalidInputError

ITA_CUTS_DEG = (55.0, 41.0, 28.0, 10.0, -30.0)
"""Very light, light, intermediate, tan, brown, dark."""
N_SKIN_TONES = 6
MIN_PIXELS = 4
RADIUS = 0.17
"""Of each patch, as a share of the distance from the eyes to the mouth."""


def measure_ita(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> float:
    """Median ITA over patches on both cheeks and the forehead, in degrees.

    Shadow, highlights and colours that skin does not have are left out, so that a patch that lies beside a turned face
    counts for little.

    Parameters
    ----------
    view : (H, W, 3) sRGB
    xyxy : (4,) px
    keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
    visibility : (5,), 0 = absent; without eyes and mouth corners the patches are placed by the box alone

    Returns
    -------
    float
        NaN where too little skin lies inside the picture.
    """
    pixels = _skin_pixels(view, xyxy, keypoints, visibility)
    return float(np.median(ita_deg(pixels))) if len(pixels) else float("nan")


def measure_skin_lab(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Median CIELAB colour of the same pixels as in ``measure_ita``, whose parameters these are.

    Returns
    -------
    (3,) float64
        NaN where too little skin lies inside the picture.
    """
    pixels = _skin_pixels(view, xyxy, keypoints, visibility)
    return np.asarray(np.median(lab(pixels), axis=0) if len(pixels) else np.full(3, np.nan), np.float64)


def _skin_pixels(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> NDArray[np.uint8]:
    """(N, 3) sRGB pixels of the patches that have a colour of skin and about the lightness of most; N may be 0."""
    centers, radius = _patches(np.asarray(xyxy, np.float64), np.asarray(keypoints, np.float64), np.asarray(visibility))
    pixels = _pixels(view, centers, radius)
    value = lab(pixels)
    lightness = value[:, 0]
    skin = (value[:, 2] > 0) & (value[:, 1] > -5) & (lightness > 4) & (lightness < 98)
    if skin.sum() < MIN_PIXELS:
        return pixels[:0]
    middle = np.median(lightness[skin])
    return pixels[skin & (np.abs(lightness - middle) < 15)]


def ita_bin(ita: float) -> int:
    """Bin of an ITA in degrees, 0 (very light, over 55) to 5 (dark, -30 and under)."""
    if not np.isfinite(ita):
        raise InvalidInputError(f"ita must be finite, got {ita}")
    return int(sum(ita <= cut for cut in ITA_CUTS_DEG))


def _patches(
    xyxy: NDArray[np.float64], keypoints: NDArray[np.float64], visibility: NDArray[np.floating]
) -> tuple[NDArray[np.float64], float]:
    """Centres (3, 2) and the radius of the patches: both cheeks, forehead."""
    x0, y0, x1, y1 = xyxy
    if len(visibility) < 5 or not (visibility[[0, 1, 3, 4]] > 0).all():
        size = np.array([x1 - x0, y1 - y0])
        centers = np.array([[0.3, 0.6], [0.7, 0.6], [0.5, 0.2]]) * size + np.array([x0, y0])
        return centers, RADIUS * 0.4 * float(y1 - y0)
    eyes, mouth = keypoints[:2].mean(axis=0), keypoints[3:5].mean(axis=0)
    down = mouth - eyes
    cheeks = [0.45 * keypoints[i] + 0.55 * keypoints[i + 3] for i in (0, 1)]
    centers = np.array([*cheeks, eyes - 0.55 * down])
    return centers, RADIUS * float(np.hypot(*down))


def _pixels(view: NDArray[np.uint8], centers: NDArray[np.float64], radius: float) -> NDArray[np.uint8]:
    """(N, 3) pixels whose centre lies in one of the discs; the nearest pixel at least, where it is in the picture."""
    height, width = view.shape[:2]
    reach = max(radius, 0.71)
    parts = []
    for cx, cy in centers:
        x0, x1 = (int(np.clip(v, 0, width)) for v in (np.floor(cx - reach), np.ceil(cx + reach)))
        y0, y1 = (int(np.clip(v, 0, height)) for v in (np.floor(cy - reach), np.ceil(cy + reach)))
        ys, xs = np.mgrid[y0:y1, x0:x1]
        inside = (xs + 0.5 - cx) ** 2 + (ys + 0.5 - cy) ** 2 <= reach**2
        parts.append(view[y0:y1, x0:x1][inside])
    return np.concatenate(parts)
