"""The main job's bytes in and out; the user's boxes and ours, side by side."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from understudy.config.job import AnonymizeJob, with_found
from understudy.imaging import decode, reencode_error
from understudy.types import AnonymizedImage, Detections


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


def test_the_error_of_a_lossy_file_is_noted_where_it_is_asked_for_and_beside_that_of_a_plain_one(
    portrait_paths: tuple[Path, ...],
) -> None:
    data = portrait_paths[0].read_bytes()
    source = decode(data, "a.jpg")
    native, mask = np.array(source.native), np.zeros(source.view.shape[:2], np.bool_)
    native[64:128, 64:128], mask[64:128, 64:128] = 0, True
    anonymized = AnonymizedImage("a.jpg", native, (), mask)
    said, silent = (
        AnonymizeJob(pipeline=SimpleNamespace(detector=None), measure_encoding=asked).encode(source, anonymized)  # type: ignore[arg-type]
        for asked in (True, False)
    )
    expected = reencode_error(source, silent, mask)
    assert silent.notes == ()
    assert said.data == silent.data
    assert f"{expected.mean_abs:.2f} on average, {expected.max_abs:.0f} at most" in said.notes[0]
    assert f"nothing replaced: {expected.plain_mean_abs:.2f}, {expected.plain_max_abs:.0f}" in said.notes[0]
