"""Average precision by hand and by its definition written out."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.audit.resampling import Plan
from understudy.audit.utility import Boxes, average_precision
from understudy.errors import InvalidInputError

PLAN = Plan(seed=1, n_boot=100, n_permutations=9)


def found(*rows: tuple[float, float]) -> Boxes:
    """Boxes of 10 px at (x, 0) with a confidence each."""
    return Boxes(
        np.array([[x, 0, x + 10, 10] for x, _ in rows], float).reshape(-1, 4), np.array([c for _, c in rows], float)
    )


def test_the_same_boxes_are_found_again() -> None:
    pictures = [found((0, 0.9), (20, 0.4)), found(), found((5, 0.7))]
    assert average_precision(pictures, pictures, PLAN).value == 1


def test_average_precision_by_hand() -> None:
    before = [found((0, 1), (20, 1), (40, 1), (60, 1))]
    # by confidence: hit, wrong, hit, and two never found: (1/1 + 2/3) / 4
    after = [found((0, 0.9), (200, 0.8), (20, 0.7))]
    assert average_precision(before, after, PLAN).value == pytest.approx((1 + 2 / 3) / 4)


def test_a_second_find_of_one_face_is_wrong() -> None:
    before = [found((0, 1), (20, 1))]
    after = [found((0, 0.9), (1, 0.8), (20, 0.7))]
    assert average_precision(before, after, PLAN).value == pytest.approx((1 + 2 / 3) / 2)


def test_a_find_needs_its_overlap() -> None:
    before, after = [found((0, 1))], [found((4, 1))]  # 60 of 140 px shared
    assert average_precision(before, after, PLAN, iou=0.5).value == 0
    assert average_precision(before, after, PLAN, iou=0.4).value == 1


def test_without_interpolation_to_do_it_is_the_mean_precision_at_hits() -> None:
    """Falling precision: interpolation changes nothing, and the definition can be written out."""
    rng = np.random.default_rng(1)
    hit = np.array([1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0], bool)
    confidence = np.sort(rng.random(len(hit)))[::-1]
    before = [found(*((40.0 * i, 1.0) for i in range(5)))]
    places = iter(range(5))
    after = [
        found(
            *(
                (40.0 * next(places) if h else 1000.0 + 40 * i, c)
                for i, (h, c) in enumerate(zip(hit, confidence, strict=True))
            )
        )
    ]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    assert average_precision(before, after, PLAN).value == pytest.approx(precision[hit].mean())


def test_the_order_of_pictures_does_not_matter() -> None:
    before = [found((0, 1)), found((0, 1), (20, 1)), found((0, 1))]
    after = [found((0, 0.5)), found((0, 0.9), (90, 0.6)), found((50, 0.8))]
    there = average_precision(before, after, PLAN).value
    assert average_precision(before[::-1], after[::-1], PLAN).value == pytest.approx(there)


def test_lost_faces_lower_it_and_the_interval_holds_it() -> None:
    rng = np.random.default_rng(2)
    before = [found((0, 1), (20, 1)) for _ in range(60)]
    after = [found((0, 0.9), (20, 0.8)) if rng.random() < 0.7 else found((0, 0.9)) for _ in range(60)]
    ap = average_precision(before, after, PLAN)
    assert 0.7 < ap.value < 0.95
    assert ap.low < ap.value < ap.high


def test_nothing_before_is_nan() -> None:
    assert np.isnan(average_precision([found()], [found((0, 1))], PLAN).value)
    assert np.isnan(average_precision([], [], PLAN).value)


def test_folders_that_do_not_pair_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="got 1 and 0"):
        average_precision([found()], [], PLAN)
