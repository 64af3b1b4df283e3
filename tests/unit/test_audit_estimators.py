"""Estimators of the audit: what a reading may hold, and what the two that need no network read."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.audit.estimators import Estimator, HeadPoseEstimator, Reading, SkinToneEstimator
from understudy.errors import InvalidInputError

POINTS = np.array([[40.0, 45.0], [80.0, 45.0], [60.0, 65.0], [45.0, 85.0], [75.0, 85.0]])
BOX = np.array([20.0, 10.0, 100.0, 110.0])
SHOWN = np.ones(5)


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((120, 120, 3), colour, np.uint8)


def read(estimator: Estimator, views: list[np.ndarray], points: list[np.ndarray], shown: list[np.ndarray]) -> dict:
    n = len(views)
    readings = estimator.read(views, np.tile(BOX, (n, 1)), np.stack(points), np.stack(shown), None)
    return {reading.name: reading for reading in readings}


def test_skin_of_one_colour_is_read_as_that_colour() -> None:
    """OpenCV has L* 55.1, b* 26.9 for the first (ITA 10.8) and L* 94.1, b* 5.4 for the second (ITA 83.0)."""
    found = read(SkinToneEstimator(), [plain((160, 126, 86)), plain((246, 237, 228))], [POINTS] * 2, [SHOWN] * 2)
    assert found["ita"].values == pytest.approx([10.8, 83.0], abs=0.1)
    assert found["skin_tone"].values.tolist() == [3, 0]
    assert [found["monk_tone"].categories[i] for i in found["monk_tone"].values] == ["MST 6", "MST 1"]


def test_a_face_outside_skin_colours_is_not_read() -> None:
    found = read(SkinToneEstimator(), [plain((20, 60, 200))], [POINTS], [SHOWN])
    assert np.isnan(found["ita"].values).all()
    assert found["skin_tone"].values.tolist() == [-1]
    assert found["monk_tone"].values.tolist() == [-1]


def test_head_pose_follows_the_nose_and_is_not_read_without_keypoints() -> None:
    turned = POINTS.copy()
    turned[2, 0] += 0.47 * 40 * np.sin(np.radians(30))
    found = read(HeadPoseEstimator(), [plain((0, 0, 0))] * 3, [POINTS, turned, POINTS], [SHOWN, SHOWN, SHOWN * 0])
    assert found["yaw"].values[:2] == pytest.approx([0, 30], abs=1e-6)
    assert np.isnan(found["yaw"].values[2])
    assert found["head_pose"].values.tolist() == [2, 3, -1]


def test_no_faces_give_empty_readings() -> None:
    for estimator in (SkinToneEstimator(), HeadPoseEstimator()):
        readings = estimator.read([], np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros((0, 5)), None)
        assert all(reading.values.shape == (0,) for reading in readings)


def test_a_reading_refuses_codes_outside_its_categories() -> None:
    with pytest.raises(InvalidInputError, match="codes must lie between -1 and 1, got 0 to 2"):
        Reading.codes("expression", ("neutral", "other"), [0, 2])


def test_a_reading_of_numbers_has_no_categories() -> None:
    with pytest.raises(InvalidInputError, match="categories"):
        Reading("perceived_age", "numeric", "years", ("young",), np.zeros(1))
    with pytest.raises(InvalidInputError, match="float64"):
        Reading("perceived_age", "numeric", "years", (), np.zeros(1, np.int64))
