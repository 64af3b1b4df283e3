"""The main job as the runners see it: bytes in, bytes out, with the pipeline between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from understudy.detect.base import Found
from understudy.detect.boxes import UserBoxes
from understudy.detect.merge import as_found
from understudy.detect.overlap import box_area, intersection
from understudy.detect.persons import Persons, join, only
from understudy.errors import UnderstudyError
from understudy.imaging import MAX_PIXELS, EncodedImage, decode, encode, reencode_error
from understudy.pipeline import Pipeline
from understudy.types import AnonymizedImage, Detections, Kind, OutcomeKind, SourceImage

COVERED = 0.9
"""A detection with this share of its box inside one of the user's boxes is the user's."""


class PictureCodec:
    """From a file's bytes to pixels and back, with no network.

    Parameters
    ----------
    max_pixels : int
        Larger pictures are refused.
    mark : bool
        Declare a picture in which somebody was replaced as composited with generated parts.
    measure_encoding : bool
        Say in the table how far a lossy file is from its source outside the masks; that costs decoding it twice.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS, *, mark: bool = True, measure_encoding: bool = False) -> None:
        self.max_pixels = max_pixels
        self.mark = mark
        self.measure_encoding = measure_encoding

    def decode(self, data: bytes, image_id: str) -> SourceImage:
        """Decode a file."""
        return decode(data, image_id, max_pixels=self.max_pixels)

    def encode(self, source: SourceImage, anonymized: AnonymizedImage) -> EncodedImage:
        """Encode as the source was encoded; marked where an understudy is in the picture."""
        replaced = any(outcome.kind is OutcomeKind.REPLACED for outcome in anonymized.outcomes)
        encoded = encode(source, anonymized.native, mark=self.mark and replaced)
        if encoded.lossless or not self.measure_encoding:
            return encoded
        error = reencode_error(source, encoded, anonymized.replace_mask)
        note = (
            f"outside the masks, values differ by {error.mean_abs:.2f} on average, {error.max_abs:.0f} at most "
            f"(written again with nothing replaced: {error.plain_mean_abs:.2f}, {error.plain_max_abs:.0f})"
        )
        return replace(encoded, notes=(*encoded.notes, note))


class AnonymizeJob(PictureCodec):
    """Decode, detect, replace, encode. Its methods may be called from several threads at once.

    Parameters
    ----------
    pipeline : Pipeline
    max_pixels, mark, measure_encoding
        As for ``PictureCodec``.
    boxes : UserBoxes, optional
        The user's own boxes.
    boxes_mode : "replace" or "add"
        In a picture that ``boxes`` names: nothing but them, or what the detector finds besides. In any other picture
        the detector is used as always. Boxes are faces: bodies are looked for in any case, where they are replaced.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        max_pixels: int = MAX_PIXELS,
        mark: bool = True,
        measure_encoding: bool = False,
        boxes: UserBoxes | None = None,
        boxes_mode: Literal["replace", "add"] = "replace",
    ) -> None:
        super().__init__(max_pixels, mark=mark, measure_encoding=measure_encoding)
        self.pipeline = pipeline
        self.boxes = boxes
        self.boxes_mode = boxes_mode
        self._bodies = isinstance(pipeline.detector, Persons)

    def detect(self, sources: Sequence[SourceImage]) -> list[Detections]:
        """Find who is in each picture, or take the user's word for it."""
        return [self._detect(source) for source in sources]

    def _detect(self, source: SourceImage) -> Detections:
        given = None
        if self.boxes is not None:
            height, width = source.view.shape[:2]
            given = self.boxes.detections(source.image_id, height=height, width=width, orientation=source.orientation)
        if given is not None and self.boxes_mode == "replace" and not self._bodies:
            return given
        found = self.pipeline.detect([source])[0]
        if given is None:
            return found
        if not self._bodies:
            return with_found(given, found)
        faces = given if self.boxes_mode == "replace" else with_found(given, only(found, Kind.FACE))
        return join(faces, only(found, Kind.BODY))

    def replace(
        self, sources: Sequence[SourceImage], detections: Sequence[Detections]
    ) -> list[AnonymizedImage | UnderstudyError]:
        """Replace everybody in a micro-batch of pictures."""
        return self.pipeline.replace(sources, detections)


def with_found(given: Detections, found: Detections) -> Detections:
    """The user's boxes, and every detection that none of them covers: what overlaps in part is replaced as both."""
    ours, theirs = as_found(found), as_found(given)
    if len(ours) and len(theirs):
        share = intersection(theirs.xyxy, ours.xyxy) / box_area(ours.xyxy).clip(1e-9)[None, :]  # (N, M)
        ours = ours.take(share.max(axis=0) < COVERED)
    return Found.concatenate([theirs, ours]).detections()
