"""The aligned chip: keypoints lie where the recognition network expects them."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.embed.dlib_chip import CHIP_SIZE, TEMPLATE, aligned_chip, is_frontal
from understudy.errors import InvalidInputError
from understudy.types import ERASED

ALL_SHOWN = np.ones(5, np.float32)


@pytest.mark.parametrize(("roll_deg", "scale"), [(0, 1.0), (30, 0.7), (-120, 1.4), (180, 3.2)])
def test_keypoints_come_to_lie_on_the_template(roll_deg, scale):
    turn = scale * np.exp(1j * np.radians(roll_deg))
    placed = (TEMPLATE - 75) @ np.array([1, 1j]) * turn
    keypoints = np.array([310, 290]) + np.stack([placed.real, placed.imag], axis=1)
    ys, xs = np.mgrid[:600, :640] + 0.5
    sigma = 3 * scale
    for i in range(5):
        blob = np.exp(-((xs - keypoints[i, 0]) ** 2 + (ys - keypoints[i, 1]) ** 2) / (2 * sigma**2))
        view = np.repeat((blob * 255).astype(np.uint8)[..., None], 3, axis=2)
        chip = aligned_chip(view, keypoints, ALL_SHOWN)[..., 0].astype(float)
        chip[chip < 40] = 0
        at = np.mgrid[:CHIP_SIZE, :CHIP_SIZE][::-1] + 0.5
        np.testing.assert_allclose((at * chip).sum(axis=(1, 2)) / chip.sum(), TEMPLATE[i], atol=0.3)


def test_where_a_chip_leaves_the_view_it_is_grey():
    chip = aligned_chip(np.full((60, 60, 3), 250, np.uint8), TEMPLATE * 0.5 - 30, ALL_SHOWN)
    assert (chip[:50, :50] == ERASED).all()
    assert (chip[-20:, -20:] == 250).all()


def test_two_visible_keypoints_are_enough_for_a_chip_and_one_is_not():
    view = np.zeros((200, 200, 3), np.uint8)
    assert aligned_chip(view, TEMPLATE, np.array([1, 1, 0, 0, 0])).shape == (150, 150, 3)
    with pytest.raises(InvalidInputError, match="scale"):
        aligned_chip(view, TEMPLATE, np.array([1, 0, 0, 0, 0]))
    with pytest.raises(InvalidInputError, match="scale"):
        aligned_chip(view, TEMPLATE, np.zeros(5))


def test_a_face_is_frontal_until_its_eyes_draw_together_or_the_nose_passes_one():
    assert is_frontal(TEMPLATE, ALL_SHOWN)
    assert is_frontal(TEMPLATE[:, ::-1] * [-1, 1], ALL_SHOWN)  # rolled by a quarter turn
    assert not is_frontal(TEMPLATE * [0.5, 1], ALL_SHOWN)
    beside = TEMPLATE.copy()
    beside[2, 0] = 40
    assert not is_frontal(beside, ALL_SHOWN)
    assert not is_frontal(TEMPLATE, np.array([1, 1, 1, 0, 1]))
