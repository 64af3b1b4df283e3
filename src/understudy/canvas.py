"""The canvas of one picture while its people are replaced: erased first, then filled region by region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UnderstudyError
from understudy.geometry import (
    FaceShape,
    Region,
    apply_affine,
    copy_under,
    crop_frame,
    cut_crop,
    face_shape,
    invert_affine,
    shape_region,
)
from understudy.guard import Reference
from understudy.types import ERASED, Attributes, Crop, Detections, Kind, Outcome, OutcomeKind, SourceImage


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

    @property
    def shorter_side(self) -> float:
        """Shorter side of the detection's box, px."""
        return float(min(self.xyxy[2] - self.xyxy[0], self.xyxy[3] - self.xyxy[1]))

    def points_in(self, image_from_crop: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints in crop px, and their visibility."""
        points = apply_affine(invert_affine(image_from_crop), self.keypoints)
        return points.astype(np.float32), self.visibility


class Canvas:
    """Working copy of one picture.

    ``union`` is what will have been replaced, ``unknown`` what is erased and not yet filled again. Every pixel under a
    subject's mask is overwritten in :meth:`erase`, before any crop is cut.
    """

    def __init__(self, source: SourceImage) -> None:
        self.source = source
        self.pixels: NDArray[np.uint8] = np.array(source.view)
        self.union: NDArray[np.bool_] = np.zeros(source.view.shape[:2], np.bool_)
        self.unknown: NDArray[np.bool_] = np.zeros(source.view.shape[:2], np.bool_)
        self.subjects: list[Subject] = []
        self.outcomes: dict[int, Outcome] = {}
        self.error: UnderstudyError | None = None

    def add(
        self,
        found: Detections,
        i: int,
        attributes: Attributes,
        reference: Reference | None,
        found_by: str,
        fill: str = "",
        anchor: NDArray[np.float32] | None = None,
    ) -> Subject:
        """Make a subject of detection i; nothing is erased yet."""
        shape = face_shape(found.xyxy[i], found.keypoints[i], found.visibility[i])
        subject = Subject(
            index=len(self.subjects),
            xyxy=found.xyxy[i],
            keypoints=found.keypoints[i],
            visibility=found.visibility[i],
            confidence=float(found.confidence[i]),
            kind=found.kind[i],
            shape=shape,
            region=shape_region(shape, *self.union.shape),
            attributes=attributes,
            reference=reference,
            found_by=found_by,
            seed_key=int(found.subject_id[i]) if found_by == "primary" else len(self.subjects),
            fill=fill,
            anchor=anchor,
        )
        self.subjects.append(subject)
        return subject

    def erase(self, subjects: Sequence[Subject]) -> None:
        """Overwrite every pixel under the masks of these subjects."""
        for subject in subjects:
            where = subject.region.slices
            copy_under(subject.region.mask, _erased_like(self.pixels[where]), self.pixels[where])
            self.union[where] |= subject.region.mask
            self.unknown[where] |= subject.region.mask

    def waves(self, subjects: Sequence[Subject], context: float) -> list[list[Subject]]:
        """Order of replacement: smallest (farthest) first; who touches an earlier one's window comes a wave later."""
        order = sorted(subjects, key=lambda s: (s.region.area, s.index))
        depth: dict[int, int] = {}
        waves: list[list[Subject]] = []
        for n, subject in enumerate(order):
            window = _crop_window(subject.shape, context)
            touching = [
                depth[earlier.index]
                for earlier in order[:n]
                if _meet(window, earlier.region.window)
                or _meet(_crop_window(earlier.shape, context), subject.region.window)
            ]
            depth[subject.index] = 1 + max(touching, default=-1)
            if depth[subject.index] == len(waves):
                waves.append([])
            waves[depth[subject.index]].append(subject)
        return waves

    def cut(self, subject: Subject, size: int, context: float) -> Crop:
        """The subject's crop out of the canvas as it is now."""
        return cut_crop(self.pixels, self.unknown, crop_frame(subject.shape, size, context), size)

    def preview(
        self, subject: Subject, pixels: NDArray[np.uint8], image_from_crop: NDArray[np.float64], size: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The crop as it would look with these pixels in place, and which of its pixels they are."""
        where, mask = subject.region.slices, subject.region.mask
        old_pixels, old_unknown = self.pixels[where].copy(), self.unknown[where].copy()
        before = cut_crop(self.pixels, self.unknown, image_from_crop, size)
        try:
            copy_under(mask, pixels, self.pixels[where])
            self.unknown[where] &= ~mask
            after = cut_crop(self.pixels, self.unknown, image_from_crop, size)
        finally:
            self.pixels[where], self.unknown[where] = old_pixels, old_unknown
        return after.pixels, before.replace_mask & ~after.replace_mask

    def put(
        self,
        subject: Subject,
        pixels: NDArray[np.uint8],
        kind: OutcomeKind,
        attempts: int,
        reason: str,
        readings: Mapping[str, float | str],
    ) -> None:
        """Write a subject's pixels under its mask and note its outcome."""
        where, mask = subject.region.slices, subject.region.mask
        copy_under(mask, pixels, self.pixels[where])
        self.unknown[where] &= ~mask
        x0, y0, x1, y1 = (float(v) for v in subject.xyxy)
        self.outcomes[subject.index] = Outcome(
            region=subject.index,
            xyxy=(x0, y0, x1, y1),
            detected_as=subject.kind,
            confidence=subject.confidence,
            kind=kind,
            attempts=attempts,
            reason=reason,
            readings=dict(readings),
            found_by=subject.found_by,
        )

    def subjects_under(self, xyxy: NDArray[np.floating]) -> list[Subject]:
        """Subjects whose region meets a box."""
        x0, y0, x1, y1 = (float(v) for v in xyxy)
        return [s for s in self.subjects if _meet((x0, y0, x1, y1), s.region.window)]

    def margin_window(self, subject: Subject) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
        """Slices of the region's window with half its size around it, and the region's mask in there."""
        x0, y0, x1, y1 = subject.region.window
        height, width = self.union.shape
        pad = max(x1 - x0, y1 - y0) // 2 + 1
        rows = slice(max(y0 - pad, 0), min(y1 + pad, height))
        columns = slice(max(x0 - pad, 0), min(x1 + pad, width))
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
        mask[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start] = subject.region.mask
        return (rows, columns), mask


def _erased_like(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.full(pixels.shape, ERASED, np.uint8)


def _crop_window(shape: FaceShape, context: float) -> tuple[float, float, float, float]:
    corners = apply_affine(crop_frame(shape, 2, context), np.array([[0, 0], [2, 0], [0, 2], [2, 2]], np.float64))
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _meet(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
