"""dlib's frontal face detector (HOG and a linear classifier): the residual detector where MTCNN's weights are absent.

King: "Max-Margin Object Detection", arXiv:1502.00046. It finds frontal faces from 80 px in the picture it is given.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import N_KEYPOINTS, Found, require_view
from understudy.errors import InvalidInputError, MissingExtraError
from understudy.types import Detections

if TYPE_CHECKING:
    import dlib

_MAX_ENLARGEMENT = 2.0


class DlibHog:
    """dlib's frontal face detector; needs no weights beyond dlib itself.

    dlib's detector keeps state while it runs, so every thread has one of its own.

    Parameters
    ----------
    threshold : float
        Least margin of the classifier; 0 is dlib's own, more finds less. Confidence is ``1 / (1 + exp(-2 margin))``.
    max_pixels : int
        Pictures are enlarged (up to twice) or reduced to at most so many pixels: it sets time and the smallest face.

    Raises
    ------
    MissingExtraError
        dlib is not installed.
    """

    name = "dlib_hog"
    families = frozenset({"dlib_hog"})

    def __init__(self, *, threshold: float = 0.0, max_pixels: int = 1_000_000) -> None:
        if max_pixels < 1:
            raise InvalidInputError(f"max_pixels must be 1 or more, got {max_pixels}")
        self.threshold = threshold
        self.max_pixels = max_pixels
        self._local = threading.local()
        _import_dlib()

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find frontal faces in a view (H, W, 3) of any size."""
        require_view(view)
        height, width = view.shape[:2]
        scale = min(_MAX_ENLARGEMENT, math.sqrt(self.max_pixels / (height * width)))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(view, size, interpolation=way)
        rectangles, margins, _ = self._detector().run(resized, 0, self.threshold)
        if len(rectangles) == 0:
            return Found.nothing().detections()
        boxes = np.array([[r.left(), r.top(), r.right() + 1, r.bottom() + 1] for r in rectangles], np.float64)
        boxes *= np.tile([width / size[0], height / size[1]], 2)
        confidence = 1 / (1 + np.exp(-2 * np.array(margins)))
        keypoints = np.full((len(boxes), N_KEYPOINTS, 2), np.nan, np.float32)
        found = Found(boxes.astype(np.float32), confidence.astype(np.float32), keypoints)
        return found.clipped(height, width).detections()

    def _detector(self) -> dlib.fhog_object_detector:
        if not hasattr(self._local, "detector"):
            self._local.detector = _import_dlib().get_frontal_face_detector()
        return self._local.detector


def _import_dlib() -> dlib:
    try:
        import dlib
    except ImportError as error:
        raise MissingExtraError("dlib is not installed: pip install 'understudy[identity]'") from error
    return dlib
