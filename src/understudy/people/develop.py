"""From linear light to a picture: exposure on the face, backdrop, a film curve, grain and blur."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from understudy.people.fields import Floats, srgb_from_linear

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
LIGHT_TARGET, DARK_TARGET = 0.42, 0.075
"""Linear luminance of lit skin after exposure, at tone 0 and 1."""
HIGHLIGHT_LIMIT = 1.05


def exposure(foreground: Floats, face: NDArray[np.floating], melanin: float, factor: float) -> float:
    """Gain that brings the face's 60th percentile of luminance to what suits its tone, with its highlights held.

    Parameters
    ----------
    foreground : (H, W, 3) linear
    face : (H, W) weight of bare skin of the face
    melanin : float
        0 to 1.
    factor : float
        Of the mix: under 1 for dusk; it counts half for the darkest skin, which would drown.
    """
    luminance = foreground @ LUMINANCE
    lit = luminance[face > 0.7]
    if len(lit) < 12:
        lit = luminance[luminance > 1e-4]
    if len(lit) == 0:
        return factor
    target = LIGHT_TARGET ** (1 - melanin) * DARK_TARGET**melanin * factor ** (1 - 0.5 * melanin)
    gain = target / max(float(np.percentile(lit, 60)), 1e-4)
    return float(min(gain, HIGHLIGHT_LIMIT / max(float(np.percentile(lit, 97)), 1e-4)))


def film_curve(linear: Floats) -> Floats:
    """SRGB in [0, 1] through a filmic curve; Narkowicz 2015, "ACES filmic tone mapping curve"."""
    x = np.clip(linear, 0, None) * 0.72
    return srgb_from_linear(np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1))


def develop(
    foreground: Floats, alpha: NDArray[np.floating], backdrop: Floats, balance: Floats, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One 8-bit picture of an exposed foreground (H, W, 3, premultiplied) over a backdrop."""
    linear = (foreground + backdrop * (1 - np.clip(alpha, 0, 1)[..., None])) * balance
    value = film_curve(linear)
    grey = value.mean(axis=-1, keepdims=True)
    value = grey + (value - grey) * rng.uniform(0.85, 1.08)
    value = 0.5 + (value - 0.5) * rng.uniform(0.97, 1.12) + rng.uniform(-0.02, 0.02)
    if rng.random() < 0.4:
        value = gaussian_filter(value, (*(rng.uniform(0, 0.55),) * 2, 0))
    noise = rng.normal(0, 1, value.shape)
    grain = 1.02 * noise.mean(axis=-1, keepdims=True) + 0.4 * gaussian_filter(noise, (0.5, 0.5, 0))
    value = value + grain * rng.uniform(0.001, 0.009)
    return np.asarray(np.clip(value, 0, 1) * 255 + 0.5, np.uint8)
