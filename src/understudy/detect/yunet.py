"""YuNet through OpenCV's FaceDetectorYN.

Wu, Peng and Yu: "YuNet: A Tiny Millisecond-level Face Detector", doi:10.1007/s11633-023-1423-y.
"""

from __future__ import annotations

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.detect.base import N_KEYPOINTS, Found, require_view
from understudy.errors import InvalidInputError
from understudy.types import Detections

_TOP_K = 5000
_MULTIPLE = 32


class YuNet:
    """YuNet in one pass over the whole picture.

    OpenCV's detector holds the picture's size as state, so every thread has one of its own.

    Parameters
    ----------
    weights : str
        Registry name, or path of the ONNX file.
    threshold : float
        Least confidence of a detection, in (0, 1).
    nms_iou : float
        Of two boxes that overlap more, the less confident is left out.
    """

    name = "yunet"
    families = frozenset({"yunet"})

    def __init__(self, weights: str = "yunet", *, threshold: float = 0.6, nms_iou: float = 0.3) -> None:
        if not 0 < threshold < 1:
            raise InvalidInputError(f"threshold must lie in (0, 1), got {threshold}")
        self.threshold = threshold
        self.nms_iou = nms_iou
        self._path = str(registry.resolve(weights))
        self._local = threading.local()

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find faces in a view (H, W, 3) of any size."""
        require_view(view)
        height, width = view.shape[:2]
        padded = cv2.copyMakeBorder(view, 0, -height % _MULTIPLE, 0, -width % _MULTIPLE, cv2.BORDER_CONSTANT)
        network = self._network()
        network.setInputSize((padded.shape[1], padded.shape[0]))
        rows: object = network.detect(cv2.cvtColor(padded, cv2.COLOR_RGB2BGR))[1]  # None where there is nothing
        if rows is None:
            return Found.nothing().detections()
        values = np.asarray(rows, np.float32)  # (N, 15): x, y, w, h, five keypoints, confidence
        found = Found(
            np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1),
            values[:, 14],
            values[:, 4:14].reshape(-1, N_KEYPOINTS, 2),
        )
        return found.clipped(height, width).detections()

    def _network(self) -> cv2.FaceDetectorYN:
        if not hasattr(self._local, "network"):
            self._local.network = cv2.FaceDetectorYN.create(
                self._path, "", (_MULTIPLE, _MULTIPLE), self.threshold, self.nms_iou, _TOP_K
            )
        network: cv2.FaceDetectorYN = self._local.network
        return network
