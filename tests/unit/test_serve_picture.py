"""One picture through the server's own logic: returned whole, or refused without a pixel and without a secret."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from tests.faults.tiny_serve import (
    FINDS_MORE,
    FORGETS,
    KEEPS,
    NO_MEMORY,
    OTHER_SIZE,
    RAISES,
    REFUSES,
    SECRET,
    SteeredJob,
    png,
)

from understudy.serve.picture import Anonymized, Refused, anonymize_picture


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_a_picture_comes_back_with_its_regions_counted_and_the_rest_untouched() -> None:
    sent = png(24, 16)
    answer = anonymize_picture(SteeredJob(), sent)
    assert isinstance(answer, Anonymized)
    assert (answer.media_type, answer.width, answer.height) == ("image/png", 24, 16)
    assert dict(answer.outcomes) == {"replaced": 1, "filled": 1}
    assert answer.notes == ("a note",)
    before, after = pixels_of(sent), pixels_of(answer.data)
    assert np.array_equal(after[:8, :16], 255 - before[:8, :16])
    assert np.array_equal(after[8:], before[8:])
    assert np.array_equal(after[:, 16:], before[:, 16:])


def test_a_report_tells_no_guard_reading() -> None:
    answer = anonymize_picture(SteeredJob(), png())
    assert isinstance(answer, Anonymized)
    assert set(answer.regions[0]) == {"region", "xyxy", "confidence", "outcome", "attempts", "found_by"}


def test_a_region_that_the_residual_scan_added_is_no_reason_to_withhold() -> None:
    answer = anonymize_picture(SteeredJob(), png(FINDS_MORE))
    assert isinstance(answer, Anonymized)
    assert len(answer.regions) == 3


@pytest.mark.parametrize(
    ("width", "status", "reason"),
    [
        (RAISES, 500, "could not be replaced (ZeroDivisionError)"),
        (FORGETS, 500, "2 regions need one outcome each, 1 have none"),
        (KEEPS, 500, "1 regions would be returned as they were"),
        (REFUSES, 422, "1 face is still found"),
        (NO_MEMORY, 500, "ran out of memory"),
        (OTHER_SIZE, 500, "of another picture or size"),
    ],
)
def test_whatever_goes_wrong_is_a_refusal_that_says_why_and_holds_nothing_else(
    width: int, status: int, reason: str
) -> None:
    answer = anonymize_picture(SteeredJob(), png(width))
    assert isinstance(answer, Refused)
    assert (answer.status, answer.kind) == (status, "quarantined")
    assert reason in answer.reason
    assert SECRET not in answer.reason
    assert "picture:" not in answer.reason


def test_what_is_no_picture_or_a_damaged_one_is_told_apart() -> None:
    nothing = anonymize_picture(SteeredJob(), b"hello")
    damaged = anonymize_picture(SteeredJob(), png()[:60])
    assert isinstance(nothing, Refused)
    assert isinstance(damaged, Refused)
    assert (nothing.status, nothing.kind) == (415, "not_a_picture")
    assert (damaged.status, damaged.kind) == (422, "unreadable")


def test_the_seed_depends_on_the_bytes_alone() -> None:
    seen = []

    class Noting(SteeredJob):
        def detect(self, sources):  # type: ignore[no-untyped-def]
            seen.append((sources[0].image_id, sources[0].digest))
            return super().detect(sources)

    sent = png(seed=5)
    anonymize_picture(Noting(), sent)
    anonymize_picture(Noting(), sent)
    assert seen == [("picture", hashlib.sha256(sent).digest())] * 2
