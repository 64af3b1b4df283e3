"""The user's boxes and ours, side by side."""

from __future__ import annotations

import numpy as np

from understudy.config.job import with_found
from understudy.types import Detections


def boxes(*xyxy: tuple[float, float, float, float]) -> Detections:
    return Detections.faces(np.array(xyxy, np.float32).reshape(-1, 4), np.full(len(xyxy), 0.9, np.float32))


def test_a_detection_that_a_users_box_covers_is_the_users() -> None:
    both = with_found(boxes((0, 0, 100, 100)), boxes((10, 10, 60, 60)))
    assert both.xyxy.tolist() == [[0, 0, 100, 100]]


def test_a_detection_that_a_users_box_covers_in_part_stays_beside_it() -> None:
    both = with_found(boxes((20, 20, 30, 30)), boxes((10, 10, 60, 60)))
    assert both.xyxy.tolist() == [[10, 10, 60, 60], [20, 20, 30, 30]]


def test_without_boxes_in_a_line_everything_that_was_found_stays() -> None:
    assert with_found(boxes(), boxes((10, 10, 60, 60))).xyxy.tolist() == [[10, 10, 60, 60]]


def test_with_nothing_found_the_users_boxes_stay() -> None:
    assert with_found(boxes((10, 10, 60, 60)), boxes()).xyxy.tolist() == [[10, 10, 60, 60]]
