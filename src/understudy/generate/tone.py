"""Hold an understudy's skin to the tone bin that its condition carries, and to hues that skin has."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.skin_tone import (
    TONE_CUTS_DEG,
    TONE_LAB,
    TONE_PIVOT,
    measure_face_lab,
    measure_tone_deg,
    tone_bin,
)
from understudy.generate.cielab import from_lab, to_lab
from understudy.types import Condition

LARGEST_RATIO = 1.7
"""Lightness is scaled by no more than this, either way."""
SKIN_HUE_DEG = (40.0, 63.0)
"""Hue angles in CIELAB that are left alone: skin (Xiao et al. 2017, doi:10.1111/srt.12295), with room for light."""
_CAST_HUE_DEG = (-30.0, 150.0)
LARGEST_CHROMA = 34.0
LARGEST_CHROMA_RATIO = 1.5
"""Chroma likewise."""
_LARGEST_TONING = 2.0
"""Lightness, a* and b* of a reference likewise."""
_TINT = 0.25
"""Share of the skin's a* and b* that what is grey in a reference takes on."""
_N_TRIALS = 12
_FARTHEST = 1.8  # of the way to the bin: scaling is not turning, where a face is not of one colour
_OWN = 0.32
"""Radius about the middle of a crop, of its side, in which the subject's own mask lies."""
_EDGE = 0.16
"""Depth at which a shift of colour is full, of the square root of the mask's area."""


def hold_skin_tone(pixels: NDArray[np.uint8], condition: Condition) -> NDArray[np.uint8]:
    """Turn the colour under the mask about the tone's pivot until the measured tone lies in the condition's bin.

    Tone is an angle in the plane of CIELAB b* and L* (``measure_tone_deg``), so that a turn is the shortest way: light
    skin that becomes darker becomes more yellow, too. Lightness, a* and b* are scaled. The smallest change that reaches
    the bin is taken; where none does, the one that comes nearest. Nothing but the condition and the generated pixels is
    read.

    Parameters
    ----------
    pixels : (S, S, 3) uint8 sRGB
        What a generator made of the condition.
    condition : Condition
        Without a skin tone, or where no skin can be measured, the pixels are returned as they are.
    """
    wanted, mask = condition.attributes.skin_tone, condition.replace_mask
    if wanted is None or not mask.any():
        return pixels
    best, nearest = pixels, _distance(_tone(pixels, condition), wanted)
    if not 0 < abs(nearest) < np.inf:
        return pixels
    own = measure_face_lab(pixels, _box(mask), condition.keypoints, condition.visibility)
    lab = to_lab(pixels)
    for turn in nearest * np.linspace(0, _FARTHEST, _N_TRIALS + 1)[1:]:
        trial = _scaled(lab, *_turned(own, float(turn)), pixels, mask)
        distance = _distance(_tone(trial, condition), wanted)
        if abs(distance) < abs(nearest):
            best, nearest = trial, distance
        if distance == 0:
            break
    return best


def toned(
    pixels: NDArray[np.uint8],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
    wanted: int | None,
) -> NDArray[np.uint8]:
    """A reference (S, S, 3) in the colour that skin has in the middle of a tone's bin; None leaves it as it is.

    Lightness, a* and b* are scaled to those of ``TONE_LAB``. What is lighter than skin (eyes, teeth) keeps its share of
    the way to white, or less where the skin becomes lighter, and some of the skin's a* and b*. Nothing of a person is
    read.
    """
    if wanted is None or not (visibility > 0).all():
        return pixels
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    own = measure_face_lab(pixels, np.array([*low, *high], np.float64), keypoints, visibility)
    if not np.isfinite(own).all():
        return pixels
    lightness = float(own[0])
    goal_l, goal_a, goal_b = TONE_LAB[wanted]
    ratio = float(np.clip(goal_l / lightness, 1 / _LARGEST_TONING, _LARGEST_TONING))
    lab = to_lab(pixels)
    reached = min(lightness * ratio, 98.0)
    above = reached + (lab[..., 0] - lightness) * (100 - reached) / (100 - lightness)
    lab[..., 0] = np.where(
        lab[..., 0] <= lightness, lab[..., 0] * ratio, np.minimum(above, lab[..., 0] * max(ratio, 1))
    )
    for i, goal in ((1, goal_a), (2, goal_b)):
        level = max(float(own[i]), 1.0)
        scale = float(np.clip(goal / level, 1 / _LARGEST_TONING, _LARGEST_TONING))
        # lips that are redder than skin become no redder than skin does, green eyes no greener, and teeth and the white
        # of eyes, which are grey under a white light, get some of the colour of everything around them
        grey = np.clip(1 - lab[..., i] / level, 0, 1)
        below = lab[..., i] * np.where(lab[..., i] > 0, scale, 1) + _TINT * level * scale * grey
        lab[..., i] = np.where(lab[..., i] <= level, below, lab[..., i] + level * (scale - 1))
    return _scaled(lab, 1.0, 1.0, pixels, np.ones(pixels.shape[:2], np.bool_))


