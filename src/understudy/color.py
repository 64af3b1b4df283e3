"""Colour of skin: sRGB to CIELAB (D65) and the individual typology angle. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError

XYZ_FROM_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ, IEC 61966-2-1, reference white D65."""
WHITE_D65 = XYZ_FROM_RGB.sum(axis=1)
EPSILON = (6 / 29) ** 3


def lab(rgb: NDArray[np.integer]) -> NDArray[np.float64]:
    """CIELAB (D65, 2 degrees) of sRGB values.

    Parameters
    ----------
    rgb : (..., 3), 0 to 255

    Returns
    -------
    (..., 3) float64
        L* in [0, 100], a*, b*. CIE 15:2004.
    """
    value = np.asarray(rgb, np.float64)
    if value.ndim == 0 or value.shape[-1] != 3:
        raise InvalidInputError(f"rgb must have 3 channels last, got shape {value.shape}")
    value = value / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ XYZ_FROM_RGB.T / WHITE_D65
    f = np.where(xyz > EPSILON, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ita_deg(rgb: NDArray[np.integer]) -> NDArray[np.float64]:
    """Individual typology angle, ITA = arctan((L* - 50) / b*) in degrees: large is light skin.

    Parameters
    ----------
    rgb : (..., 3), 0 to 255

    Returns
    -------
    (...,) float64
        In (-180, 180]; skin has b* > 0 and lies in (-90, 90).
        Chardon et al. 1991, doi:10.1111/j.1467-2494.1991.tb00561.x.
    """
    value = lab(rgb)
    return np.degrees(np.arctan2(value[..., 0] - 50, value[..., 2]))
