"""The Monk Skin Tone scale: which of its ten tones a measured skin colour is nearest to. Pure numpy.

Monk, "The Monk Skin Tone Scale" (2023), doi:10.31235/osf.io/pdf4c; the ten colours are those of the published swatches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.color import lab
from understudy.errors import InvalidInputError

MONK_SRGB = np.array(
    [
        [0xF6, 0xED, 0xE4],
        [0xF3, 0xE7, 0xDB],
        [0xF7, 0xEA, 0xD0],
        [0xEA, 0xDA, 0xBA],
        [0xD7, 0xBD, 0x96],
        [0xA0, 0x7E, 0x56],
        [0x82, 0x5C, 0x43],
        [0x60, 0x41, 0x34],
        [0x3A, 0x31, 0x2A],
        [0x29, 0x24, 0x20],
    ],
    np.uint8,
)
"""(10, 3) sRGB of the tones 1 to 10."""


def monk_tone(skin_lab: NDArray[np.floating]) -> int:
    """The tone, 1 (lightest) to 10 (darkest), that is nearest to a skin colour by Euclidean distance in CIELAB.

    Parameters
    ----------
    skin_lab : (3,) CIELAB (D65), finite
    """
    value = np.asarray(skin_lab, np.float64)
    if value.shape != (3,) or not np.isfinite(value).all():
        raise InvalidInputError(f"skin_lab must be (3,) and finite, got {np.asarray(skin_lab).tolist()}")
    return int(((lab(MONK_SRGB) - value) ** 2).sum(axis=1).argmin()) + 1
