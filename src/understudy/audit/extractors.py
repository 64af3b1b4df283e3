"""Networks that see a picture as a whole: features for FID and KID, and LPIPS; handed in by the configuration."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

MARGIN = 0.3
"""A crop is the square around a face's box, larger by this share on every side."""


class FeatureExtractor(Protocol):
    """Turns square pictures into features."""

    name: str
    """Of the network, as the table calls it: distances of different networks do not compare."""
    size: int
    """Side of the pictures, px."""

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, D) of (N, size, size, 3) uint8 sRGB."""
        ...

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights, by their names."""
        ...


class PerceptualDistance(Protocol):
    """How differently two pictures look."""

    name: str

    def distance(self, before: NDArray[np.uint8], after: NDArray[np.uint8], keep: NDArray[np.bool_]) -> float:
        """Of two pictures (H, W, 3) uint8 sRGB, where ``keep`` (H, W) is True; NaN where it cannot be told."""
        ...

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights, by their names."""
        ...


def face_crops(view: NDArray[np.uint8], xyxy: NDArray[np.floating], size: int) -> NDArray[np.uint8]:
    """Square pictures of faces with some of what is around them; what lies outside the picture is mirrored.

    Parameters
    ----------
    view : (H, W, 3) uint8
    xyxy : (N, 4) px
    size : int
        Side of the crops, px.

    Returns
    -------
    (N, size, size, 3) uint8
    """
    crops = np.zeros((len(xyxy), size, size, 3), np.uint8)
    for i, (x0, y0, x1, y1) in enumerate(np.asarray(xyxy, np.float64)):
        side = max(2, round((1 + 2 * MARGIN) * max(x1 - x0, y1 - y0)))
        left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
        rows = _mirrored(np.arange(top, top + side), view.shape[0])
        columns = _mirrored(np.arange(left, left + side), view.shape[1])
        square = np.ascontiguousarray(view[rows[:, None], columns[None]])
        how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        crops[i] = cv2.resize(square, (size, size), interpolation=how)
    return crops


def _mirrored(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Places folded back at both borders, however far they lie outside."""
    folded = places % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)
