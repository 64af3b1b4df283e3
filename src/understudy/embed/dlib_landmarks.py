"""68 landmarks of a face by dlib's regression trees: an opt-in measuring tool, never a default.

Kazemi and Sullivan 2014, doi:10.1109/CVPR.2014.241. The weights are trained on iBUG 300-W, whose pictures are for
research only.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.errors import MissingExtraError

WEIGHTS = "dlib_shape_predictor_68"
N_LANDMARKS = 68
_SIDE, _UP = 2.16, 0.11
"""Side of dlib's own boxes and how far their middle lies over that of eyes and mouth, in distances from eyes to mouth:
medians over 42 portraits in which dlib's detector and CenterFace found the one face (spread 0.16 and 0.11)."""


class DlibLandmarks:
    """dlib's 68 landmarks, in the box that its own detector would give for five keypoints.

    Parameters
    ----------
    weights : str
        Registry name or path.

    Raises
    ------
    MissingExtraError
        dlib is not installed.
    """

    def __init__(self, weights: str = WEIGHTS) -> None:
        try:
            import dlib
        except ImportError as error:
            raise MissingExtraError("dlib is not installed: pip install 'understudy[identity]'") from error
        self._dlib: Any = dlib
        self._weights, self._path = weights, registry.resolve(weights)
        self._predict = dlib.shape_predictor(str(self._path))
        self._lock = threading.Lock()

    def points(self, view: NDArray[np.uint8], keypoints: NDArray[np.floating]) -> NDArray[np.float64]:
        """(68, 2) px of one face, in iBUG's order.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
        """
        x0, y0, x1, y1 = (round(v) for v in dlib_box(keypoints))
        with self._lock:
            shape = self._predict(np.ascontiguousarray(view), self._dlib.rectangle(x0, y0, x1, y1))
        return np.array([(shape.part(i).x, shape.part(i).y) for i in range(N_LANDMARKS)], np.float64)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights in use, by their name."""
        return {self._weights: registry.file_digest(self._path)}


def dlib_box(keypoints: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """The square that dlib's detector would find around a face with these keypoints, xyxy px."""
    points = np.asarray(keypoints, np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    reach = float(np.linalg.norm(mouth - eyes))
    middle = (eyes + mouth) / 2 - _UP * (mouth - eyes)
    half = _SIDE * reach / 2
    return middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half
