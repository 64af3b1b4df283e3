"""The canvas of one picture while its people are replaced: erased first, then filled region by region."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from understudy.blend.silhouette import Outline
from understudy.detect.persons import too_large
from understudy.errors import UnderstudyError
from understudy.generate.base import Obscurer
from understudy.generate.fill import fill_color
from understudy.geometry import (
    FaceShape,
    Region,
    copy_under,
    crop_frame,
    cut_crop,
    face_shape,
    shape_region,
    share_of,
    united,
    without,
)
from understudy.guard import Reference
from understudy.subject import TOO_LARGE, CropSize, Subject, crop_window, drawing_order, head_shape, meet
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
CERTAIN = 0.9
"""Confidence of the first detector over which a face is one, whatever stands around it."""
LARGEST_ROLL_DEG = 45.0
"""A face that is rolled by more is left as it was drawn with its body, whose head is upright."""
IN_A_FILL = "it lies in a body that is filled"
HOSTED = 0.5
"""A face of whose region a larger share lies in a body's region is drawn after that body, on top of it."""


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
        self.behind: dict[int, set[int]] = {}
        """For a body's index, those of the bodies that stand behind it."""

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
            if fill == TOO_LARGE and not self.union[region.slices][region.mask].all():
                region = Region(region.window, region.mask & ~self.union[region.slices])  # who is drawn stays
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

    def too_large(self, found: Detections, indices: Sequence[int], found_by: str) -> dict[int, str]:
        """Those of the detections that are faces too large for the people around them, with the reason for a fill.

        A detector that is ``CERTAIN`` of a face in the picture as it was is believed.
        """
        faces = [i for i in indices if found.kind[i] is Kind.FACE]
        people: list[tuple[NDArray[np.float32], NDArray[np.float32] | None]] = []
        for i in indices:
            if found.kind[i] is Kind.BODY:
                face = found.face_of(i)
                people.append((found.xyxy[i], None if face is None else found.xyxy[face]))
        drawn = {s.person: s.xyxy for s in self.subjects if s.kind is Kind.FACE and s.person is not None}
        here = [s for s in self.subjects if s.kind is Kind.BODY]
        people += [(s.xyxy, None if s.person is None else drawn.get(s.person)) for s in here]
        joined = {int(found.subject_id[i]) for i in indices if found.kind[i] is Kind.BODY}
        alone = [i for i in faces if int(found.subject_id[i]) not in joined]
        if found_by == "primary":
            alone = [i for i in alone if found.confidence[i] < CERTAIN]
        if not people or not alone:
            return {}
        bodies, heads = np.array([body for body, _ in people]), [head for _, head in people]
        sizes = np.array([0 if head is None else (head[2:] - head[:2]).max() for head in heads], np.float32)
        others = np.array([head for head in heads if head is not None], np.float32).reshape(-1, 4)
        flags = too_large(found.xyxy[alone], others, bodies, sizes)
        return {i: TOO_LARGE for i, flag in zip(alone, flags, strict=True) if flag}

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

    def window(self, subject: Subject) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """What a subject's window shows now, and which of its pixels are not known yet; copies."""
        where = subject.region.slices
        return self.pixels[where].copy(), self.unknown[where].copy()

    def host_outcome(self, subject: Subject) -> OutcomeKind | None:
        """What became of the body in which a face lies, the last one that was drawn; None where there is none."""
        hosts = {s.index for s in self.hosts(subject)}
        drawn = [index for index in self.outcomes if index in hosts]
        return self.outcomes[drawn[-1]].kind if drawn else None

    def off_upright_deg(self, subject: Subject) -> float:
        """By how much a face is rolled against the head of the body that was drawn around it; 0 where there is none."""
        drawn = self.host_outcome(subject) is OutcomeKind.REPLACED
        return abs(subject.shape.roll_deg) if drawn else 0.0

    def separate(self) -> None:
        """Find out who stands before whom, and take the heads of others out of each body's region.

        A face that is seen has nobody in front of it: who has another one's face in their region stands behind. What is
        taken out of one region lies in that of the body to which the face belongs: nothing is left over.
        """
        joined = self._joined()
        heads = [(b.index, shape_region(head_shape(f.shape), *self.union.shape)) for f, b in joined]
        sees = {b.index: {f.index for f, a in joined if a is not b and _lies_in(f, b)} for _, b in joined}
        for face, front in joined:
            for body in self.subjects:
                if body.kind is Kind.BODY and body is not front and _lies_in(face, body):
                    own = {f.index for f, a in joined if a is body}
                    if not own & sees[front.index]:
                        self.behind.setdefault(front.index, set()).add(body.index)
        for n, subject in enumerate(self.subjects):
            if subject.kind is Kind.BODY:
                others = [head for body, head in heads if body != subject.index]
                region = without(subject.region, others, [head for body, head in heads if body == subject.index])
                if region is not subject.region and region.mask.any():
                    self.subjects[n] = replace(subject, region=region)

    def _joined(self) -> list[tuple[Subject, Subject]]:
        """Faces with the bodies that they belong to."""
        bodies = {s.person: s for s in self.subjects if s.kind is Kind.BODY and s.person is not None}
        faces = [s for s in self.subjects if s.kind is Kind.FACE]
        return [(face, bodies[face.person]) for face in faces if face.person in bodies]

    def hosts(self, subject: Subject) -> list[Subject]:
        """Bodies in whose region a face lies."""
        if subject.kind is not Kind.FACE:
            return []
        return [s for s in self.subjects if s.kind is Kind.BODY and _lies_in(subject, s)]

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
        """Subjects in their ``drawing_order``; who touches an earlier one's window comes a wave later.

        Parameters
        ----------
        subjects : sequence of Subject
        window_of : callable
            Size of a subject's crop, and how much larger than its region the window is.
        """
        order = drawing_order(subjects, self.behind, {s.index: self.hosts(s) for s in subjects})
        windows = {s.index: crop_window(s.shape, *window_of(s)) for s in order}
        depth: dict[int, int] = {}
        waves: list[list[Subject]] = []
        for n, subject in enumerate(order):
            touching = [
                depth[earlier.index]
                for earlier in order[:n]
                if meet(windows[subject.index], earlier.region.window)
                or meet(windows[earlier.index], subject.region.window)
            ]
            depth[subject.index] = 1 + max(touching, default=-1)
            if depth[subject.index] == len(waves):
                waves.append([])
            waves[depth[subject.index]].append(subject)
        return waves

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
        """Paint a subject's region in one colour of its surroundings, and the faces that were drawn into a body."""
        self.erase([subject])  # also after a candidate went in: the colour comes from the surroundings alone
        seen = Condition(self.cut(subject, _FILL_PX, context))
        x0, y0, x1, y1 = subject.region.window
        pixels = np.broadcast_to(fill_color(seen), (y1 - y0, x1 - x0, 3))
        self.put(subject, pixels, OutcomeKind.FILLED, attempts, reason, readings)
        for face in self.subjects if subject.kind is Kind.BODY else ():
            if face.index in self.outcomes and any(host.index == subject.index for host in self.hosts(face)):
                self.fill(face, IN_A_FILL, self.outcomes[face.index].attempts, {}, context)

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
        return [s for s in self.subjects if s.kind is kind and meet((x0, y0, x1, y1), s.region.window)]

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


def _lies_in(face: Subject, body: Subject) -> bool:
    return share_of(face.region, body.region) > HOSTED


def _erased_like(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.full(pixels.shape, ERASED, np.uint8)


def _around(region: Region) -> FaceShape:
    """The upright shape that fills a region's window: where its crops are cut."""
    x0, y0, x1, y1 = region.window
    return FaceShape(((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2), 0.0)
