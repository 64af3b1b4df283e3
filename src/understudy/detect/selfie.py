"""Masks of people in boxes, by the network of MediaPipe's selfie segmentation.

The network wants one person, large, in a square of 256 px. It is shown each person's box with a margin; what it says
counts only where it fits the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.detect.base import Detector
from understudy.errors import ConfigError, InvalidInputError
from understudy.runtime.onnx import CPU, ProviderReport, open_session
from understudy.types import Detections, Kind, Silhouette

SIZE = 256
WEIGHTS = "selfie_segmentation"


class SelfieSegmenter:
    """Selfie segmentation as an ONNX file with an input of (1, 256, 256, 3) in [0, 1].

    Parameters
    ----------
    weights : str
        Registry name, or path of the ONNX file.
    threshold : float
        Least probability of a person's pixel, in (0, 1).
    margin : float
        Shown around a box, over its longer side.
    min_height_px : float
        Lower boxes keep no mask: the network knows large people only.
    least_share, largest_share : float
        A mask must cover this much of its box, and no more.
    least_inside : float
        Least share of the mask in the window that must lie in the box: else others are in it.
    least_reach : float
        Least share of the box's height and width that the mask's own box must have: else a part is missing.
    providers, n_threads
        As in ``open_session``.
    """

    def __init__(
        self,
        weights: str = WEIGHTS,
        *,
        threshold: float = 0.5,
        margin: float = 0.1,
        min_height_px: float = 96.0,
        least_share: float = 0.25,
        largest_share: float = 0.97,
        least_inside: float = 0.75,
        least_reach: float = 0.85,
        providers: Sequence[str] = (CPU,),
        n_threads: int = 1,
    ) -> None:
        if not 0 < threshold < 1:
            raise InvalidInputError(f"threshold must lie in (0, 1), got {threshold}")
        self.threshold = threshold
        self.margin = margin
        self.min_height_px = min_height_px
        self.least_share = least_share
        self.largest_share = largest_share
        self.least_inside = least_inside
        self.least_reach = least_reach
        self._session = open_session(registry.resolve(weights), providers=providers, n_threads=n_threads)
        if tuple(self._session.input_shapes[0][1:]) != (SIZE, SIZE, 3):
            raise ConfigError(f"{weights}: the network must take (1, 256, 256, 3), got {self._session.input_shapes[0]}")

    @property
    def provider_report(self) -> ProviderReport:
        """Which execution provider really runs."""
        return self._session.provider_report

    def __call__(self, view: NDArray[np.uint8], xyxy: NDArray[np.floating]) -> Silhouette | None:
        """The mask of the person in a box; None where it makes no sense there.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        xyxy : (4,) px
        """
        height, width = view.shape[:2]
        x0, y0, x1, y1 = (float(v) for v in xyxy)
        if y1 - y0 < self.min_height_px:
            return None
        pad = self.margin * max(x1 - x0, y1 - y0)
        left, top = max(int(x0 - pad), 0), max(int(y0 - pad), 0)
        right, bottom = min(int(np.ceil(x1 + pad)), width), min(int(np.ceil(y1 + pad)), height)
        window = view[top:bottom, left:right]
        probability = self.probability(window)
        mask = probability > self.threshold
        box = (max(round(x0), 0) - left, max(round(y0), 0) - top, min(round(x1), width), min(round(y1), height))
        in_box = mask[box[1] : box[3] - top, box[0] : box[2] - left]
        return Silhouette((left, top, right, bottom), mask) if self._makes_sense(mask, in_box) else None

    def probability(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of a person at each pixel of a window (h, w, 3), (h, w)."""
        height, width = window.shape[:2]
        scale = SIZE / max(height, width)
        high, wide = max(1, round(height * scale)), max(1, round(width * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        square = np.zeros((SIZE, SIZE, 3), np.float32)
        square[:high, :wide] = cv2.resize(window, (wide, high), interpolation=way).astype(np.float32) / 255
        made = self._session.run({self._session.input_names[0]: square[None]})[0].reshape(SIZE, SIZE)
        return np.asarray(cv2.resize(made[:high, :wide], (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    def _makes_sense(self, mask: NDArray[np.bool_], in_box: NDArray[np.bool_]) -> bool:
        if not in_box.any():
            return False
        rows, columns = np.flatnonzero(in_box.any(axis=1)), np.flatnonzero(in_box.any(axis=0))
        reach = min((rows[-1] - rows[0] + 1) / in_box.shape[0], (columns[-1] - columns[0] + 1) / in_box.shape[1])
        share, inside = float(in_box.mean()), float(in_box.sum()) / float(mask.sum())
        return (
            self.least_share <= share <= self.largest_share
            and inside >= self.least_inside
            and float(reach) >= self.least_reach
        )


class WithSilhouettes:
    """People, with the masks that a segmenter gives for their boxes.

    Parameters
    ----------
    detector : Detector
        Finds bodies.
    segmenter : SelfieSegmenter
    """

    def __init__(self, detector: Detector, segmenter: SelfieSegmenter) -> None:
        self.detector = detector
        self.segmenter = segmenter
        self.name = f"{detector.name} with masks"
        self.families = detector.families

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find people in a view (H, W, 3) of any size."""
        found = self.detector(view)
        masks = [
            found.silhouette(i) or (self.segmenter(view, found.xyxy[i]) if found.kind[i] is Kind.BODY else None)
            for i in range(len(found))
        ]
        return replace(found, silhouettes=tuple(masks))
