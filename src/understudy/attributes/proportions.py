"""Where keypoints and box lie in a face's own frame. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N_PROPORTIONS = 15


def proportions(xyxy: NDArray[np.floating], keypoints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Keypoints and box in the face's own frame, where the middle of the eyes is (0, 0) and of the mouth (0, 1).

    Parameters
    ----------
    xyxy : (4,) px
    keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``

    Returns
    -------
    (15,) float64
        The keypoints x and y in turn; forehead, chin, width and height of the box over the distance from eyes to mouth;
        the forehead's share of the height. NaN where eyes and mouth fall together.
    """
    points, (x0, y0, x1, y1) = np.asarray(keypoints, np.float64), np.asarray(xyxy, np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:5].mean(axis=0)
    down = mouth - eyes
    length = float(np.hypot(*down))
    if length < 1e-6 or y1 - y0 < 1e-6:
        return np.full(N_PROPORTIONS, np.nan)
    to_own = np.array([[down[1], -down[0]], down]) / length**2
    sizes = np.array([eyes[1] - y0, y1 - mouth[1], x1 - x0, y1 - y0]) / length
    return np.concatenate([((points - eyes) @ to_own.T).ravel(), sizes, [(eyes[1] - y0) / (y1 - y0)]])
