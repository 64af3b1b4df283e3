"""Glasses that are drawn over a finished face."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.generate.glasses import Frame, with_glasses

SIZE = 160
FRONTAL = np.array([[56, 64], [104, 64], [80, 92], [62, 116], [98, 116]], np.float64)
TURNED = FRONTAL + np.array([[0, 0], [0, 0], [16, 0], [0, 0], [0, 0]])
"""A nose 16 px to the right of 52 from the eyes to the mouth: a head that turns to the subject's left by 41 degrees."""
FACE = np.full((SIZE, SIZE, 3), (205, 165, 140), np.uint8)
WHOLE = np.ones((SIZE, SIZE), np.bool_)


def change(keypoints: NDArray[np.float64], seed: int = 1, mask: NDArray[np.bool_] = WHOLE) -> NDArray[np.float64]:
    """By how much glasses darken each pixel."""
    made = with_glasses(FACE, keypoints, mask, np.ones((SIZE, SIZE)), seed)
    return np.asarray(FACE.astype(float).mean(axis=-1) - made.mean(axis=-1))


def test_there_is_a_rim_around_each_eye_a_bridge_over_the_nose_and_a_temple_on_each_side() -> None:
    """Dark pixels beside, above and under both eyes, between them, and to the ears; none at the mouth."""
    dark = change(FRONTAL) > 60
    for x, y in FRONTAL[:2].astype(int):
        assert dark[y, x - 28 : x - 8].any()
        assert dark[y, x + 8 : x + 28].any()
        assert dark[y - 24 : y - 4, x].any()
        assert dark[y + 6 : y + 30, x].any()
    assert dark[50:70, 80].any()
    assert dark[:, 25:30].any()
    assert dark[:, 130:135].any()
    assert not dark[104:].any()


def test_a_face_that_looks_ahead_wears_them_straight() -> None:
    """The picture and its mirror image differ by a pixel's rounding at most."""
    drawn = change(FRONTAL)
    assert np.abs(drawn - drawn[:, ::-1]).mean() < 0.6
    assert drawn.max() > 100


def test_of_a_turned_head_the_temple_on_the_far_side_is_not_seen() -> None:
    """Turned to the right of the picture, nothing is drawn right of the lens there; on the left the temple is long."""
    dark = change(TURNED) > 60
    columns = np.flatnonzero(dark.any(axis=0))
    assert columns[-1] < 104 + 28
    assert columns[0] < 56 - 26


def test_they_tilt_with_the_head() -> None:
    """Rolled by 30 degrees about its middle, the face wears what it wore, as wide and as high."""
    turn = np.radians(30)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    dark = change((FRONTAL - 80) @ rotation + 80) > 60
    y, x = np.nonzero(dark)
    back = (np.stack([x, y], axis=1) + 0.5 - 80) @ rotation.T + 80
    y, x = np.nonzero(change(FRONTAL) > 60)
    np.testing.assert_allclose(back.mean(axis=0), [x.mean() + 0.5, y.mean() + 0.5], atol=1.0)
    np.testing.assert_allclose(back.std(axis=0), [x.std(), y.std()], atol=0.7)


def test_the_same_seed_wears_the_same_pair_and_another_one_another() -> None:
    np.testing.assert_array_equal(change(FRONTAL), change(FRONTAL))
    assert len({Frame.of(seed) for seed in range(20)}) == 20
    assert np.abs(change(FRONTAL, 1) - change(FRONTAL, 2)).max() > 60


def test_nothing_is_drawn_outside_the_mask_or_on_a_face_too_small() -> None:
    """Half of the picture may not be drawn on; and eyes two pixels apart wear nothing."""
    left = WHOLE & (np.arange(SIZE) < 80)
    assert not change(FRONTAL, mask=left)[:, 80:].any()
    assert not change(FRONTAL / 24).any()
    assert not change(FRONTAL * np.nan).any()
    assert not change(FRONTAL, mask=~WHOLE).any()


@pytest.mark.parametrize("level", [40, 200])
def test_frames_are_darker_where_the_picture_is(level: int) -> None:
    """In a dark picture a frame is no lighter than the skin around it."""
    face = np.full((SIZE, SIZE, 3), level, np.uint8)
    made = with_glasses(face, FRONTAL, WHOLE, np.ones((SIZE, SIZE)), 1)
    assert int(made.max()) <= level + 30
    assert int(made.min()) < 0.8 * level


def test_temples_end_where_hair_begins() -> None:
    """Where the face is not shown there is no temple; rims are drawn anyway."""
    shown = np.zeros((SIZE, SIZE))
    made = with_glasses(FACE, FRONTAL, WHOLE, shown, 1)
    dark = FACE.astype(float).mean(axis=-1) - made.mean(axis=-1) > 60
    columns = np.flatnonzero(dark.any(axis=0))
    assert columns[0] > 30
    assert columns[-1] < 130
