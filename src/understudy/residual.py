"""Look again with another detector: whoever the first one missed is found here, or the picture is not written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Detector
from understudy.types import Detections


class ResidualScan:
    """A detector outside the primary set.

    Parameters
    ----------
    detector : Detector
    min_covered : float
        A detection with a smaller share of its box replaced counts as missed.
    max_rounds : int
        How often missed faces are replaced or filled before the picture is given up.
    min_confidence : float
        Detections below it are ignored.
    """

    def __init__(
        self, detector: Detector, min_covered: float = 0.5, max_rounds: int = 2, min_confidence: float = 0.0
    ) -> None:
        self.detector = detector
        self.min_covered = min_covered
        self.max_rounds = max_rounds
        self.min_confidence = min_confidence

    def __call__(
        self, canvas: NDArray[np.uint8], replaced: NDArray[np.bool_]
    ) -> tuple[Detections, list[int], list[int]]:
        """Scan a finished canvas.

        Parameters
        ----------
        canvas : (H, W, 3) uint8
        replaced : (H, W) bool
            Union of the replaced regions.

        Returns
        -------
        detections : Detections
        missed : list of int
            Detections that lie mostly outside what was replaced.
        inside : list of int
            The others.
        """
        found = self.detector(canvas)
        missed: list[int] = []
        inside: list[int] = []
        for i in range(len(found)):
            if float(found.confidence[i]) < self.min_confidence:
                continue
            (inside if covered_share(found.xyxy[i], replaced) >= self.min_covered else missed).append(i)
        return found, missed, inside


def covered_share(xyxy: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Share of a box's pixels (inside the picture) that lie under a mask; 1 for a box outside the picture."""
    height, width = mask.shape
    x0, x1 = int(np.clip(np.floor(xyxy[0]), 0, width)), int(np.clip(np.ceil(xyxy[2]), 0, width))
    y0, y1 = int(np.clip(np.floor(xyxy[1]), 0, height)), int(np.clip(np.ceil(xyxy[3]), 0, height))
    window = mask[y0:y1, x0:x1]
    return float(window.mean()) if window.size else 1.0
