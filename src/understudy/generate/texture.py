"""Skin that is not of one colour: grains over a rendered face from the seed alone, and wrinkles as age has them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.generate.cielab import from_lab, to_lab

_LAYERS = ((0.014, 0.9, 0.0), (0.045, 0.5, 0.4), (0.16, 0.5, 0.7))
"""Width of a layer's grains, of the distance from eyes to mouth, and standard deviation of L* and a*."""
_FINE = (0.75, 0.95, 1.0, 1.15, 1.3)
"""Share of a reference's fine structure by age group: wrinkles and folds are of it."""
_OF_AGE, _OF_ANY = (0.0, 0.15, 0.45, 0.85, 1.0), 0.4
"""Share of that by age group, and where none is carried: to a reader of faces all of it on everybody is seven years."""


def fineness(age_group: int | None) -> float:
    """How much of a reference's fine structure a face of an age group shows, of what suits anybody."""
    return 1.0 if age_group is None else _FINE[age_group]


def textured_skin(
    pixels: NDArray[np.uint8], weight: NDArray[np.floating], length_px: float, age_group: int | None, seed: int
) -> NDArray[np.uint8]:
    """A face (H, W, 3) with grains of three sizes in its lightness and redness.

    Parameters
    ----------
    pixels : (H, W, 3) uint8 sRGB
    weight : (H, W) float in [0, 1]
        How much of a pixel is the face.
    length_px : float
        From the eyes to the mouth.
    age_group : int, optional
        Bin of the age that is carried: young skin is even.
    seed : int
    """
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 6])))
    value = to_lab(pixels)
    light = (_OF_ANY if age_group is None else _OF_AGE[age_group]) * value[..., 0] / 65
    for width, sd_l, sd_a in _LAYERS:
        sigma = max(width * length_px, 0.5)
        for channel, sd in ((0, sd_l), (1, sd_a)):
            if sd:
                grain = cv2.GaussianBlur(random.standard_normal(pixels.shape[:2]).astype(np.float32), (0, 0), sigma)
                value[..., channel] += weight * light * np.float32(sd / max(float(grain.std()), 1e-6)) * grain
    return np.where(weight[..., None] > 0, from_lab(value), pixels)
