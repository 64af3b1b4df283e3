"""From the bytes of one picture to those of its anonymised self, or to the reason why nothing is returned.

Fail closed: whatever goes wrong ends in a refusal without a pixel, never in the picture itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from understudy.errors import NotMediaError, RefusedImageError, UnderstudyError, UnreadableImageError
from understudy.imaging import HEAD_BYTES, sniff
from understudy.types import AnonymizedImage, Detections, OutcomeKind, SourceImage

IMAGE_ID = "picture"
"""What messages call it: the server is told no name."""
SAFE = frozenset({OutcomeKind.REPLACED, OutcomeKind.FILLED, OutcomeKind.OBSCURED})
"""Outcomes with which a region may leave the server."""


class EncodedImage(Protocol):
    """A picture as it is written."""

    @property
    def data(self) -> bytes:
        """The file's bytes."""

    @property
    def notes(self) -> Sequence[str]:
        """What should be said about the writing."""


class Job(Protocol):
    """Everything that turns one file's bytes into another's."""

    def decode(self, data: bytes, image_id: str) -> SourceImage:
        """Decode a file."""

    def detect(self, sources: Sequence[SourceImage]) -> list[Detections]:
        """Find who is in each picture."""

    def replace(
        self, sources: Sequence[SourceImage], detections: Sequence[Detections]
    ) -> list[AnonymizedImage | UnderstudyError]:
        """Replace everybody; the failure of one picture is its value."""

    def encode(self, source: SourceImage, anonymized: AnonymizedImage) -> EncodedImage:
        """Encode in the source's own format, or in a lossless one."""


@dataclass(frozen=True)
class Anonymized:
    """What is returned of one picture."""

    data: bytes
    media_type: str
    width: int
    height: int
    outcomes: Mapping[str, int]
    """How many regions ended how; outcomes that did not occur are left out."""
    regions: tuple[Mapping[str, object], ...]
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Refused:
    """Why nothing is returned."""

    status: int
    """HTTP status."""
    kind: str
    """One word for programs."""
    reason: str
    """One sentence for people."""


def anonymize_picture(job: Job, data: bytes) -> Anonymized | Refused:
    """Decode, detect, replace, check, encode.

    Parameters
    ----------
    job : Job
    data : bytes
        A whole file.

    Returns
    -------
    Anonymized or Refused
        Nothing is raised, whatever the bytes are.
    """
    began = time.perf_counter()
    try:
        source = job.decode(data, IMAGE_ID)
    except NotMediaError as error:
        return Refused(415, "not_a_picture", _plain(error))
    except RefusedImageError as error:
        return Refused(422, "refused", _plain(error))
    except UnreadableImageError as error:
        return Refused(422, "unreadable", _plain(error))
    except Exception as error:  # noqa: BLE001 - decoders raise anything
        return Refused(422, "unreadable", f"it cannot be decoded ({type(error).__name__})")
    try:
        (found,) = job.detect([source])
        (result,) = job.replace([source], [found])
        if isinstance(result, UnderstudyError):
            return _quarantined(result)
        problem = _problem(source, len(found), result)
        if problem:
            return Refused(500, "quarantined", problem)
        encoded = job.encode(source, result)
        media_type = sniff(encoded.data[:HEAD_BYTES]) or "application/octet-stream"
    except Exception as error:  # noqa: BLE001 - whatever it is, the picture is withheld
        return _quarantined(error)
    height, width = result.native.shape[:2]
    return Anonymized(
        data=encoded.data,
        media_type=media_type,
        width=width,
        height=height,
        outcomes=Counter(str(outcome.kind) for outcome in result.outcomes),
        regions=tuple(_regions(result)),
        notes=tuple(dict.fromkeys((*source.notes, *encoded.notes))),
        seconds=time.perf_counter() - began,
    )


def _quarantined(error: Exception) -> Refused:
    """Our own refusals in their own words; of any other error its type only, since its text may hold anything."""
    if isinstance(error, RefusedImageError):
        return Refused(422, "quarantined", _plain(error))
    if isinstance(error, MemoryError):
        return Refused(500, "quarantined", "the server ran out of memory with this picture, so nothing is returned")
    return Refused(
        500, "quarantined", f"somebody in it could not be replaced ({type(error).__name__}), so nothing is returned"
    )


def _problem(source: SourceImage, n_found: int, result: AnonymizedImage) -> str:
    """Why a result must not leave; empty where it may. Residual finds add regions, so there may be more than found."""
    regions = [outcome.region for outcome in result.outcomes]
    missing = set(range(n_found)) - set(regions)
    if missing or len(set(regions)) != len(regions):
        return f"{n_found} regions need one outcome each, {len(missing)} have none, so nothing is returned"
    kept = [outcome for outcome in result.outcomes if outcome.kind not in SAFE]
    if kept:
        return f"{len(kept)} regions would be returned as they were, so nothing is returned"
    if result.image_id != source.image_id or result.native.shape != source.native.shape:
        return "the result is of another picture or size, so nothing is returned"
    return ""


def _plain(error: Exception) -> str:
    return str(error).removeprefix(f"{IMAGE_ID}: ")


def _regions(result: AnonymizedImage) -> list[dict[str, object]]:
    """What is told of each region: no guard readings, which say how near an understudy is to the original."""
    return [
        {
            "region": outcome.region,
            "xyxy": [round(float(value), 1) for value in outcome.xyxy],
            "confidence": round(float(outcome.confidence), 4),
            "outcome": str(outcome.kind),
            "attempts": outcome.attempts,
            "found_by": outcome.found_by,
        }
        for outcome in result.outcomes
    ]
