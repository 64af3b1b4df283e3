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
SHINE_DEG = 10.0
"""How much lighter than the whole face cheeks and forehead may be before they count as a highlight."""
_MIDDLE = (25, 75)  # percentiles of the lightness of what counts: neither shadow nor highlight
_ACROSS = 48  # pixels from the eyes to the mouth that are enough to read a face
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
    skin = _like_skin(value)
    if skin.sum() < MIN_PIXELS:
        return pixels[:0]
    middle = np.median(lightness[skin])
    return pixels[skin & (np.abs(lightness - middle) < 15)]


def _like_skin(value: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which CIELAB colours (N, 3) skin may have: neither green nor blue, neither black nor burnt out."""
    return np.asarray((value[:, 2] > 0) & (value[:, 1] > -5) & (value[:, 0] > 4) & (value[:, 0] < 98), np.bool_)


def measure_face_lab(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Median CIELAB colour of a whole face's skin, without eyes, brows and mouth.

    The parameters are those of ``measure_ita``, whose patches lie where cheekbones and forehead shine: a dark face in
    the sun has highlights there that read as light skin. Against skin colour as people rated it in 126 portraits, the
    ITA of this colour does better (r 0.55) than that of the patches (0.42).

    Returns
    -------
    (3,) float64
        NaN where too little skin lies inside the picture. Without eyes and mouth corners, what ``measure_skin_lab``
        says.
    """
    if len(visibility) < 5 or not (np.asarray(visibility)[[0, 1, 3, 4]] > 0).all():
        return measure_skin_lab(view, xyxy, keypoints, visibility)
    value = lab(_face_pixels(view, np.asarray(keypoints, np.float64)))
    skin = value[_like_skin(value)]
    if len(skin) < MIN_PIXELS:
        return np.full(3, np.nan)
    low, high = np.percentile(skin[:, 0], _MIDDLE)
    return np.asarray(np.median(skin[(skin[:, 0] >= low) & (skin[:, 0] <= high)], axis=0), np.float64)


def measure_face_ita(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> float:
    """ITA of ``measure_face_lab``, in degrees; NaN where that is."""
    lightness, _, b = measure_face_lab(view, xyxy, keypoints, visibility)
    return float(np.degrees(np.arctan2(lightness - 50, b)))


def measure_matte_ita(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> float:
    """``measure_ita``, or what the whole face says where cheeks and forehead shine and read as much lighter.

    Cheeks and forehead are some 7 degrees lighter than the rest of a face; more than ``SHINE_DEG`` is a highlight, not
    skin. In degrees; NaN where too little skin lies inside the picture.
    """
    patches = measure_ita(view, xyxy, keypoints, visibility)
    whole = measure_face_ita(view, xyxy, keypoints, visibility)
    return min(patches, whole + SHINE_DEG) if np.isfinite(whole) else patches


def ita_bin(ita: float) -> int:
    """Bin of an ITA in degrees, 0 (very light, over 55) to 5 (dark, -30 and under)."""
    if not np.isfinite(ita):
        raise InvalidInputError(f"ita must be finite, got {ita}")
    return int(sum(ita <= cut for cut in ITA_CUTS_DEG))


def _face_pixels(view: NDArray[np.uint8], keypoints: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(N, 3) pixels of the oval around eyes and mouth, without these and the brows; N may be 0."""
    eyes, mouth = keypoints[:2].mean(axis=0), keypoints[3:5].mean(axis=0)
    length = max(float(np.hypot(*(mouth - eyes))), 1.0)
    down = (mouth - eyes) / length
    reach, step = 1.6 * length, max(1, int(length / _ACROSS))
    center = eyes + 0.35 * length * down
    size = np.array(view.shape[1::-1])
    low, high = (np.clip(edge, 0, size).astype(int) for edge in (np.floor(center - reach), np.ceil(center + reach)))
    ys, xs = np.mgrid[low[1] : high[1] : step, low[0] : high[0] : step]
    x, y = xs + 0.5 - eyes[0], ys + 0.5 - eyes[1]
    along = (x * down[0] + y * down[1]) / length
    across = (x * down[1] - y * down[0]) / length
    oval = (across / 0.72) ** 2 + ((along - 0.45) / 1.05) ** 2 < 1
    eye = (np.abs(along) < 0.28) & (np.abs(across) < 0.85)
    brow = (along > -0.42) & (along < -0.2) & (np.abs(across) < 0.8)
    lips = (across / 0.5) ** 2 + ((along - 1.05) / 0.3) ** 2 < 1
    seen = view[low[1] : high[1] : step, low[0] : high[0] : step]
    return np.asarray(seen[oval & ~eye & ~brow & ~lips], np.uint8)


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
