"""The skin of a laid person in the tone that the condition carries, as the face that is drawn into it will have."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.skin_tone import ITA_CUTS_DEG, measure_skin_lab
from understudy.generate.cielab import to_lab

LARGEST_RATIO = 2.0
"""Lightness of the skin is scaled by no more than this, either way."""
SIGMA_AB = 9.0
"""Distance in CIELAB's a* and b* from the skin's own at which a colour is skin by a factor exp(-1/2)."""


def skin_to(
    laid: NDArray[np.uint8], cover: NDArray[np.bool_], head: NDArray[np.floating], wanted: int | None
) -> NDArray[np.uint8]:
    """A laid person with the lightness of their skin scaled to the middle of a skin tone bin.

    ITA = atan2(L* - 50, b*) is solved for L* with b* as measured on the person's own face. Nothing of the person who
    is replaced is read.

    Parameters
    ----------
    laid : (H, W, 3) uint8
    cover : (H, W) bool
        Where the laid person shows; nothing else is changed.
    head : (3, 2) px
        Nose and eyes of the laid person.
    wanted : int or None
        ITA bin, 0 (very light) to 5 (dark); None leaves everything as it is.
    """
    eyes = head[1:].mean(axis=0)
    size = max(float(np.hypot(*(head[2] - head[1]))), 1.2 * float(np.hypot(*(head[0] - eyes))), 2.0)
    box = np.array([head[0, 0] - 1.1 * size, head[0, 1] - 1.5 * size, head[0, 0] + 1.1 * size, head[0, 1] + 1.2 * size])
    if wanted is None:
        return laid
    skin = measure_skin_lab(laid, box, np.zeros((5, 2)), np.zeros(5))
    if not np.isfinite(skin).all():
        return laid
    edges = (70.0, *ITA_CUTS_DEG, -60.0)
    middle = np.radians((edges[wanted] + edges[wanted + 1]) / 2)
    goal = (50 + float(skin[2]) * np.tan(middle)) / max(float(skin[0]), 1.0)
    ratio = float(np.clip(goal, 1 / LARGEST_RATIO, LARGEST_RATIO))
    lab = to_lab(laid)
    off = ((lab[..., 1:] - skin[1:].astype(np.float32)) ** 2).sum(axis=2)
    share = np.exp(-off / (2 * SIGMA_AB**2)) * cover
    share = np.where(lab[..., 0] > 0.35 * skin[0], cv2.GaussianBlur(share.astype(np.float32), (0, 0), 0.8), 0) * cover
    lab[..., 0] = np.minimum(lab[..., 0] * (1 + share * (ratio - 1)), 97)
    rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).clip(0, 1) * 255
    return np.where(cover[..., None], np.rint(rgb), laid).astype(np.uint8)
