"""The union of several detectors, which miss different faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Detector, Found, digests_of
from understudy.detect.overlap import box_area, intersection, pairwise_iou
from understudy.errors import InvalidInputError
from understudy.types import Detections


class Merge:
    """Everything that any of several detectors finds, each face once.

    A face that several find keeps the box and the keypoints of the detector that is named first, and the highest
    confidence.

    Parameters
    ----------
    detectors : sequence of Detector
        In the order of preference.
    iou : float
        Boxes that overlap more are one face.
    containment : float
        So are boxes that lie in another with more than this part of their area.
    """

    def __init__(self, detectors: Sequence[Detector], *, iou: float = 0.35, containment: float = 0.7) -> None:
        if not detectors:
            raise InvalidInputError("merge needs at least one detector, got none")
        self.detectors = tuple(detectors)
        self.iou = iou
        self.containment = containment
        self.name = "+".join(detector.name for detector in detectors)
        self.families = frozenset().union(*(detector.families for detector in detectors))

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find faces in a view (H, W, 3) of any size."""
        merged = Found.nothing()
        for detector in self.detectors:
            merged = add_missing(merged, as_found(detector(view)), self.iou, self.containment)
        return merged.detections()

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights that the detectors tell of, by their names in the registry."""
        return digests_of(self.detectors)


def as_found(detections: Detections) -> Found:
    """Detections as raw finds, with NaN for absent keypoints."""
    keypoints = np.where(detections.visibility[..., None] > 0, detections.keypoints, np.float32(np.nan))
    return Found(detections.xyxy, detections.confidence, keypoints)


def add_missing(first: Found, second: Found, iou: float, containment: float) -> Found:
    """``first`` and what of ``second`` it does not hold yet; the confidence of a shared face is the higher one.

    Parameters
    ----------
    first, second : Found
    iou, containment : float
        As in ``Merge``.

    Returns
    -------
    Found
    """
    if len(first) == 0 or len(second) == 0:
        return Found.concatenate([first, second])
    shared = intersection(first.xyxy, second.xyxy)
    smaller = np.minimum(box_area(first.xyxy)[:, None], box_area(second.xyxy)[None, :]).clip(1e-9)
    same = (pairwise_iou(first.xyxy, second.xyxy) > iou) | (shared / smaller > containment)  # (N, M)
    seen_again = np.where(same, second.confidence[None, :], 0).max(axis=1)
    raised = Found(first.xyxy, np.maximum(first.confidence, seen_again).astype(np.float32), first.keypoints)
    return Found.concatenate([raised, second.take(~same.any(axis=0))])
