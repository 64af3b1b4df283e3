"""A second look at doubtful finds: each is cut out, brought to one size, turned, and shown to the network again.

A face that one pass barely sees (tiny, rolled, dim) is seen in several turns of its crop; what only looks like a face
once is not. This costs a small part of a pass over the whole picture, and takes the place of whole passes in many
sizes and rotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Found
from understudy.detect.frames import map_found
from understudy.errors import InvalidInputError

_BORDER = cv2.BORDER_REPLICATE


class Finder(Protocol):
    """A network that gives raw finds for a batch of views of one size."""

    @property
    def name(self) -> str:
        """What tables and messages call it."""
        ...

    @property
    def families(self) -> frozenset[str]:
        """As in ``Detector``."""
        ...

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        """Finds over a threshold for each of the views (B, H, W, 3)."""
        ...


@dataclass(frozen=True)
class SecondLook:
    """How doubtful finds are looked at again.

    Parameters
    ----------
    rotations_deg : sequence of float
        Turns of a crop.
    n_votes : int
        The score of a find is the mean confidence of the best so many turns (0 where nothing is seen).
    accept : float
        Least score of a face.
    crop_px, face_px : int
        Side of a crop, and the size to which the find in it is brought.
    max_looks : int
        At most so many finds of a picture are looked at again, the most confident ones; the others are let go.
    floor : float
        Confidences under it count as nothing seen.
    """

    rotations_deg: Sequence[float] = (0, 30, -30, 60, -60, 90, -90, 180)
    n_votes: int = 3
    accept: float = 0.2
    crop_px: int = 64
    face_px: float = 28
    max_looks: int = 120
    floor: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.n_votes <= len(self.rotations_deg):
            raise InvalidInputError(
                f"n_votes must lie between 1 and the number of rotations {len(self.rotations_deg)}, got {self.n_votes}"
            )
        if not 0 < self.face_px < self.crop_px:
            raise InvalidInputError(f"face_px must lie in (0, crop_px {self.crop_px}), got {self.face_px}")

    def accepted(self, view: NDArray[np.uint8], doubtful: Found, finder: Finder) -> Found:
        """Those of the doubtful finds that turn out to be faces, as seen in their best turn.

        Parameters
        ----------
        view : (H, W, 3) uint8
        doubtful : Found
            In pixels of the view.
        finder : Finder

        Returns
        -------
        Found
            Boxes and keypoints of the best turn, mapped back; the confidence is the best one seen.
        """
        doubtful = doubtful.sorted()
        doubtful = doubtful.take(np.arange(min(len(doubtful), self.max_looks)))
        levels = [view]
        parts = [self._look(levels, doubtful.take(np.array([i])), finder) for i in range(len(doubtful))]
        return Found.concatenate([part for part in parts if part is not None])

    def _look(self, levels: list[NDArray[np.uint8]], one: Found, finder: Finder) -> Found | None:
        """The face at one doubtful find, or None."""
        crops, maps = self._crops(levels, one)
        scores = np.zeros(len(maps))
        best: Found | None = None
        for turn, (seen, back) in enumerate(zip(finder.find(crops, self.floor), maps, strict=True)):
            near = self._central(seen)
            if near is None:
                continue
            scores[turn] = near.confidence[0]
            if best is None or near.confidence[0] > best.confidence[0]:
                best = map_found(near, back)
        if best is None or np.sort(scores)[-self.n_votes :].mean() < self.accept:
            return None
        return Found(best.xyxy, np.maximum(best.confidence, one.confidence), best.keypoints)

    def _central(self, seen: Found) -> Found | None:
        """The most confident find in the middle of a crop that has about the right size, as a Found of one."""
        middle = np.abs((seen.xyxy[:, :2] + seen.xyxy[:, 2:]) / 2 - self.crop_px / 2).max(axis=1, initial=0)
        size = np.sqrt((seen.xyxy[:, 2:] - seen.xyxy[:, :2]).prod(axis=1)) / self.face_px
        fits = np.flatnonzero((middle < 0.35 * self.face_px) & (size > 0.5) & (size < 1.8))
        if len(fits) == 0:
            return None
        return seen.take(fits[[np.argmax(seen.confidence[fits])]])

    def _crops(
        self, levels: list[NDArray[np.uint8]], one: Found
    ) -> tuple[NDArray[np.uint8], list[NDArray[np.float64]]]:
        """Turned crops (B, crop_px, crop_px, 3) around one find, and the maps from their pixels to the view's."""
        centre = (one.xyxy[0, :2] + one.xyxy[0, 2:]).astype(np.float64) / 2
        zoom = self.face_px / max(1.0, float(np.sqrt((one.xyxy[0, 2:] - one.xyxy[0, :2]).prod())))
        level = _level(levels, zoom)
        picture = levels[level]
        shrink = np.array([picture.shape[1] / levels[0].shape[1], picture.shape[0] / levels[0].shape[0]])
        crops, maps, extent = [], [], (self.crop_px, self.crop_px)
        for rotation in self.rotations_deg:
            at = centre * shrink
            forth = cv2.getRotationMatrix2D((float(at[0]), float(at[1])), rotation, zoom / float(shrink.mean()))
            forth[:, 2] += self.crop_px / 2 - at
            crops.append(cv2.warpAffine(picture, forth, extent, flags=cv2.INTER_LINEAR, borderMode=_BORDER))
            back = np.asarray(cv2.invertAffineTransform(forth), np.float64)
            maps.append(back / shrink[:, None])
        return np.stack(crops).astype(np.uint8, copy=False), maps


def _level(levels: list[NDArray[np.uint8]], zoom: float) -> int:
    """Index of the halved picture from which a crop is cut, so that it is reduced by less than two."""
    level = 0
    while zoom * 2 ** (level + 1) <= 1.0 and min(levels[level].shape[:2]) >= 2:
        if len(levels) == level + 1:
            height, width = levels[level].shape[:2]
            half = cv2.resize(levels[level], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            levels.append(np.asarray(half, np.uint8))
        level += 1
    return level
