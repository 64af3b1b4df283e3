"""The aligned picture of a face that dlib's recognition network was made for, cut by five keypoints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.geometry import cut_crop, invert_affine

CHIP_SIZE = 150
"""Side of a chip, px."""
TEMPLATE = np.array([[46.8, 46.3], [103.2, 46.3], [75.0, 79.4], [50.7, 103.2], [99.3, 103.2]])
"""Where the five keypoints lie in a chip, px: the median place of CenterFace's keypoints in the chips that dlib itself
cuts with its five-point predictor (``get_face_chip``, padding 0.25) out of 308 pictures, made symmetric. dlib's own
mean face has the eyes at (47.7, 47.1) and (100.3, 47.1)."""
_VOTES = np.array([2.0, 2.0, 0.3, 1.0, 1.0])
"""The nose stands out of the face's plane, so it moves most when the head turns."""
_LEAST_EYE_RATIO = 0.55
"""Distance between the eyes over that from eyes to mouth: 1 for a frontal face, about cos(yaw) for a turned one."""


def aligned_chip(
    view: NDArray[np.uint8], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Cut a face so that its keypoints come to lie on ``TEMPLATE``, as nearly as rotation, scale and shift allow.

    Parameters
    ----------
    view : (H, W, 3) uint8 sRGB
    keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
    visibility : (5,), 0 = absent
        At least two keypoints must be there.

    Returns
    -------
    (150, 150, 3) uint8; grey where it leaves the view

    Raises
    ------
    InvalidInputError
        The keypoints fix no such transformation.
    """
    shown = np.asarray(visibility) > 0
    if view.dtype != np.uint8 or view.ndim != 3 or view.shape[2] != 3:
        raise InvalidInputError(f"a view must be (H, W, 3) uint8, got {view.shape} {view.dtype}")
    if np.shape(keypoints) != (5, 2) or shown.shape != (5,):
        raise InvalidInputError(
            f"keypoints must be (5, 2) and visibility (5,), got {np.shape(keypoints)}, {shown.shape}"
        )
    image_from_chip = invert_affine(_chip_from_image(np.asarray(keypoints, np.float64)[shown], shown))
    nothing_erased = np.zeros(view.shape[:2], np.bool_)
    return cut_crop(view, nothing_erased, image_from_chip, CHIP_SIZE).pixels


def _chip_from_image(points: NDArray[np.float64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weighted least-squares similarity from image px to chip px; in the complex plane it is one division."""
    votes = _VOTES[shown] / max(_VOTES[shown].sum(), 1e-9)
    targets = TEMPLATE[shown]
    from_mean, to_mean = votes @ points, votes @ targets
    source, target = (centered @ np.array([1, 1j]) for centered in (points - from_mean, targets - to_mean))
    spread = float(votes @ np.abs(source) ** 2)
    if not spread > 1e-6:
        raise InvalidInputError(f"keypoints fix no scale: {points.tolist()}; two of them must lie apart")
    turn = complex((votes * source.conj()) @ target) / spread
    if not abs(turn) > 1e-6:
        raise InvalidInputError(f"keypoints {points.tolist()} do not lie as in a face")
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, to_mean - linear @ from_mean])


def is_frontal(keypoints: NDArray[np.floating], visibility: NDArray[np.floating]) -> bool:
    """Whether all five keypoints are there and show a face that is turned by less than about 55 degrees.

    Parameters
    ----------
    keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
    visibility : (5,), 0 = absent
    """
    points = np.asarray(keypoints, np.float64)
    if points.shape != (5, 2) or not (np.asarray(visibility) > 0).all() or not np.isfinite(points).all():
        return False
    eyes = points[1] - points[0]
    down = (points[3] + points[4] - points[0] - points[1]) / 2
    if np.hypot(*eyes) < _LEAST_EYE_RATIO * np.hypot(*down) or not np.hypot(*eyes) > 0:
        return False
    nose = float((points[2] - points[0]) @ eyes / (eyes @ eyes))
    return 0 <= nose <= 1
