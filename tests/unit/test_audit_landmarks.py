"""Openings of mouth and eyes from 68 landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.audit.estimators_landmarks import OpeningEstimator, openings
from understudy.embed.dlib_landmarks import dlib_box
from understudy.imaging import decode

POINTS = np.array([[60.0, 80.0], [120.0, 80.0], [90.0, 110.0], [66.0, 140.0], [114.0, 140.0]])


def face(mouth: float, left: float, right: float) -> NDArray[np.float64]:
    """68 landmarks whose mouth is 40 px wide and whose eyes are 20 px wide, open by so many px."""
    p = np.zeros((68, 2))
    p[[60, 64]] = (0, 100), (40, 100)
    for x, (top, bottom) in zip((10, 20, 30), ((61, 67), (62, 66), (63, 65)), strict=True):
        p[[top, bottom]] = (x, 100 - mouth / 2), (x, 100 + mouth / 2)
    for start, at, gap in ((36, 0, left), (42, 60, right)):
        p[[start, start + 3]] = (at, 0), (at + 20, 0)
        p[[start + 1, start + 5]] = (at + 6, -gap / 2), (at + 6, gap / 2)
        p[[start + 2, start + 4]] = (at + 14, -gap / 2), (at + 14, gap / 2)
    return p


def test_openings_are_gaps_over_widths() -> None:
    assert openings(face(0, 0, 0)) == (0, 0)
    assert openings(face(10, 6, 4)) == pytest.approx((0.25, 0.25))
    assert np.isnan(openings(np.zeros((68, 2)))).all()


def test_size_and_roll_do_not_matter() -> None:
    turn = 3 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    assert openings(face(8, 5, 5) @ turn.T + 7) == pytest.approx(openings(face(8, 5, 5)))


class Fixed:
    """Finds the same landmarks everywhere."""

    def points(self, view: NDArray[np.uint8], keypoints: NDArray[np.floating]) -> NDArray[np.float64]:
        del view, keypoints
        return face(10, 6, 4)

    def digests(self) -> dict[str, str]:
        return {"fixed": "0"}


def test_small_faces_and_faces_without_all_keypoints_are_not_read() -> None:
    view = np.zeros((200, 200, 3), np.uint8)
    boxes = np.array([[40.0, 40, 140, 160], [40, 40, 80, 80], [40, 40, 140, 160]])
    shown = np.array([[1.0] * 5, [1.0] * 5, [1, 1, 0, 1, 1]])
    estimator = OpeningEstimator(Fixed())
    mouth, eyes = estimator.read([view] * 3, boxes, np.stack([POINTS] * 3), shown)
    assert (mouth.name, eyes.name) == ("mouth_opening", "eye_opening")
    np.testing.assert_allclose(mouth.values, [0.25, np.nan, np.nan])
    np.testing.assert_allclose(eyes.values, [0.25, np.nan, np.nan])
    assert estimator.digests() == {"fixed": "0"}


def test_dlib_s_box_lies_around_eyes_and_mouth() -> None:
    x0, y0, x1, y1 = dlib_box(POINTS)  # eyes at 80, mouth at 140: 60 px
    assert (x1 - x0, y1 - y0) == pytest.approx((129.6, 129.6))
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((90, 103.4))


@pytest.mark.weights("dlib_shape_predictor_68", "centerface")
def test_the_landmarks_of_a_portrait_lie_on_its_eyes_and_mouth(portrait_paths: tuple[Path, ...]) -> None:
    pytest.importorskip("dlib")
    from understudy.detect.centerface import CenterFace
    from understudy.embed.dlib_landmarks import DlibLandmarks

    view = decode(portrait_paths[0].read_bytes(), "portrait", max_pixels=10**8).view
    found = CenterFace()(view)
    points = np.asarray(found.keypoints[0], np.float64)
    marks = DlibLandmarks().points(view, points)
    size = np.linalg.norm(points[1] - points[0])
    assert np.linalg.norm(marks[36:42].mean(axis=0) - points[0]) < 0.15 * size
    assert np.linalg.norm(marks[42:48].mean(axis=0) - points[1]) < 0.15 * size
    assert np.linalg.norm(marks[60:68].mean(axis=0) - points[3:].mean(axis=0)) < 0.2 * size
    mouth, eyes = openings(marks)
    assert 0 <= mouth < 0.8
    assert 0.1 < eyes < 0.6
