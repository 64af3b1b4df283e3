"""Hold an understudy's skin to the tone bin that its condition carries, and to hues that skin has."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.skin_tone import ITA_CUTS_DEG, ita_bin, measure_ita, measure_skin_lab
from understudy.types import Condition

LARGEST_RATIO = 1.7
"""Lightness is scaled by no more than this, either way."""
SKIN_HUE_DEG = (32.0, 63.0)
"""Hue angles in CIELAB that are left alone: skin (Xiao et al. 2017, doi:10.1111/srt.12295), with room for light."""
_CAST_HUE_DEG = (-30.0, 150.0)
LARGEST_CHROMA = 34.0
_LARGEST_TONING = 1.8
_N_TRIALS = 12
_EDGE = 0.16
"""Depth at which a shift of colour is full, of the square root of the mask's area."""


def hold_skin_tone(pixels: NDArray[np.uint8], condition: Condition) -> NDArray[np.uint8]:
    """Scale CIELAB lightness under the mask until the measured skin tone lies in the condition's bin.

    The smallest change that reaches the bin is taken; where none does, the one that comes nearest. Nothing but the
    condition and the generated pixels is read.

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
    ita = _ita(pixels, condition)
    if not np.isfinite(ita) or ita_bin(ita) == wanted:
        return pixels
    darker = ita_bin(ita) < wanted
    limit = 1 / LARGEST_RATIO if darker else LARGEST_RATIO
    lab = np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    best, nearest = pixels, _distance(ita, wanted)
    for ratio in np.geomspace(1, limit, _N_TRIALS + 1)[1:]:
        trial = _scaled(lab, float(ratio), pixels, mask)
        distance = _distance(_ita(trial, condition), wanted)
        if distance < nearest:
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
    """A reference (S, S, 3) with its lightness scaled to the middle of a skin tone bin; None leaves it as it is.

    ITA = atan2(L* - 50, b*) is solved for L* with b* as measured. What is lighter than skin (eyes, teeth) keeps its
    share of the way to white, or less where the skin becomes lighter. Nothing of a person is read.
    """
    if wanted is None or not (visibility > 0).all():
        return pixels
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    lightness, _, b = measure_skin_lab(pixels, np.array([*low, *high], np.float64), keypoints, visibility)
    if not np.isfinite(lightness):
        return pixels
    edges = (70.0, *ITA_CUTS_DEG, -60.0)
    middle = np.radians((edges[wanted] + edges[wanted + 1]) / 2)
    ratio = float(np.clip((50 + b * np.tan(middle)) / lightness, 1 / _LARGEST_TONING, _LARGEST_TONING))
    lab = np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    goal = min(lightness * ratio, 98.0)
    above = goal + (lab[..., 0] - lightness) * (100 - goal) / (100 - lightness)
    lab[..., 0] = np.where(
        lab[..., 0] <= lightness, lab[..., 0] * ratio, np.minimum(above, lab[..., 0] * max(ratio, 1))
    )
    return _scaled(lab, 1.0, pixels, np.ones(pixels.shape[:2], np.bool_))


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
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    value = np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    a, b = (float(v) for v in np.median(value[depth >= depth.max() / 2][:, 1:], axis=0))
    hue, chroma = float(np.degrees(np.arctan2(b, a))), float(np.hypot(a, b))
    if not _CAST_HUE_DEG[0] < hue < _CAST_HUE_DEG[1]:
        return pixels
    held, reach = np.radians(np.clip(hue, *SKIN_HUE_DEG)), min(chroma, LARGEST_CHROMA)
    shift = np.array([reach * np.cos(held) - a, reach * np.sin(held) - b], np.float32)
    if np.abs(shift).max() < 0.5:
        return pixels
    weight = np.clip(depth / (_EDGE * np.sqrt(mask.sum())), 0, 1).astype(np.float32)
    value[..., 1:] += weight[..., None] * shift
    rgb = np.clip(np.rint(cv2.cvtColor(value, cv2.COLOR_LAB2RGB) * 255), 0, 255).astype(np.uint8)
    return np.where(mask[..., None], rgb, pixels)


def _scaled(
    lab: NDArray[np.float32], ratio: float, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    changed = lab.copy()
    changed[..., 0] = np.clip(changed[..., 0] * ratio, 0, 100)
    rgb = np.clip(np.rint(cv2.cvtColor(changed, cv2.COLOR_LAB2RGB) * 255), 0, 255).astype(np.uint8)
    return np.where(mask[..., None], rgb, pixels)


def _distance(ita: float, wanted: int) -> float:
    """Degrees from an ITA to the nearer edge of a bin; 0 inside, infinite where nothing was measured."""
    if not np.isfinite(ita):
        return float("inf")
    if ita_bin(ita) == wanted:
        return 0.0
    edges = (90.0, *ITA_CUTS_DEG, -90.0)
    return max(abs(ita - edges[wanted if ita > edges[wanted] else wanted + 1]), 1e-6)


def _ita(pixels: NDArray[np.uint8], condition: Condition) -> float:
    return measure_ita(pixels, _box(condition.replace_mask), condition.keypoints, condition.visibility)


def _box(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The smallest box that holds a mask, (4,) px."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
