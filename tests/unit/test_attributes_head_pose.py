"""Yaw from five keypoints, against a head of points that is turned by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.attributes.head_pose import NOSE_DEPTH, estimate_yaw_deg, yaw_bin

HEAD = np.array([[-15.0, 0, 0], [15, 0, 0], [0, 15, NOSE_DEPTH * 30], [-11, 30, 0], [11, 30, 0]])
BOX = np.array([-30.0, -30.0, 30.0, 50.0])


def _seen(yaw_deg: float, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """The head's points turned about the vertical axis (positive: to the right of the picture), then rolled."""
    theta, roll = np.radians(yaw_deg), np.radians(roll_deg)
    x = HEAD[:, 0] * np.cos(theta) + HEAD[:, 2] * np.sin(theta)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return np.column_stack([x, HEAD[:, 1]]) @ turn.T


@pytest.mark.parametrize("yaw", [-70, -30, 0, 12, 55])
def test_a_head_of_points_reads_its_own_yaw(yaw: float) -> None:
    """The estimate inverts the projection that its model assumes."""
    assert estimate_yaw_deg(_seen(yaw), np.ones(5), BOX) == pytest.approx(yaw, abs=1e-6)


def test_roll_does_not_change_the_yaw() -> None:
    """A rolled head reads as the upright one."""
    assert estimate_yaw_deg(_seen(25, 40), np.ones(5), BOX) == pytest.approx(25, abs=1e-6)


def test_a_mirrored_head_looks_the_other_way() -> None:
    """Mirroring a picture, with left and right swapped in the names, changes the sign."""
    points = (_seen(33) * np.array([-1.0, 1.0]))[[1, 0, 2, 4, 3]]
    assert estimate_yaw_deg(points, np.ones(5), BOX) == pytest.approx(-33, abs=1e-6)


def test_an_absent_keypoint_gives_no_yaw() -> None:
    """Nothing is guessed where a keypoint is missing."""
    assert estimate_yaw_deg(_seen(10), np.array([1, 1, 0, 1, 1]), BOX) is None


def test_points_that_fall_together_give_no_yaw() -> None:
    """A degenerate head has no direction."""
    assert estimate_yaw_deg(np.ones((5, 2)), np.ones(5), BOX) is None


@pytest.mark.parametrize(("yaw", "expected"), [(-90, 0), (-45, 1), (-15, 2), (0, 2), (15, 3), (44, 3), (45, 4)])
def test_bins_go_from_the_subjects_right_to_left(yaw: float, expected: int) -> None:
    """Bin 2 is frontal, 0 is far to the subject's right."""
    assert yaw_bin(yaw) == expected
