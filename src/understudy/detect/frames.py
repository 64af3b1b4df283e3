"""Turned and resized frames of a picture, and finds mapped from one frame to another."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Found

_ROUNDNESS = 1.5
"""Exponent of a box's support function: 1 is the box itself, 2 the ellipse inside it; a face lies between."""


def map_found(found: Found, matrix: NDArray[np.float64]) -> Found:
    """Finds after an affine map of the plane.

    The box of a turned face is that of the turned rounded rectangle inside its box (a superellipse with exponent 3),
    not the loose box around the turned corners.

    Parameters
    ----------
    found : Found
    matrix : (2, 3)

    Returns
    -------
    Found
    """
    linear, shift = matrix[:, :2], matrix[:, 2]
    centre = (found.xyxy[:, :2] + found.xyxy[:, 2:]) / 2 @ linear.T + shift
    half = (found.xyxy[:, 2:] - found.xyxy[:, :2]) / 2  # (N, 2)
    reach = (np.abs(linear[None] * half[:, None, :]) ** _ROUNDNESS).sum(axis=2) ** (1 / _ROUNDNESS)  # (N, 2)
    boxes = np.concatenate([centre - reach, centre + reach], axis=1)
    keypoints = found.keypoints @ linear.T + shift
    return Found(boxes.astype(np.float32), found.confidence, keypoints.astype(np.float32))


def resized(view: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A view enlarged or reduced, and the map (2, 3) from its pixels to the view's."""
    height, width = view.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    matrix = np.array([[width / size[0], 0, 0], [0, height / size[1], 0]], np.float64)
    if size == (width, height):
        return view, matrix
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(view, size, interpolation=way), np.uint8), matrix


def turned(view: NDArray[np.uint8], rotation_deg: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A view turned counter-clockwise with nothing cut off, and the map (2, 3) from its pixels to the view's."""
    height, width = view.shape[:2]
    quarter = round(rotation_deg / 90) % 4
    if rotation_deg % 90 == 0:
        back = {
            0: [[1, 0, 0], [0, 1, 0]],
            1: [[0, -1, width], [1, 0, 0]],
            2: [[-1, 0, width], [0, -1, height]],
            3: [[0, 1, 0], [-1, 0, height]],
        }[quarter]
        return np.ascontiguousarray(np.rot90(view, quarter)), np.array(back, np.float64)
    matrix = cv2.getRotationMatrix2D((0, 0), rotation_deg, 1.0)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix[:, :2].T
    matrix[:, 2] = -corners.min(axis=0)
    extent = tuple(int(v) for v in np.ceil(np.ptp(corners, axis=0)))
    pixels = cv2.warpAffine(view, matrix, extent, flags=cv2.INTER_LINEAR)
    return np.asarray(pixels, np.uint8), np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def compose(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map that applies ``inner`` first and ``outer`` then; all are (2, 3)."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.concatenate([linear, (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]], axis=1)


class Levels:
    """A view and its halved versions, made when they are needed, from which crops are cut without aliasing."""

    def __init__(self, view: NDArray[np.uint8]) -> None:
        self._levels = [view]

    def cut(
        self, xyxy: NDArray[np.float32], rotation_deg: float, *, crop_px: int, face_px: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """A crop around a box, turned counter-clockwise, and the map (2, 3) from its pixels to the view's.

        Parameters
        ----------
        xyxy : (4,) px
        rotation_deg : float
        crop_px : int
            Side of the crop.
        face_px : float
            Size (square root of the area) to which the box is brought.

        Returns
        -------
        crop : (crop_px, crop_px, 3) uint8
        view_from_crop : (2, 3)
        """
        zoom = face_px / max(1.0, float(np.sqrt((xyxy[2:] - xyxy[:2]).prod())))
        picture = self._level(zoom)
        shrink = np.array([picture.shape[1] / self._levels[0].shape[1], picture.shape[0] / self._levels[0].shape[0]])
        at = (xyxy[:2] + xyxy[2:]).astype(np.float64) / 2 * shrink
        forth = cv2.getRotationMatrix2D((float(at[0]), float(at[1])), rotation_deg, zoom / float(shrink.mean()))
        forth[:, 2] += crop_px / 2 - at
        crop = cv2.warpAffine(
            picture, forth, (crop_px, crop_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        back = np.asarray(cv2.invertAffineTransform(forth), np.float64) / shrink[:, None]
        return np.asarray(crop, np.uint8), back

    def _level(self, zoom: float) -> NDArray[np.uint8]:
        """The smallest level that a crop with this zoom reduces, by less than two, or leaves as it is."""
        level = 0
        while zoom * 2 ** (level + 1) <= 1.0 and min(self._levels[level].shape[:2]) >= 2:
            if len(self._levels) == level + 1:
                height, width = self._levels[level].shape[:2]
                half = cv2.resize(self._levels[level], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
                self._levels.append(np.asarray(half, np.uint8))
            level += 1
        return self._levels[level]
