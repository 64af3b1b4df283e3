"""The main job as the runners see it: bytes in, bytes out, with the pipeline between."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.errors import UnderstudyError
from understudy.imaging import MAX_PIXELS, EncodedImage, decode, encode
from understudy.pipeline import Pipeline
from understudy.types import AnonymizedImage, Detections, OutcomeKind, SourceImage


class AnonymizeJob:
    """Decode, detect, replace, encode. Its methods may be called from several threads at once.

    Parameters
    ----------
    pipeline : Pipeline
    max_pixels : int
        Larger pictures are refused.
    mark : bool
        Declare a picture in which somebody was replaced as composited with generated parts.
    """

    def __init__(self, pipeline: Pipeline, *, max_pixels: int = MAX_PIXELS, mark: bool = True) -> None:
        self.pipeline = pipeline
        self.max_pixels = max_pixels
        self.mark = mark

    def decode(self, data: bytes, image_id: str) -> SourceImage:
        """Decode a file."""
        return decode(data, image_id, max_pixels=self.max_pixels)

    def detect(self, sources: Sequence[SourceImage]) -> list[Detections]:
        """Find who is in each picture."""
        return self.pipeline.detect(sources)

    def replace(
        self, sources: Sequence[SourceImage], detections: Sequence[Detections]
    ) -> list[AnonymizedImage | UnderstudyError]:
        """Replace everybody in a micro-batch of pictures."""
        return self.pipeline.replace(sources, detections)

    def encode(self, source: SourceImage, anonymized: AnonymizedImage) -> EncodedImage:
        """Encode as the source was encoded; marked where an understudy is in the picture."""
        replaced = any(outcome.kind is OutcomeKind.REPLACED for outcome in anonymized.outcomes)
        return encode(source, anonymized.native, mark=self.mark and replaced)
