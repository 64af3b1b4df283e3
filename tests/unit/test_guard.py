"""What the guard refuses, one reading at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.batch.tables import REGION_COLUMNS
from understudy.guard import FaceGuard, Reference
from understudy.types import Detections

MASK = np.zeros((32, 32), np.bool_)
MASK[4:28, 6:26] = True
NOISE = np.random.default_rng(0).integers(60, 200, (32, 32, 3), np.uint8)
POINTS = np.array([[[11, 12], [20, 12], [16, 17], [12, 22], [19, 22]]], np.float32)


class OneFace:
    """Finds one box with a confidence."""

    name = "one"
    families = frozenset({"one"})

    def __init__(self, xyxy: tuple[float, float, float, float], confidence: float) -> None:
        self.found = Detections.faces(np.array([xyxy]), np.array([confidence]), POINTS)

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        return self.found


class Constant:
    """The same embedding for everybody."""

    name = "constant"

    def can_judge(self, *face: object) -> bool:
        return True

    def embed(self, *face: object) -> NDArray[np.float32]:
        return np.array([1.0, 0.0], np.float32)


def judge(candidate: NDArray[np.uint8], detector: OneFace, reference: Reference) -> tuple[bool, str]:
    verdict = FaceGuard(detector, Constant()).judge(reference, candidate, MASK)  # type: ignore[arg-type]
    return verdict.accepted, verdict.reason


GOOD = OneFace((7, 5, 25, 27), 0.9)
STRANGER = Reference(np.array([0.0, 1.0], np.float32))


def test_a_face_that_is_somebody_else_passes() -> None:
    assert judge(NOISE, GOOD, STRANGER) == (True, "")


def test_the_distance_is_euclidean_and_read_out() -> None:
    verdict = FaceGuard(GOOD, Constant()).judge(STRANGER, NOISE, MASK)  # type: ignore[arg-type]
    assert verdict.readings["identity_distance"] == pytest.approx(np.sqrt(2), abs=1e-4)


def test_the_same_embedding_is_refused_with_the_distance() -> None:
    accepted, reason = judge(NOISE, GOOD, Reference(np.array([1.0, 0.0], np.float32)))
    assert not accepted
    assert "distance 0.000 under 0.60" in reason


def test_a_flat_candidate_is_degenerate() -> None:
    accepted, reason = judge(np.full((32, 32, 3), 90, np.uint8), GOOD, STRANGER)
    assert not accepted
    assert reason.startswith("flat")


def test_a_black_and_white_candidate_is_saturated() -> None:
    clipped = np.where(np.indices((32, 32)).sum(axis=0)[..., None] % 2, 0, 255).repeat(3, axis=2).astype(np.uint8)
    accepted, reason = judge(clipped, GOOD, STRANGER)
    assert not accepted
    assert reason.startswith("saturated: 100%")


def test_a_face_of_low_confidence_is_no_face() -> None:
    assert judge(NOISE, OneFace((7, 5, 25, 27), 0.4), STRANGER) == (False, "no face found in it")


def test_a_neighbours_face_outside_the_mask_is_no_face_of_the_candidate() -> None:
    assert judge(NOISE, OneFace((0, 0, 5, 32), 0.9), STRANGER) == (False, "no face found in it")


def test_without_a_reference_identity_is_undecided_and_the_others_decide() -> None:
    verdict = FaceGuard(GOOD, Constant()).judge(Reference(None, "too small"), NOISE, MASK)  # type: ignore[arg-type]
    assert verdict.accepted
    assert (verdict.readings["identity"], verdict.readings["why"]) == ("undecided", "too small")


def test_a_distance_that_is_no_number_is_refused() -> None:
    accepted, reason = judge(NOISE, GOOD, Reference(np.array([np.nan, 1.0], np.float32)))
    assert not accepted
    assert "distance nan" in reason


def test_a_candidate_of_which_nothing_lies_in_the_crop_is_refused() -> None:
    verdict = FaceGuard(GOOD, Constant()).judge(STRANGER, NOISE, np.zeros((32, 32), np.bool_))  # type: ignore[arg-type]
    assert (verdict.accepted, verdict.reason) == (False, "nothing of it lies in its crop")


def test_what_the_guard_says_of_identity_has_a_column_in_the_published_table() -> None:
    verdict = FaceGuard(GOOD, Constant()).judge(STRANGER, NOISE, MASK)  # type: ignore[arg-type]
    published = {name for name, _ in REGION_COLUMNS}
    assert {"identity", "identity_distance", "face_confidence"} == set(verdict.readings) & published