def hold_skin_hue(pixels: NDArray[np.uint8], condition: Condition) -> NDArray[np.uint8]:
    """Turn the hue of an understudy's skin back to where skin lies under common light, and hold its chroma.

    Surroundings of one strong colour (a lawn, a red curtain) tint what the networks draw more than they would tint a
    face. The shift is one vector of CIELAB a and b, full in the middle of the mask and none at its edge, where the
    blender meets the surroundings. Nothing but the condition and the generated pixels is read.

    Parameters
    ----------
    pixels : (S, S, 3) uint8 sRGB
    condition : Condition
        Where the middle of the mask is blue or violet, as under stage lights, the pixels are returned as they are.
    """
    mask = condition.replace_mask
    if not mask.any():
        return pixels
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]] + 0.5
    own = mask & (np.hypot(x - mask.shape[1] / 2, y - mask.shape[0] / 2) < _OWN * max(mask.shape))
    own = own if own.any() else mask  # a neighbour's hole may join the mask, and be deeper
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    value = to_lab(pixels)
    a, b = (float(v) for v in np.median(value[own & (depth >= depth[own].max() / 2)][:, 1:], axis=0))
    hue, chroma = float(np.degrees(np.arctan2(b, a))), float(np.hypot(a, b))
    if not _CAST_HUE_DEG[0] < hue < _CAST_HUE_DEG[1]:
        return pixels
    held, reach = np.radians(np.clip(hue, *SKIN_HUE_DEG)), min(chroma, LARGEST_CHROMA)
    shift = np.array([reach * np.cos(held) - a, reach * np.sin(held) - b], np.float32)
    if np.abs(shift).max() < 0.5:
        return pixels
    weight = np.clip(depth / (_EDGE * np.sqrt(own.sum())), 0, 1).astype(np.float32)
    value[..., 1:] += weight[..., None] * shift
    rgb = from_lab(value)
    return np.where(mask[..., None], rgb, pixels)


def _turned(own: NDArray[np.float64], turn: float) -> tuple[float, float]:
    """By how much lightness and chroma of a colour (3,) are scaled to turn it by so many degrees about the pivot."""
    up, b = float(own[0]) - TONE_PIVOT, max(float(own[2]), 1.0)
    angle, radius = np.arctan2(up, b) + np.radians(turn), np.hypot(up, b)
    lightness = (TONE_PIVOT + radius * np.sin(angle)) / max(float(own[0]), 1.0)
    chroma = radius * np.cos(angle) / b
    return (
        float(np.clip(lightness, 1 / LARGEST_RATIO, LARGEST_RATIO)),
        float(np.clip(chroma, 1 / LARGEST_CHROMA_RATIO, LARGEST_CHROMA_RATIO)),
    )


def _scaled(
    lab: NDArray[np.float32], lightness: float, chroma: float, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    changed = lab * np.array([lightness, chroma, chroma], np.float32)
    rgb = from_lab(changed)
    return np.where(mask[..., None], rgb, pixels)


def _distance(tone: float, wanted: int) -> float:
    """Degrees from a tone angle to the nearer edge of a bin, signed; 0 inside, infinite where nothing was measured."""
    if not np.isfinite(tone):
        return float("inf")
    if tone_bin(tone) == wanted:
        return 0.0
    edges = (90.0, *TONE_CUTS_DEG, -90.0)
    way = (edges[wanted] if tone > edges[wanted] else edges[wanted + 1]) - tone
    return float(np.copysign(max(abs(way), 0.1), way if way else 1.0))


def _tone(pixels: NDArray[np.uint8], condition: Condition) -> float:
    return measure_tone_deg(pixels, _box(condition.replace_mask), condition.keypoints, condition.visibility)


def _box(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The smallest box that holds a mask, (4,) px."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
