"""The picture that a pose ControlNet reads, drawn from a condition's keypoints and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.types import Condition

COCO_KEYPOINTS = 17
"""Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right, as COCO orders them."""
_FROM_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""Of each of OpenPose's 18 points, the COCO keypoint; -1 is the neck, midway between the shoulders."""
_LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of OpenPose's points that are joined."""
_N_COLORS = 18
_SHADE = 0.6
"""Brightness of a limb beside that of a point."""


def _color(index: int) -> tuple[int, int, int]:
    """The hue of a point or limb: 18 fully saturated ones, evenly spaced, red first (as OpenPose's drawings)."""
    hsv = np.array([[[index * 180 // _N_COLORS, 255, 255]]], np.uint8)
    r, g, b = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return int(r), int(g), int(b)


def openpose_points(condition: Condition) -> list[tuple[float, float] | None]:
    """OpenPose's 18 points of a condition, px; None where one is not visible.

    Five keypoints (a face) give eyes and nose; 17 (COCO) give all of them, the neck between both visible shoulders.
    """
    seen: list[tuple[float, float] | None] = [
        (float(x), float(y)) if shown > 0 else None
        for (x, y), shown in zip(condition.keypoints, condition.visibility, strict=True)
    ]
    points: list[tuple[float, float] | None] = [None] * _N_COLORS
    if len(seen) == COCO_KEYPOINTS:
        points = [seen[i] if i >= 0 else None for i in _FROM_COCO]
        right, left = seen[6], seen[5]
        if right is not None and left is not None:
            points[1] = ((right[0] + left[0]) / 2, (right[1] + left[1]) / 2)
    elif len(seen) >= 3:  # right eye, left eye, nose, and the corners of the mouth
        points[0], points[14], points[15] = seen[2], seen[0], seen[1]
    return points


def pose_picture(condition: Condition) -> NDArray[np.uint8]:
    """Draw a condition's keypoints as OpenPose draws them, on black.

    Parameters
    ----------
    condition : Condition
        Its keypoints and their visibility are all that is read of it, besides its size.

    Returns
    -------
    (H, W, 3) uint8; black where no keypoint is visible.
    """
    height, width = condition.replace_mask.shape
    canvas = np.zeros((height, width, 3), np.uint8)
    points = openpose_points(condition)
    thickness = max(1, round(min(height, width) / 128))
    for index, (a, b) in enumerate(_LIMBS):
        start, end = points[a], points[b]
        if start is not None and end is not None:
            color = tuple(round(_SHADE * value) for value in _color(index))
            cv2.line(canvas, _pixel(start), _pixel(end), color, 2 * thickness)
    for index, point in enumerate(points):
        if point is not None:
            cv2.circle(canvas, _pixel(point), thickness, _color(index), -1)
    if len(condition.keypoints) != COCO_KEYPOINTS:  # a face's own dots are white
        _dots(canvas, condition, thickness)
    return canvas


def _dots(canvas: NDArray[np.uint8], condition: Condition, thickness: int) -> None:
    for point, shown in zip(condition.keypoints, condition.visibility, strict=True):
        if shown > 0:
            cv2.circle(canvas, _pixel(point.tolist()), max(1, thickness // 2), (255, 255, 255), -1)


def _pixel(point: Sequence[float]) -> tuple[int, int]:
    """The pixel of a point, kept within what OpenCV can draw."""
    x, y = (int(np.clip(round(value), -32000, 32000)) for value in point)
    return x, y
