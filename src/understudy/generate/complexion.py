"""A reference in the complexion of the skin that shows around the erased face: ears, neck, a bare forehead."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.skin_tone import TONE_PIVOT
from understudy.color import lab
from understudy.generate.cielab import from_lab, to_lab

_RING = 0.30
"""How far around the mask skin is looked for, of the square root of its area."""
_HUE_DEG, _CHROMA, _LIGHTNESS = (22.0, 72.0), (7.0, 45.0), 22.0
"""What may be skin: hue angle and chroma in CIELAB, and how far off the reference's lightness."""
_ENOUGH = 0.04
"""Share of the ring that has to be skin before it is trusted half."""
_SETTLED = 0.95
"""How far what was drawn is moved to its reference's colour."""
_LARGEST_STRETCH = 1.3
"""b* is scaled by no more than this, either way."""
_LIGHTNESS_FOLLOWS = 0.4
"""Share of that by which the lightness above the tone's pivot is scaled, too (chosen on the even half of 251 portraits,
as is that a* stays: necks and hair are less red than the faces over them)."""


def matched(
    pixels: NDArray[np.uint8],
    cover: NDArray[np.bool_],
    context: NDArray[np.uint8],
    mask: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """A laid reference (H, W, 3) whose skin comes near the yellow of the skin beside the mask.

    Skin tone is the policy's to carry; what is matched here is light: a render under white light looks grey beside a
    neck in the evening sun. Lightness follows b* some of the way along the tone's angle (``measure_tone_deg``); all of
    it would turn faces grey in blue or glaring light. The less skin shows, the less is changed; where none does,
    nothing. Known pixels alone are read.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
    cover : (H, W) bool
        Where the reference shows its subject.
    context : (H, W, 3) uint8
        With the erased pixels under ``mask`` (H, W).
    """
    if not (cover & mask).any():
        return pixels
    value = to_lab(pixels)
    own = np.median(value[cover & mask], axis=0)
    seen, share = _skin_beside(context, mask, cover & mask, float(own[0]))
    if share == 0:
        return pixels
    # chroma grows with lightness, and a neck is darker than the face over it
    there = float(seen[2]) * np.sqrt(np.clip(own[0] / max(float(seen[0]), 1), 0.8, 1.25))
    yellower = share / (share + _ENOUGH) * (there - float(own[2]))
    b = max(float(own[2]), 1)
    stretch = float(np.clip((b + yellower) / b, 1 / _LARGEST_STRETCH, _LARGEST_STRETCH))
    follows = 1 + _LIGHTNESS_FOLLOWS * (stretch - 1)
    value[..., 0] *= np.float32((TONE_PIVOT + (own[0] - TONE_PIVOT) * follows) / max(float(own[0]), 1))
    value[..., 2] *= np.float32(stretch)
    return from_lab(value)


def settled(
    drawn: NDArray[np.uint8], reference: NDArray[np.uint8], cover: NDArray[np.bool_], weight: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """What was drawn (H, W, 3), moved nearly to the median colour of its reference, whose tone is the right one.

    Dark or coloured surroundings pull at what a small network draws. One vector of CIELAB is added, so that light and
    shade stay.

    Parameters
    ----------
    drawn, reference : (H, W, 3) uint8
    cover : (H, W) bool
        Where the reference shows its subject.
    weight : (H, W) float in [0, 1]
        How much of a pixel is moved.
    """
    if not cover.any():
        return drawn
    own, goal = (to_lab(picture) for picture in (drawn, reference))
    shift = _SETTLED * (np.median(goal[cover], axis=0) - np.median(own[cover], axis=0))
    own += weight.astype(np.float32)[..., None] * shift.astype(np.float32)
    return from_lab(own)


def _skin_beside(
    context: NDArray[np.uint8], mask: NDArray[np.bool_], subject: NDArray[np.bool_], lightness: float
) -> tuple[NDArray[np.float64], float]:
    """Median CIELAB colour of what looks like skin around a subject, outside every mask, and its share of the ring."""
    width = _RING * float(np.sqrt(subject.sum()))
    away = cv2.distanceTransform((~subject).astype(np.uint8), cv2.DIST_L2, 3)
    ring = (away <= width) & ~cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
    if not ring.any():
        return np.zeros(3), 0.0
    value = lab(context[ring])
    hue, chroma = np.degrees(np.arctan2(value[:, 2], value[:, 1])), np.hypot(value[:, 1], value[:, 2])
    skin = (hue > _HUE_DEG[0]) & (hue < _HUE_DEG[1]) & (chroma > _CHROMA[0]) & (chroma < _CHROMA[1])
    skin &= np.abs(value[:, 0] - lightness) < _LIGHTNESS
    return (np.median(value[skin], axis=0), float(skin.mean())) if skin.any() else (np.zeros(3), 0.0)
