"""One region of one picture on its way, and the order in which regions are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.geometry import FaceShape, Region, apply_affine, crop_frame, invert_affine, size_of
from understudy.guard import Reference
from understudy.types import Attributes, Kind

HEAD_GROWTH, HEAD_SHIFT = 1.4, 0.25
"""Of a face's region, to that of the head with its hair: growth, and shift upwards over its half height."""
TOO_LARGE = "it is too large for a face among the people around it"
"""Why a face is filled that is larger than people are beside it."""
CropSize = int | tuple[int, int]
"""Side of a square crop, or height and width, px."""


@dataclass(frozen=True)
class Subject:
    """One region of one picture, with what may travel from the person and what the guard remembers."""

    index: int
    xyxy: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    visibility: NDArray[np.float32]
    confidence: float
    kind: Kind
    shape: FaceShape
    region: Region
    attributes: Attributes
    reference: Reference | None
    found_by: str
    seed_key: int
    """What the region's seeds are drawn for: the index in a picture, the track in a film."""
    anchor: NDArray[np.float32] | None = None
    """Keypoints in the frame of a film by which its track was cast."""
    fill: str = ""
    """Why this region is filled without an attempt; empty where it is generated."""
    person: int | None = None
    """Number of the person in the picture; None where only faces are looked for."""

    @property
    def size_px(self) -> float:
        """What a generator's least size is compared with: shorter side of a face's box, height of a body's, px."""
        width, height = float(self.xyxy[2] - self.xyxy[0]), float(self.xyxy[3] - self.xyxy[1])
        return height if self.kind is Kind.BODY else min(width, height)

    def points_in(self, image_from_crop: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints in crop px, and their visibility."""
        points = apply_affine(invert_affine(image_from_crop), self.keypoints)
        return points.astype(np.float32), self.visibility


def head_shape(face: FaceShape) -> FaceShape:
    """Where the head of a face is, hair and all."""
    (x, y), (a, b), roll = face.center, face.semi_axes, np.radians(face.roll_deg)
    center = (float(x + np.sin(roll) * HEAD_SHIFT * b), float(y - np.cos(roll) * HEAD_SHIFT * b))
    return FaceShape(center, (a * HEAD_GROWTH, b * HEAD_GROWTH), face.roll_deg)


def drawing_order(
    subjects: Sequence[Subject], behind: Mapping[int, set[int]], hosts: Mapping[int, Sequence[Subject]]
) -> list[Subject]:
    """Smallest (farthest) first, but after everybody who is known to stand behind; a face right after its last host.

    What is too large for a face is filled before all others, so that people come to lie on the fill.

    Parameters
    ----------
    subjects : sequence of Subject
    behind : mapping
        For a subject's index, those of the bodies that stand behind it.
    hosts : mapping
        For a face's index, the bodies in whose region it lies.
    """
    alone = (s for s in subjects if not hosts[s.index])
    left = sorted(alone, key=lambda s: (s.fill != TOO_LARGE, s.region.area, s.index))
    order: list[Subject] = []
    while left:
        waiting = {s.index for s in left}
        free = [s for s in left if not (behind.get(s.index, set()) & waiting)]
        order.append((free or left)[0])  # in a circle of people who all stand before each other, the smallest
        left.remove(order[-1])
    place = {s.index: n for n, s in enumerate(order)}
    faces = [s for s in subjects if hosts[s.index]]
    turns = [(place[s.index], 0, s.region.area, s) for s in order]
    turns += [(max(place.get(h.index, -1) for h in hosts[s.index]), 1, s.region.area, s) for s in faces]
    return [turn[3] for turn in sorted(turns, key=lambda turn: (*turn[:3], turn[3].index))]


def crop_window(shape: FaceShape, size: CropSize, context: float) -> tuple[float, float, float, float]:
    """The upright box around the window from which a shape's crop is cut, px."""
    high, wide = size_of(size)
    if high == wide:
        high = wide = 2
    frame = crop_frame(shape, (high, wide), context)
    corners = apply_affine(frame, np.array([[0, 0], [wide, 0], [0, high], [wide, high]], np.float64))
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def meet(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes have a point in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
