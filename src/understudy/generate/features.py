"""A reference's beard in the colour of the hair around the erased face, and its teeth as light as teeth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.color import lab
from understudy.generate.cielab import from_lab, to_lab
from understudy.generate.outline import wall_above

_DARK, _FADE = 0.84, 0.2
"""Share of the skin's lightness under which a lower face is beard, and over which range all of it is."""
_BEARD, _SOFT = 0.45, 0.12
"""Where a beard may begin, from the eyes (0) to the mouth (1), and over which range it does."""
_LIPS, _TEETH = 0.12, 0.22
"""Half-height of closed lips and of a smile, of the same distance."""
_CALM = 0.55
"""Share of its a* and b* that rendered hair keeps: under the light of references brown is red."""
_FOLLOWS, _LARGEST_STEP = 0.7, 28.0
"""How far colour and lightness follow the hair's, and the largest change of lightness."""
_DARKER = 0.9
"""Lightness of a beard, of the hair's."""
_RING = (0.03, 0.14)
"""Where hair is looked for above the face, beyond the mask's edge, of the mask's radius."""
_HAIR_CHROMA, _HAIR_LIGHTNESS, _LEAST_B, _SKIN_LIKE = 32.0, 85.0, -6.0, 16.0
"""What may be hair, in CIELAB: its largest chroma and lightness, its least b*, and how far from skin it is."""
_ENOUGH = 0.12
"""Share of what shows there that has to be hair before half of it is believed."""
_TOOTH_GREY, _TOOTH_LIGHT = 0.7, 0.55
"""Of the skin's, the largest chroma and the least lightness of a tooth: a mouth is redder, and dark inside."""
_LIGHTER, _LIFTED, _LIGHTEST = (26.0, 10.0), 0.75, 90.0
"""How much lighter than the darkest and the lightest skin teeth are, how far they are lifted, and how light at most."""


def hair_coloured(
    pixels: NDArray[np.uint8],
    cover: NDArray[np.bool_],
    keypoints: NDArray[np.floating],
    context: NDArray[np.uint8],
    mask: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """A laid reference (H, W, 3) whose beard comes near the hair beside the mask, and is calm where none shows.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
    cover : (H, W) bool
        Where the reference shows its subject.
    keypoints : (5, 2) px
        Where its eyes, nose and mouth lie.
    context : (H, W, 3) uint8
        With the erased pixels under ``mask`` (H, W).
    """
    if not (cover & mask).any():
        return pixels
    value = to_lab(pixels)
    skin = np.percentile(value[cover & mask], 70, axis=0)
    side, below = _along(keypoints, mask.shape)
    hair, share = _hair_above(context, mask, side, below, skin)
    share *= 1 - wall_above(keypoints, context, mask)
    trust = _FOLLOWS * share / (share + _ENOUGH)
    light = cv2.GaussianBlur(value[..., 0], (0, 0), 1.0) / max(float(skin[0]), 1.0)
    dark = np.clip((_DARK - light) / _FADE, 0, 1) * cover
    weight = dark * np.clip((below - _BEARD) / _SOFT, 0, 1) * (1 - _mouth(keypoints, side, below, _LIPS))
    if not (weight > 0.5).any():
        return pixels
    own = np.median(value[weight > 0.5], axis=0)
    step = float(np.clip(trust * (_DARKER * hair[0] - own[0]), -_LARGEST_STEP, _LARGEST_STEP))
    goal = np.array([own[0] + step, *((1 - trust) * _CALM * own[1:] + trust * hair[1:])])
    # single strands keep a little of their own colour
    value += (weight[..., None] * (goal + (value - own) * [1.0, _CALM, _CALM] - value)).astype(np.float32)
    return np.where(weight[..., None] > 0, from_lab(value), pixels)


def whiter_teeth(
    pixels: NDArray[np.uint8], cover: NDArray[np.bool_], keypoints: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """A laid reference (H, W, 3) whose teeth are as light as a smile's in a photograph: a rendered mouth lies in shade.

    The parameters are those of :func:`hair_coloured`.
    """
    if not cover.any():
        return pixels
    value = to_lab(pixels)
    skin = np.percentile(value[cover], 60, axis=0)
    chroma = np.hypot(value[..., 1], value[..., 2]) / max(float(np.hypot(skin[1], skin[2])), 1.0)
    grey = np.clip((_TOOTH_GREY - chroma) / 0.25, 0, 1)
    light = np.clip((value[..., 0] / max(float(skin[0]), 1.0) - _TOOTH_LIGHT) / 0.2, 0, 1)
    inside = grey * light * _mouth(keypoints, *_along(keypoints, cover.shape), _TEETH) * cover
    tooth = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.6)
    of_dark, of_light = _LIGHTER
    step = of_dark + (of_light - of_dark) * float(np.clip(skin[0] / 75, 0, 1))
    value[..., 0] += tooth * _LIFTED * np.maximum(min(float(skin[0]) + step, _LIGHTEST) - value[..., 0], 0)
    value[..., 1] -= tooth * 0.5 * np.maximum(value[..., 1], 0)
    return np.where(tooth[..., None] > 0, from_lab(value), pixels)


def _along(keypoints: NDArray[np.floating], shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far each pixel (H, W) lies to the side of the face's middle line and below its eyes, in eyes to mouth."""
    points = np.asarray(keypoints, np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:5].mean(axis=0)
    down = mouth - eyes
    square = max(float(down @ down), 1e-6)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    off = np.stack([x - eyes[0], y - eyes[1]], axis=-1)
    return off @ np.array([down[1], -down[0]]) / square, off @ down / square


def _mouth(
    keypoints: NDArray[np.floating], side: NDArray[np.float64], below: NDArray[np.float64], half_height: float
) -> NDArray[np.float64]:
    """How much of each pixel (H, W) lies in a mouth of some half-height, of the distance from the eyes to it."""
    points = np.asarray(keypoints, np.float64)
    down = points[3:5].mean(axis=0) - points[:2].mean(axis=0)
    wide = max(0.5 * float(np.hypot(*(points[4] - points[3]))) / max(float(np.hypot(*down)), 1e-3), 0.2)
    return np.asarray(np.exp(-((side / wide) ** 4) - ((below - 1) / half_height) ** 4))


def _hair_above(
    context: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    side: NDArray[np.float64],
    below: NDArray[np.float64],
    skin: NDArray[np.floating],
) -> tuple[NDArray[np.float64], float]:
    """Median CIELAB colour of what may be hair over a mask, and its share of what shows there.

    What is like the reference's skin (3,), as a bald head is, does not count.
    """
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) / np.sqrt(mask.sum() / np.pi)
    ring = (away > _RING[0]) & (away < _RING[1]) & (below < 0.1) & (np.abs(side) < 1.3)
    if not ring.any():
        return np.zeros(3), 0.0
    value = lab(context[ring])
    hair = (np.hypot(value[:, 1], value[:, 2]) < _HAIR_CHROMA) & (value[:, 2] > _LEAST_B)
    hair &= value[:, 0] < min(_HAIR_LIGHTNESS, float(skin[0]))
    hair &= np.linalg.norm((value - skin) * [0.6, 1, 1], axis=1) > _SKIN_LIKE
    if not hair.any():
        return np.zeros(3), 0.0
    return np.median(value[hair], axis=0), float(hair.mean())
