"""OpenCV's pedestrian detector (HOG and a linear classifier): a second look for people that needs no weights.

Dalal and Triggs: "Histograms of Oriented Gradients for Human Detection", doi:10.1109/CVPR.2005.177. It finds upright
people who are seen from head to foot, from about 100 px in the picture that it is given, and misses most others.
"""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import N_KEYPOINTS, Found, require_view
from understudy.detect.overlap import keep_best
from understudy.errors import InvalidInputError, MissingExtraError
from understudy.types import Detections, Kind

_WINDOW = (128, 64)
_MARGIN = 0.1
"""Its windows show the person with this share of the height above, and below, and about twice that at the sides."""


def has_hog_people() -> bool:
    """Whether this OpenCV has the detector."""
    return hasattr(cv2, "HOGDescriptor")


class HogPeople:
    """OpenCV's default people detector.

    Parameters
    ----------
    threshold : float
        Least margin of the classifier. Confidence is ``1 / (1 + exp(-2 margin))``.
    max_pixels : int
        Larger pictures are reduced to so many pixels.
    nms_iou : float
        Of two boxes that overlap more, the less confident is left out.

    Raises
    ------
    MissingExtraError
        This OpenCV has no HOGDescriptor (5.0 and later).
    """

    name = "hog_people"
    families = frozenset({"hog_people"})

    def __init__(self, *, threshold: float = 0.5, max_pixels: int = 600_000, nms_iou: float = 0.4) -> None:
        if max_pixels < 1:
            raise InvalidInputError(f"max_pixels must be 1 or more, got {max_pixels}")
        if not has_hog_people():
            raise MissingExtraError(
                f"OpenCV {cv2.__version__} has no people detector (HOGDescriptor): install OpenCV 4"
            )
        self.threshold = threshold
        self.max_pixels = max_pixels
        self.nms_iou = nms_iou
        self._local = threading.local()

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find people in a view (H, W, 3) of any size."""
        require_view(view)
        height, width = view.shape[:2]
        scale = min(1.0, math.sqrt(self.max_pixels / (height * width)))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = view if scale == 1 else cv2.resize(view, size, interpolation=cv2.INTER_AREA)
        if small.shape[0] < _WINDOW[0] or small.shape[1] < _WINDOW[1]:
            return Found.nothing().detections(Kind.BODY)
        boxes, margins = self._descriptor().detectMultiScale(
            cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), hitThreshold=self.threshold, winStride=(8, 8), scale=1.08
        )
        if len(boxes) == 0:
            return Found.nothing().detections(Kind.BODY)
        windows = np.asarray(boxes, np.float64).reshape(-1, 4)
        low, extent = windows[:, :2], windows[:, 2:]
        pad = np.stack([2 * _MARGIN * extent[:, 0], _MARGIN * extent[:, 1]], axis=1)
        tight = np.concatenate([low + pad, low + extent - pad], axis=1)
        tight *= np.tile([width / small.shape[1], height / small.shape[0]], 2)
        confidence = 1 / (1 + np.exp(-2 * np.asarray(margins, np.float64).reshape(-1)))
        keypoints = np.full((len(tight), N_KEYPOINTS, 2), np.nan, np.float32)
        found = Found(tight.astype(np.float32), confidence.astype(np.float32), keypoints)
        return keep_best(found, self.nms_iou).clipped(height, width).detections(Kind.BODY)

    def _descriptor(self) -> cv2.HOGDescriptor:
        if not hasattr(self._local, "descriptor"):
            descriptor = cv2.HOGDescriptor()
            descriptor.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
            self._local.descriptor = descriptor
        made: cv2.HOGDescriptor = self._local.descriptor
        return made
