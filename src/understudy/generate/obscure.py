"""Baselines that need the person's own pixels, and the null edit: for comparison and measuring, not identity-free."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.types import OutcomeKind

LARGEST_SIGMA_PX = 12.0
"""Stronger blurs run on a smaller copy: the same look, in time that does not grow with the face."""
SMALLEST_CELL_PX = 3
"""A mosaic's cell is never finer than this, so that a face of a few pixels is obscured too."""


class GaussianBlur:
    """Blur whose strength goes with the face.

    Parameters
    ----------
    sigma_share : float
        Standard deviation over the longer side of the region.
    """

    name = "blur"
    outcome = OutcomeKind.OBSCURED

    def __init__(self, sigma_share: float = 1 / 6) -> None:
        if not 0 < sigma_share <= 2:
            raise InvalidInputError(f"sigma_share must be in (0, 2], got {sigma_share}")
        self.sigma_share = sigma_share

    def obscure(self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Blur the window; beyond its edges it is taken to be mirrored."""
        _check(pixels, mask)
        x0, y0, x1, y1 = _extent(mask)
        sigma = max(self.sigma_share * max(x1 - x0, y1 - y0), 1.0)
        height, width = mask.shape
        factor = max(int(sigma / LARGEST_SIGMA_PX), 1)
        small = pixels
        if factor > 1:
            size = (max(round(width / factor), 1), max(round(height / factor), 1))
            small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        blurred = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT)
        if factor > 1:
            blurred = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(blurred, np.uint8)


class Pixelate:
    """Mosaic with a fixed number of cells across the face.

    Parameters
    ----------
    n_cells : int
        Cells along the longer side of the region; fewer where a cell would be under ``SMALLEST_CELL_PX``.
    """

    name = "pixelate"
    outcome = OutcomeKind.OBSCURED

    def __init__(self, n_cells: int = 8) -> None:
        if n_cells < 1:
            raise InvalidInputError(f"n_cells must be 1 or more, got {n_cells}")
        self.n_cells = n_cells

    def obscure(self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Replace each cell of a grid from the region's corner by its mean; cut cells are mirrored to full size."""
        _check(pixels, mask)
        x0, y0, x1, y1 = _extent(mask)
        cell = max(math.ceil(max(x1 - x0, y1 - y0) / self.n_cells), SMALLEST_CELL_PX)
        height, width = mask.shape
        left, top = -x0 % cell, -y0 % cell
        right, bottom = -(left + width) % cell, -(top + height) % cell
        padded = cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_REFLECT)
        size = (padded.shape[1] // cell, padded.shape[0] // cell)
        means = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
        mosaic = np.repeat(np.repeat(np.asarray(means, np.uint8), cell, axis=0), cell, axis=1)
        return mosaic[top : top + height, left : left + width]


class Solid:
    """One fixed colour, whatever the picture.

    Parameters
    ----------
    color : (3,) sequence of int
        sRGB, 0 to 255.
    """

    name = "solid"
    outcome = OutcomeKind.OBSCURED

    def __init__(self, color: tuple[int, int, int] = (0, 0, 0)) -> None:
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise InvalidInputError(f"color must be three numbers from 0 to 255, got {list(color)}")
        self.color = (int(color[0]), int(color[1]), int(color[2]))

    def obscure(self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Paint the window."""
        _check(pixels, mask)
        return np.full_like(pixels, self.color)


class NullEdit:
    """Nothing is replaced: what the picture's way in and out alone does to it, for the audit. It protects nobody."""

    name = "null_edit"
    outcome = OutcomeKind.KEPT

    def obscure(self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return a copy of the pixels as they are."""
        _check(pixels, mask)
        return pixels.copy()


def _check(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise InvalidInputError(f"pixels must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    if mask.shape != pixels.shape[:2] or mask.dtype != np.bool_:
        raise InvalidInputError(f"mask must be bool of shape {pixels.shape[:2]}, got {mask.dtype} {mask.shape}")
    if not mask.any():
        raise InvalidInputError(f"mask must hold a region, got none in {mask.shape}")


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Bounding box of the mask: x0, y0, x1, y1, exclusive at the end."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1
