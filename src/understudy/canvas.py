"""The canvas of one picture while its people are replaced: erased first, then filled region by region."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from understudy.blend.silhouette import Outline
from understudy.errors import UnderstudyError
from understudy.generate.base import Obscurer
from understudy.generate.fill import fill_color
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
    share_of,
    size_of,
    united,
    without,
)
from understudy.guard import Reference
from understudy.types import (
    ERASED,
    Attributes,
    Condition,
    Crop,
    Detections,
    Kind,
    Outcome,
    OutcomeKind,
    SourceImage,
)

_FILL_PX = 64
"""Side of the crop from which a fill takes its colour."""
HOSTED = 0.5
"""A face of whose region a larger share lies in a body's region is drawn after that body, on top of it."""
HEAD_GROWTH, HEAD_SHIFT = 1.4, 0.25
"""Of a face's region, to that of the head with its hair: growth, and shift upwards over its half height."""
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


class Canvas:
    """Working copy of one picture.

    ``union`` is what will have been replaced, ``unknown`` what is erased and not yet filled again. Every pixel under a
    subject's mask is overwritten in :meth:`erase`, before any crop is cut.
    """

    def __init__(self, source: SourceImage, outline: Outline | None = None) -> None:
        self.source = source
        self.outline = outline or Outline()
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
        keypoints, visibility = found.keypoints_of(i)
        if found.kind[i] is Kind.BODY:
            region = self._body_region(found, i)
            shape = _around(region)
        else:
            shape = face_shape(found.xyxy[i], keypoints, visibility)
            region = shape_region(shape, *self.union.shape)
        subject = Subject(
            index=len(self.subjects),
            xyxy=found.xyxy[i],
            keypoints=keypoints,
            visibility=visibility,
            confidence=float(found.confidence[i]),
            kind=found.kind[i],
            shape=shape,
            region=region,
            attributes=attributes,
            reference=reference,
            found_by=found_by,
            seed_key=int(found.subject_id[i]) if found_by == "primary" else len(self.subjects),
            fill=fill,
            anchor=anchor,
            person=int(found.subject_id[i]) if Kind.BODY in found.kind and found_by == "primary" else None,
        )
        self.subjects.append(subject)
        return subject

    def _body_region(self, found: Detections, i: int) -> Region:
        """What is erased for a body, its face in any case."""
        face = found.face_of(i)
        also = None
        if face is not None:
            points, shown = found.keypoints_of(face)
            shape = face_shape(found.xyxy[face], points, shown)
            also = united(shape_region(shape, *self.union.shape), shape_region(head_shape(shape), *self.union.shape))
        height, width = self.union.shape
        return self.outline(found.xyxy[i], found.silhouette(i), height, width, also)

    def drawn(self, subject: Subject) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        """What the understudy of a body shows in the window of a face in it, and what of that is not known yet.

        None where there is no such body.
        """
        hosts = self.hosts(subject)
        if not hosts or self._outcome(hosts[-1]) is not OutcomeKind.REPLACED:
            return None
        where = subject.region.slices
        return self.pixels[where].copy(), self.unknown[where].copy()

    def lies_in_fill(self, subject: Subject) -> bool:
        """Whether this is a face in a body that is filled."""
        hosts = self.hosts(subject)
        return bool(hosts) and self._outcome(hosts[-1]) is OutcomeKind.FILLED

    def _outcome(self, subject: Subject) -> OutcomeKind | None:
        outcome = self.outcomes.get(subject.index)
        return None if outcome is None else outcome.kind

    def separate(self) -> None:
        """Take the heads of others out of each body's region: a face that is seen has nobody in front of it.

        What is taken out of one region lies in that of the body to which the face belongs: nothing is left over.
        """
        heads = [(b, shape_region(head_shape(f.shape), *self.union.shape)) for f, b in self._joined()]
        for n, subject in enumerate(self.subjects):
            if subject.kind is not Kind.BODY:
                continue
            own = [head for body, head in heads if body.index == subject.index]
            others = [head for body, head in heads if body.index != subject.index]
            region = without(subject.region, others, own)
            if region is not subject.region and region.mask.any():
                self.subjects[n] = replace(subject, region=region)

    def _joined(self) -> list[tuple[Subject, Subject]]:
        """Faces with the bodies that they belong to."""
        bodies = {s.person: s for s in self.subjects if s.kind is Kind.BODY and s.person is not None}
        faces = [s for s in self.subjects if s.kind is Kind.FACE]
        return [(face, bodies[face.person]) for face in faces if face.person in bodies]

    def hosts(self, subject: Subject) -> list[Subject]:
        """Bodies in whose region a face lies, the one that is drawn last at the end."""
        if subject.kind is not Kind.FACE:
            return []
        bodies = [s for s in self.subjects if s.kind is Kind.BODY and share_of(subject.region, s.region) > HOSTED]
        return sorted(bodies, key=lambda s: (s.region.area, s.index))

    def erase(self, subjects: Sequence[Subject]) -> None:
        """Overwrite every pixel under the masks of these subjects."""
        for subject in subjects:
            where = subject.region.slices
            copy_under(subject.region.mask, _erased_like(self.pixels[where]), self.pixels[where])
            self.union[where] |= subject.region.mask
            self.unknown[where] |= subject.region.mask

    def waves(
        self, subjects: Sequence[Subject], window_of: Callable[[Subject], tuple[CropSize, float]]
    ) -> list[list[Subject]]:
        """Order of replacement: smallest (farthest) first; who touches an earlier one's window comes a wave later.

        A face in a body's region comes after that body.

        Parameters
        ----------
        subjects : sequence of Subject
        window_of : callable
            Size of a subject's crop, and how much larger than its region the window is.
        """
        order = sorted(subjects, key=self._turn)
        windows = {s.index: _crop_window(s.shape, *window_of(s)) for s in order}
        depth: dict[int, int] = {}
        waves: list[list[Subject]] = []
        for n, subject in enumerate(order):
            touching = [
                depth[earlier.index]
                for earlier in order[:n]
                if _meet(windows[subject.index], earlier.region.window)
                or _meet(windows[earlier.index], subject.region.window)
            ]
            depth[subject.index] = 1 + max(touching, default=-1)
            if depth[subject.index] == len(waves):
                waves.append([])
            waves[depth[subject.index]].append(subject)
        return waves

    def _turn(self, subject: Subject) -> tuple[int, int, int, int]:
        hosts = self.hosts(subject)
        last = hosts[-1] if hosts else subject
        return last.region.area, last.index, int(bool(hosts)), subject.index

    def cut(self, subject: Subject, size: CropSize, context: float) -> Crop:
        """The subject's crop out of the canvas as it is now."""
        return cut_crop(self.pixels, self.unknown, crop_frame(subject.shape, size, context), size)

    def preview(
        self, subject: Subject, pixels: NDArray[np.uint8], image_from_crop: NDArray[np.float64], size: CropSize
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
        still_unknown: NDArray[np.bool_] | None = None,
    ) -> None:
        """Write a subject's pixels under its mask and note its outcome.

        ``still_unknown`` tells which pixels of the region's window wait for another subject.
        """
        where, mask = subject.region.slices, subject.region.mask
        copy_under(mask, pixels, self.pixels[where])
        self.unknown[where] &= ~mask
        if still_unknown is not None:
            self.unknown[where] |= mask & still_unknown
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
            subject=subject.person,
        )

    def fill(
        self, subject: Subject, reason: str, attempts: int, readings: Mapping[str, float | str], context: float
    ) -> None:
        """Paint a subject's region in one colour of its surroundings."""
        self.erase([subject])  # also after a candidate went in: the colour comes from the surroundings alone
        seen = Condition(self.cut(subject, _FILL_PX, context))
        x0, y0, x1, y1 = subject.region.window
        pixels = np.broadcast_to(fill_color(seen), (y1 - y0, x1 - x0, 3))
        self.put(subject, pixels, OutcomeKind.FILLED, attempts, reason, readings)

    def obscure(self, obscurer: Obscurer) -> None:
        """Baselines: each region of the original is obscured in its own window; no guard, no scan."""
        for subject in self.subjects:
            window, mask = self.margin_window(subject)
            obscured = obscurer.obscure(self.source.view[window], mask)
            x0, y0, x1, y1 = subject.region.window
            inner = slice(y0 - window[0].start, y1 - window[0].start), slice(x0 - window[1].start, x1 - window[1].start)
            self.put(subject, obscured[inner], obscurer.outcome, 1, "", {})

    def subjects_under(self, xyxy: NDArray[np.floating], kind: Kind) -> list[Subject]:
        """Subjects of a kind whose region meets a box."""
        x0, y0, x1, y1 = (float(v) for v in xyxy)
        return [s for s in self.subjects if s.kind is kind and _meet((x0, y0, x1, y1), s.region.window)]

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


def _around(region: Region) -> FaceShape:
    """The upright shape that fills a region's window: where its crops are cut."""
    x0, y0, x1, y1 = region.window
    return FaceShape(((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2), 0.0)


def head_shape(face: FaceShape) -> FaceShape:
    """Where the head of a face is, hair and all."""
    (x, y), (a, b), roll = face.center, face.semi_axes, np.radians(face.roll_deg)
    center = (float(x + np.sin(roll) * HEAD_SHIFT * b), float(y - np.cos(roll) * HEAD_SHIFT * b))
    return FaceShape(center, (a * HEAD_GROWTH, b * HEAD_GROWTH), face.roll_deg)


def _crop_window(shape: FaceShape, size: CropSize, context: float) -> tuple[float, float, float, float]:
    high, wide = size_of(size)
    if high == wide:
        high = wide = 2
    frame = crop_frame(shape, (high, wide), context)
    corners = apply_affine(frame, np.array([[0, 0], [wide, 0], [0, high], [wide, high]], np.float64))
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def _meet(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
