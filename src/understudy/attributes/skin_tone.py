"""Skin tone of a face: ITA and its bins, and a tone that light disturbs less. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.color import ita_deg, lab
from understudy.errors import InvalidInputError

ITA_CUTS_DEG = (55.0, 41.0, 28.0, 10.0, -30.0)
"""Very light, light, intermediate, tan, brown, dark."""
N_SKIN_TONES = 6
MIN_PIXELS = 4
TONE_PIVOT = 35.0
"""CIELAB lightness from which ``measure_tone_deg`` looks; ITA looks from 50."""
TONE_CUTS_DEG = (65.8, 56.8, 48.7, 37.6, 9.5)
"""Where rendered skin under white light has the ITA of ``ITA_CUTS_DEG``, so that the bins keep their names."""
TONE_LAB = (
    (75.5, 13.0, 11.0),
    (69.5, 17.5, 16.5),
    (66.6, 19.5, 21.5),
    (59.5, 19.0, 22.5),
    (53.0, 18.5, 25.5),
    (35.0, 17.0, 25.0),
)
"""CIELAB colour in which skin of the middle of each bin is drawn: the tone of such a render, but as light, dark and red
as faces of that tone are in pictures (chosen on the even half of 251 synthetic portraits). Skin under white light looks
like clay there."""
_LEAST_B, _COMMON_B = 0.5, 12.0
_MIDDLE = (25, 75)  # percentiles of the lightness of what counts: neither shadow nor highlight
_MATTE = (25, 60)  # the same, and no shine
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
    return np.asarray((value[:, 2] > _LEAST_B) & (value[:, 1] > -5) & (value[:, 0] > 4) & (value[:, 0] < 98), np.bool_)


def measure_face_lab(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Median CIELAB colour of a whole face's skin, without eyes, brows and mouth.

    The parameters are those of ``measure_ita``, whose patches lie where cheekbones and forehead shine: a dark face in
    the sun has highlights there that read as light skin.

    Returns
    -------
    (3,) float64
        NaN where too little skin lies inside the picture. Without eyes and mouth corners, what ``measure_skin_lab``
        says.
    """
    if not _placed(visibility):
        return measure_skin_lab(view, xyxy, keypoints, visibility)
    return _face_colour(view, keypoints, _MIDDLE)


def measure_face_ita(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> float:
    """ITA of ``measure_face_lab``, in degrees; NaN where that is."""
    lightness, _, b = measure_face_lab(view, xyxy, keypoints, visibility)
    return float(np.degrees(np.arctan2(lightness - 50, b)))


def measure_tone_deg(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> float:
    """Tone angle of the matte part of a whole face, arctan((L* - 35) / b*) in degrees: large is light skin.

    ITA asks how light skin is, so that a dark face in the sun reads as a light one. Melanin takes blue before red: dark
    skin has more yellow for its lightness in any amount of light (b* / (L* + 16) does not change with exposure), but
    the darkest skin has little colour. An angle seen from a lower lightness than ITA's minds both. Shine is left out,
    since it has the colour of the light.

    On 126 portraits it follows rated skin colour with r .70 (95 % .58 to .79), ITA of the whole face with .55 (.41 to
    .67), ITA of patches with .47 (.34 to .61); on 114 renders of 13 heads it follows melanin with .90, .89 and .81.
    Pivot and percentiles were chosen on these portraits; the cuts come from rendered skin alone.

    The parameters are those of ``measure_ita``.

    Returns
    -------
    float
        NaN where too little skin lies inside the picture. Without eyes and mouth corners, the angle of what
        ``measure_skin_lab`` says.
    """
    if _placed(visibility):
        lightness, _, b = _face_colour(view, keypoints, _MATTE)
    else:
        lightness, _, b = measure_skin_lab(view, xyxy, keypoints, visibility)
    return tone_deg(float(lightness), float(b))


def tone_deg(lightness: float, b: float, pivot: float = TONE_PIVOT) -> float:
    """Tone angle of a CIELAB lightness and b*, seen from the lightness ``pivot``, in degrees; NaN stays NaN.

    A b* under ``_COMMON_B`` counts as that: in a picture with little colour lightness alone says how dark skin is.
    """
    return float(np.degrees(np.arctan2(lightness - pivot, np.maximum(b, _COMMON_B))))


def tone_bin(angle: float) -> int:
    """Bin of a tone angle in degrees, 0 (very light) to 5 (dark): the names are those of ``ita_bin``."""
    if not np.isfinite(angle):
        raise InvalidInputError(f"a tone angle must be finite, got {angle}")
    return int(sum(angle <= cut for cut in TONE_CUTS_DEG))


def ita_bin(ita: float) -> int:
    """Bin of an ITA in degrees, 0 (very light, over 55) to 5 (dark, -30 and under)."""
    if not np.isfinite(ita):
        raise InvalidInputError(f"ita must be finite, got {ita}")
    return int(sum(ita <= cut for cut in ITA_CUTS_DEG))


def _placed(visibility: NDArray[np.floating]) -> bool:
    """Whether eyes and mouth corners say where the face is."""
    return len(visibility) >= 5 and bool((np.asarray(visibility)[[0, 1, 3, 4]] > 0).all())


def _face_colour(
    view: NDArray[np.uint8], keypoints: NDArray[np.floating], percentiles: tuple[int, int]
) -> NDArray[np.float64]:
    """Median CIELAB colour (3,) of a face's skin between two percentiles of its lightness; NaN where there is none."""
    value = lab(_face_pixels(view, np.asarray(keypoints, np.float64)))
    skin = value[_like_skin(value)]
    if len(skin) < MIN_PIXELS:
        return np.full(3, np.nan)
    low, high = np.percentile(skin[:, 0], percentiles)
    return np.asarray(np.median(skin[(skin[:, 0] >= low) & (skin[:, 0] <= high)], axis=0), np.float64)


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
    if not _placed(visibility):
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
