"""Where a scene ends."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 64
_BINS = (8, 8, 8)
_RANGES = (0, 256, 0, 256, 0, 256)


def color_histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shares of the 512 colours of a small copy of a frame.

    Parameters
    ----------
    pixels : (H, W, 3) uint8

    Returns
    -------
    (512,) float32 that sum to 1
    """
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([small], [0, 1, 2], None, list(_BINS), list(_RANGES)).reshape(-1)
    return np.asarray(counts / counts.sum(), np.float32)


def histogram_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Half the sum of absolute differences (total variation), in [0, 1]: 0 the same colours, 1 none in common."""
    return float(np.abs(a - b).sum() / 2)
