"""Originals that are still there are found by their pixels and by their embedding."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from understudy.audit.resampling import Plan
from understudy.audit.residual import box_change, change_limit, residual_faces
from understudy.errors import InvalidInputError

PLAN = Plan(seed=1, n_boot=100, n_permutations=9)


def test_the_change_in_a_box_by_hand() -> None:
    before = np.full((40, 60, 3), 100, np.uint8)
    after = before.copy()
    after[10:30, 10:30] += 8
    boxes = np.array([[10, 10, 30, 30], [35, 10, 55, 30], [0, 0, 40, 40], [100, 100, 120, 120]])
    change = box_change(before, after, boxes)
    # the third is read in its middle, (10, 10) to (30, 30); the last lies outside the picture
    assert change[:3] == pytest.approx([8, 0, 8])
    assert np.isnan(change[3])


def test_a_darker_picture_differs_as_much_as_a_lighter_one() -> None:
    a, b = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 250, np.uint8)
    box = np.array([[0, 0, 8, 8]])
    assert box_change(a, b, box).tolist() == box_change(b, a, box).tolist() == [240]


def test_a_re_encoded_face_is_unchanged_and_a_new_one_is_not() -> None:
    rng = np.random.default_rng(1)
    smooth = [cv2.GaussianBlur(rng.normal(size=(64, 64, 3)), (0, 0), 4) for _ in range(2)]
    face, other = (np.clip(128 + 45 * s / s.std(), 0, 255).astype(np.uint8) for s in smooth)
    _, data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 80])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    box = np.array([[0, 0, 64, 64]])
    limit = change_limit(box_change(face, again, box))
    assert box_change(face, again, box)[0] <= limit < box_change(face, other, box)[0]


def test_the_limit_follows_a_coarse_null_edit_and_has_a_floor() -> None:
    assert change_limit([0.1, 0.2, np.nan], least=3) == 3
    assert change_limit(np.full(50, 7.0), least=3) == 7
    assert change_limit([], least=3) == 3


def test_either_reading_makes_a_residual_face() -> None:
    found = residual_faces([0.5, 40, 40, np.nan], [0.1, 0.9, 0.1, np.nan], np.arange(4), PLAN, similarity_over=0.5)
    assert found.unchanged.tolist() == [True, False, False, False]
    assert found.recognised.tolist() == [False, True, False, False]
    assert found.share.value == pytest.approx(2 / 3)  # the last could not be judged at all
    assert found.unreadable == 1


def test_five_percent_left_unchanged_are_found_at_their_size() -> None:
    rng = np.random.default_rng(2)
    left = rng.random(600) < 0.05
    change = np.where(left, rng.uniform(0, 2, 600), rng.uniform(15, 60, 600))
    similarity = np.where(left, 0.95, rng.uniform(-0.3, 0.3, 600))
    found = residual_faces(change, similarity, np.arange(600), PLAN, similarity_over=0.5)
    assert found.residual.tolist() == left.tolist()
    assert found.share.low <= 0.05 <= found.share.high


def test_no_threshold_is_an_error_where_embeddings_wait_for_one() -> None:
    with pytest.raises(InvalidInputError, match="threshold"):
        residual_faces([1.0], [0.9], np.arange(1), PLAN, similarity_over=float("nan"))


def test_no_faces_are_no_share() -> None:
    assert np.isnan(residual_faces([], [], np.zeros(0, np.int64), PLAN, similarity_over=0.5).share.value)
