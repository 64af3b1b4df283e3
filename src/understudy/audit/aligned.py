"""A face brought to one place and size by its five keypoints, and the parts of it that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.color import lab
from understudy.errors import InvalidInputError

SIZE = 256
"""Side of an aligned crop, px."""
TEMPLATE = np.array([[89.6, 102.4], [166.4, 102.4], [128.0, 143.0], [98.0, 179.0], [158.0, 179.0]])
"""Where the five keypoints lie in a crop, px; the middle line is x = 128."""
Ellipse = tuple[float, float, float, float]
"""Centre x, centre y, half width, half height, px of the crop."""
FOREHEAD: Ellipse = (128, 66, 40, 14)
CHEEKS: tuple[Ellipse, ...] = ((84, 145, 15, 18), (172, 145, 15, 18))
UNDER_EYES: tuple[Ellipse, ...] = ((88, 130, 18, 6), (168, 130, 18, 6))
EYES: tuple[Ellipse, ...] = ((89.6, 102.4, 27, 17), (166.4, 102.4, 27, 17))
EYE_CORES: tuple[Ellipse, ...] = ((89.6, 102.4, 24, 14), (166.4, 102.4, 24, 14))
LIPS: Ellipse = (128, 181, 36, 17)
LIP_CORE: Ellipse = (128, 181, 20, 9)
FACE: Ellipse = (128, 138, 66, 88)
SKIN_REACH = 3.5
"""Pixels farther from the skin's median colour than this many deviations are no skin."""
MIN_SKIN_PX = 150
MIN_DEVIATION = 1.5
"""Least deviation of skin colour in CIELAB units: an even skin does not shrink what counts as skin."""


@dataclass(frozen=True)
class AlignedFace:
    """An aligned crop in CIELAB and where its skin is."""

    lab: NDArray[np.float64]  # (SIZE, SIZE, 3)
    skin: NDArray[np.bool_]  # (SIZE, SIZE): forehead and cheeks without what is no skin
    skin_lab: NDArray[np.float64]  # (3,) median colour of the skin
    skin_deviation: NDArray[np.float64]  # (3,)
    scale: float
    """Crop pixels for each pixel of the picture; over 1 the crop was enlarged."""


def similarity_to_template(keypoints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Least-squares similarity (2, 3) from picture px to crop px.

    Parameters
    ----------
    keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``

    Notes
    -----
    Umeyama 1991, doi:10.1109/34.88573, without reflection; in the plane it is a regression of complex numbers.
    """
    points = np.asarray(keypoints, np.float64)
    if points.shape != TEMPLATE.shape or not np.isfinite(points).all():
        raise InvalidInputError(f"keypoints must be (5, 2) and finite, got {points.shape}")
    source, target = points @ [1, 1j], TEMPLATE @ [1, 1j]
    spread = source - source.mean()
    norm = float((np.abs(spread) ** 2).sum())
    if norm < 1e-6:
        raise InvalidInputError("keypoints must not all be in one place")
    turn = complex((spread.conj() * (target - target.mean())).sum() / norm)
    shift = target.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align(view: NDArray[np.uint8], keypoints: NDArray[np.floating]) -> AlignedFace | None:
    """Bring a face to its place in a crop.

    Parameters
    ----------
    view : (H, W, 3) uint8 sRGB
    keypoints : (5, 2) px

    Returns
    -------
    AlignedFace or None
        None where forehead and cheeks show too little skin to measure anything.
    """
    if view.ndim != 3 or view.shape[2] != 3 or view.dtype != np.uint8:
        raise InvalidInputError(f"view must be (H, W, 3) uint8, got {view.shape} {view.dtype}")
    affine = similarity_to_template(keypoints)
    scale = float(np.hypot(*affine[:, 0]))
    centred = np.column_stack([affine[:, :2], affine @ [0.5, 0.5, 1.0] - 0.5])  # OpenCV: centres at whole numbers
    source = view if scale >= 0.75 else np.asarray(cv2.GaussianBlur(view, (0, 0), 0.45 / scale), np.uint8)
    crop = cv2.warpAffine(source, centred, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones(view.shape[:2], np.uint8), centred, (SIZE, SIZE), flags=cv2.INTER_NEAREST)
    colour = lab(np.asarray(crop, np.uint8))
    patches = mask_of([FOREHEAD, *CHEEKS]) & (inside > 0)
    if patches.sum() < MIN_SKIN_PX:
        return None
    cheeks = mask_of(CHEEKS) & (inside > 0)
    sample = colour[cheeks if cheeks.sum() >= MIN_SKIN_PX else patches]
    middle = np.median(sample, axis=0)
    deviation = np.maximum(
        1.4826 * np.median(np.abs(sample - middle), axis=0), [2 * MIN_DEVIATION, *[MIN_DEVIATION] * 2]
    )
    skin = patches & (skin_distance(colour, middle, deviation) < SKIN_REACH)
    if skin.sum() < MIN_SKIN_PX or middle[2] < -5:
        return None
    return AlignedFace(colour, skin, middle, deviation, scale)


def skin_distance(
    colour: NDArray[np.float64], middle: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance from the skin's median colour in deviations, lightness at half its weight, root mean square."""
    gap = (colour - middle) / deviation * [0.5, 1, 1]
    return np.asarray(np.sqrt((gap**2).mean(axis=-1)), np.float64)


def mask_of(ellipses: Sequence[Ellipse]) -> NDArray[np.bool_]:
    """(SIZE, SIZE) True under any of the ellipses; read-only."""
    return _mask(tuple(ellipses))


@lru_cache(maxsize=64)
def _mask(ellipses: tuple[Ellipse, ...]) -> NDArray[np.bool_]:
    ys, xs = np.mgrid[:SIZE, :SIZE] + 0.5
    mask = np.zeros((SIZE, SIZE), np.bool_)
    for x, y, a, b in ellipses:
        mask |= ((xs - x) / a) ** 2 + ((ys - y) / b) ** 2 <= 1
    mask.setflags(write=False)
    return mask
