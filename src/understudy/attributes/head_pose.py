"""Yaw of a head from five keypoints, and its bin. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.geometry import nose_offset

YAW_CUTS_DEG = (-45.0, -15.0, 15.0, 45.0)
N_HEAD_POSES = 5
NOSE_DEPTH = 0.47
"""How far the nose tip stands out, over the distance from the eyes to the mouth; fitted to renders of known yaw."""
MAX_YAW_DEG = 90.0


def estimate_yaw_deg(
    keypoints: NDArray[np.floating], visibility: NDArray[np.floating], xyxy: NDArray[np.floating]
) -> float | None:
    """Yaw from where the nose tip lies between the eyes and the mouth corners, in degrees.

    A nose tip that stands out by ``d`` in front of the plane of eyes and mouth is seen ``d sin(yaw)`` to the side of
    their middle line; ``d`` is a fixed share of the distance from the eyes to the mouth.

    Parameters
    ----------
    keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
    visibility : (5,), 0 = absent
    xyxy : (4,) px
        Bounds the scale where the eyes fall onto the mouth.

    Returns
    -------
    float or None
        In [-90, 90]: negative where the head turns to the subject's right (the left of the picture); None where a
        keypoint is absent.
    """
    if len(visibility) < 5 or not (np.asarray(visibility)[:5] > 0).all():
        return None
    points = np.asarray(keypoints, np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:5].mean(axis=0)
    length = float(np.hypot(*(mouth - eyes)))
    least = 0.2 * float(xyxy[3] - xyxy[1])
    if length < 1e-6:
        return None
    ratio = float(nose_offset(points)) * length / (NOSE_DEPTH * max(length, least))
    return float(np.degrees(np.arcsin(np.clip(ratio, -1, 1))))


def yaw_bin(yaw_deg: float) -> int:
    """Bin of a yaw, 0 (far to the subject's right, under -45 degrees) to 4 (far to the left); 2 is frontal."""
    return int(sum(yaw_deg >= cut for cut in YAW_CUTS_DEG))
