"""Whole pictures to CIELAB and back, with OpenCV: ``understudy.color`` is exact and slower, for measuring."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def to_lab(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """L* in [0, 100], a* and b*, (H, W, 3) float32, of sRGB pixels (H, W, 3)."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def from_lab(value: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SRGB pixels (H, W, 3) of CIELAB values (H, W, 3), rounded; what no screen shows is cut off. ``value`` stays."""
    within = value.copy()
    within[..., 0] = np.clip(within[..., 0], 0, 100)
    return np.clip(np.rint(cv2.cvtColor(within, cv2.COLOR_LAB2RGB) * 255), 0, 255).astype(np.uint8)
