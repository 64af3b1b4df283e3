"""Hold an understudy to the skin tone bin that its condition carries."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.skin_tone import ITA_CUTS_DEG, ita_bin, measure_ita
from understudy.types import Condition

LARGEST_RATIO = 1.7
"""Lightness is scaled by no more than this, either way."""
_N_TRIALS = 12


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
    mask = condition.replace_mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
    return measure_ita(pixels, box, condition.keypoints, condition.visibility)
