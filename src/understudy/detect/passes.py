"""One network in several passes over a picture: sizes, tiles, rotations, and a second look at what is doubtful."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Found, require_view
from understudy.detect.frames import Levels, compose, map_found, resized, turned
from understudy.detect.keypoints import Keypoints
from understudy.detect.overlap import box_area, keep_best
from understudy.detect.second_look import Finder, SecondLook, straightened
from understudy.errors import InvalidInputError
from understudy.types import Detections, Kind

_CLEAR_PX = 3


@dataclass(frozen=True)
class Pass:
    """One look at the whole picture.

    Parameters
    ----------
    scale : float
        Size of the pass relative to the picture.
    rotation_deg : float
        Counter-clockwise turn; multiples of 90 lose nothing.
    threshold : float
        Least confidence of a find in this pass; those under the detector's own are looked at again.
    max_pixels : int, optional
        The scale is lowered until the pass has at most so many pixels.
    longest_side : int, optional
        The picture is reduced to this longest side; the pass is left out where the picture is smaller than twice it.
    largest_px : float, optional
        Larger finds, in pixels of the picture, are let go: of a face that is too large for it the network sees parts.
    """

    scale: float = 1.0
    rotation_deg: float = 0.0
    threshold: float = 0.05
    max_pixels: int | None = None
    longest_side: int | None = None
    largest_px: float | None = None

    def __post_init__(self) -> None:
        if self.scale <= 0 or not 0 < self.threshold < 1:
            raise InvalidInputError(
                f"a pass needs scale > 0 and a threshold in (0, 1), got {self.scale} and {self.threshold}"
            )

    def scale_for(self, height: int, width: int) -> float | None:
        """Scale of the pass for a picture, or None where it is left out."""
        if self.longest_side is not None:
            reduced = self.longest_side / max(height, width)
            return reduced if reduced <= 0.5 else None
        if self.max_pixels is None or self.scale <= 1:
            return self.scale
        return max(1.0, min(self.scale, math.sqrt(self.max_pixels / (height * width))))


class InPasses:
    """A network in several passes, whose finds are united.

    Finds that are as confident as ``sure`` in any pass are taken; the others are looked at again where ``second_look``
    is given, and let go where it is not. The result does not depend on the order of the passes.

    Parameters
    ----------
    finder : Finder
        Such as ``CenterFace``.
    passes : sequence of Pass
    sure : float
        Least confidence of a face that needs no second look.
    second_look : SecondLook, optional
    straighten_deg : float, optional
        Faces that are rolled by more are seen once more upright, for better boxes and keypoints.
    keypoints : Keypoints, optional
        Reads the keypoints of all faces once more, last of all; which faces there are, and their boxes, stay.
    look_iou : float
        Of two finds that overlap more, only the more confident is looked at again.
    nms_iou : float
        Of two faces that overlap more, the less confident is left out.
    containment : float
        So is a face that shares more than this part of the smaller one's area with a more confident one.
    tile_px : int
        Pictures are cut into overlapping tiles of at most this side, which bounds memory.
    tile_overlap_px : int
        Faces up to about this size are whole in one tile; larger ones need a pass at a smaller scale. What touches a
        border behind which the picture goes on is let go.
    kind : "face" or "body"
        What the network finds.
    batch_size : int
        Tiles of one pass that the network is shown at once.
    """

    def __init__(
        self,
        finder: Finder,
        passes: Sequence[Pass],
        *,
        sure: float = 0.5,
        second_look: SecondLook | None = None,
        straighten_deg: float | None = None,
        keypoints: Keypoints | None = None,
        look_iou: float = 0.5,
        nms_iou: float = 0.3,
        containment: float = 0.7,
        tile_px: int = 1280,
        tile_overlap_px: int = 256,
        kind: Literal["face", "body"] = "face",
        batch_size: int = 1,
    ) -> None:
        if not passes:
            raise InvalidInputError("at least one pass is needed, got none")
        if not 0 < 2 * tile_overlap_px < tile_px:
            raise InvalidInputError(f"tile_overlap_px must lie in (0, {tile_px / 2}), got {tile_overlap_px}")
        if kind not in tuple(Kind):
            raise InvalidInputError(f"kind must be one of {', '.join(Kind)}, got {kind!r}")
        if batch_size < 1:
            raise InvalidInputError(f"batch_size must be 1 or more, got {batch_size}")
        self.kind = Kind(kind)
        self.batch_size = batch_size
        self.finder = finder
        self.passes = tuple(passes)
        self.sure = sure
        self.second_look = second_look
        self.straighten_deg = straighten_deg
        self.keypoints = keypoints
        self.look_iou = look_iou
        self.nms_iou = nms_iou
        self.containment = containment
        self.tile_px = tile_px
        self.tile_overlap_px = tile_overlap_px
        self.name = f"{finder.name} in passes"
        self.families = finder.families

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find faces, or bodies, in a view (H, W, 3) of any size."""
        require_view(view)
        height, width = view.shape[:2]
        found = Found.concatenate([self._run(view, one) for one in self.passes])
        found = keep_best(found.clipped(height, width), self.look_iou)
        sure = found.confidence >= self.sure
        faces, levels = found.take(sure), Levels(view)
        if self.second_look is not None:
            faces = Found.concatenate([faces, self.second_look.accepted(levels, found.take(~sure), self.finder)])
        faces = keep_best(faces.clipped(height, width), self.nms_iou, containment=self.containment)
        if self.straighten_deg is not None:
            faces = straightened(levels, faces, self.finder, least_roll_deg=self.straighten_deg)
            faces = keep_best(faces.clipped(height, width), self.nms_iou, containment=self.containment)
        if self.keypoints is not None:
            faces = self.keypoints(levels, faces, self.finder)
        return faces.detections(self.kind)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights that only the keypoints are read with, by their names in the registry."""
        return {} if self.keypoints is None else self.keypoints.digests()

    def _run(self, view: NDArray[np.uint8], one: Pass) -> Found:
        """Finds of one pass, in pixels of the view."""
        scale = one.scale_for(*view.shape[:2])
        if scale is None:
            return Found.nothing()
        small, from_small = resized(view, scale)
        frame, from_frame = turned(small, one.rotation_deg)
        parts = []
        tiles = list(self._tiles(frame))  # views of one size
        for start in range(0, len(tiles), self.batch_size):
            some = tiles[start : start + self.batch_size]
            batch = np.stack([tile for tile, _ in some])
            for seen, (tile, (x, y)) in zip(self.finder.find(batch, one.threshold), some, strict=True):
                kept = seen.take(_whole(seen.xyxy, (x, y), tile.shape[:2], frame.shape[:2]))
                parts.append(map_found(kept, np.array([[1, 0, x], [0, 1, y]], np.float64)))
        found = map_found(Found.concatenate(parts), compose(from_small, from_frame))
        return found if one.largest_px is None else found.take(box_area(found.xyxy) <= one.largest_px**2)

    def _tiles(self, frame: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int]]]:
        """Overlapping tiles of a frame with their upper left corners (x, y)."""
        for y, high in self._spans(frame.shape[0]):
            for x, wide in self._spans(frame.shape[1]):
                yield frame[y : y + high, x : x + wide], (x, y)

    def _spans(self, length: int) -> list[tuple[int, int]]:
        """Start and length of the fewest, equally long, overlapping spans that cover ``length``."""
        if length <= self.tile_px:
            return [(0, length)]
        overlap = self.tile_overlap_px
        n = math.ceil((length - overlap) / (self.tile_px - overlap))
        span = math.ceil((length + (n - 1) * overlap) / n)
        starts = np.linspace(0, length - span, n).round().astype(int)
        return [(int(start), span) for start in starts]


def _whole(
    xyxy: NDArray[np.float32], corner: tuple[int, int], tile: tuple[int, int], frame: tuple[int, int]
) -> NDArray[np.bool_]:
    """Whether boxes, in pixels of a tile, keep clear of those of its borders behind which the frame goes on."""
    left, above = corner[0] > 0, corner[1] > 0
    right, below = corner[0] + tile[1] < frame[1], corner[1] + tile[0] < frame[0]
    low = np.array([_CLEAR_PX if left else -np.inf, _CLEAR_PX if above else -np.inf])
    high = np.array([tile[1] - _CLEAR_PX if right else np.inf, tile[0] - _CLEAR_PX if below else np.inf])
    return np.asarray(((xyxy[:, :2] >= low) & (xyxy[:, 2:] <= high)).all(axis=1))
