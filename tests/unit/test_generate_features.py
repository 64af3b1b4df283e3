"""Beards in the colour of hair, and teeth as light as teeth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.generate.features import hair_coloured, whiter_teeth
from understudy.generate.texture import fineness, textured_skin

SIZE = 120
POINTS = np.array([[46, 48], [74, 48], [60, 62], [50, 76], [70, 76]], np.float64)
SKIN, RED_BROWN, BLACK, GREY, WALL = (205, 160, 135), (110, 55, 35), (22, 20, 20), (150, 148, 145), (90, 120, 200)
BEARD = np.s_[86:96, 50:70]


def disc(radius: float) -> NDArray[np.bool_]:
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    return np.asarray(np.hypot(x - 60, y - 62) <= radius)


def lab(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))


def bearded() -> NDArray[np.uint8]:
    """Skin with a red-brown chin."""
    pixels = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    pixels[84:98, 44:76] = RED_BROWN
    return pixels


def coloured(around: tuple[int, int, int], *, hair: bool) -> NDArray[np.float32]:
    """The beard's median CIELAB colour under hair of some colour, 9 px thick before a wall, or under a wall."""
    context = np.full((SIZE, SIZE, 3), around, np.uint8)
    if hair:
        context[~disc(53)] = WALL
    made = hair_coloured(bearded(), disc(38), POINTS, context, disc(44))
    np.testing.assert_array_equal(made[40:60, 30:90], bearded()[40:60, 30:90])
    return np.asarray(np.median(lab(made)[BEARD].reshape(-1, 3), axis=0))


def test_a_beard_takes_on_the_colour_of_the_hair() -> None:
    """Under black hair it is darker and hardly red, under grey hair lighter; most of the way is gone."""
    own = np.median(lab(bearded())[BEARD].reshape(-1, 3), axis=0)
    black, grey = coloured(BLACK, hair=True), coloured(GREY, hair=True)
    assert black[0] < own[0] - 10
    assert grey[0] > own[0] + 10
    assert max(abs(black[1]), abs(grey[1])) < 0.4 * own[1]


@pytest.mark.parametrize("around", [(90, 120, 200), (170, 170, 170), (105, 65, 57), (200, 156, 132)])
def test_under_a_wall_or_a_bald_head_a_beard_is_calmed_and_keeps_its_lightness(around: tuple[int, int, int]) -> None:
    """Blue, grey and brown walls and skin are no hair: a* and b* fall to .55 of what they were, or a little beside."""
    own, made = np.median(lab(bearded())[BEARD].reshape(-1, 3), axis=0), coloured(around, hair=False)
    np.testing.assert_allclose(made, own * [1, 0.55, 0.55], atol=2.5)


def test_no_erased_pixel_is_read() -> None:
    """Other values under the mask change nothing."""
    results = []
    for value in (0, 255):
        context = np.full((SIZE, SIZE, 3), BLACK, np.uint8)
        context[disc(44)] = value
        results.append(hair_coloured(bearded(), disc(38), POINTS, context, disc(44)))
    np.testing.assert_array_equal(*results)


def test_teeth_are_lifted_and_neither_skin_nor_lips_are() -> None:
    """Grey teeth between red lips: 10 or more lighter, lips by 3 at most; nothing else changes."""
    pixels = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    pixels[72:81, 49:71] = (170, 80, 80)
    pixels[74:79, 52:68] = (150, 145, 138)
    before, after = lab(pixels)[..., 0], lab(whiter_teeth(pixels, disc(38), POINTS))[..., 0]
    assert (after - before)[75:78, 55:65].min() > 10
    assert np.abs(after - before)[:68].max() == 0
    assert np.abs(after - before)[84:].max() == 0
    assert np.abs(after - before)[72, 55:65].max() < 3


def test_grains_of_skin_leave_its_mean_and_depend_on_the_seed_alone() -> None:
    """On the left no face is shown: nothing changes; on the right L* varies by one about what it was, more with age."""
    pixels, weight = np.full((SIZE, SIZE, 3), SKIN, np.uint8), np.zeros((SIZE, SIZE), np.float32)
    weight[:, 60:] = 1
    made = textured_skin(pixels, weight, 40.0, 3, 3)
    np.testing.assert_array_equal(made, textured_skin(pixels, weight, 40.0, 3, 3))
    assert (made != textured_skin(pixels, weight, 40.0, 3, 4)).any()
    np.testing.assert_array_equal(made[:, :60], pixels[:, :60])
    off = lab(made)[:, 60:, 0] - lab(pixels)[:, 60:, 0]
    assert abs(float(off.mean())) < 0.4
    assert 0.6 < float(off.std()) < 2.5
    child, anybody = (lab(textured_skin(pixels, weight, 40.0, age, 3))[:, 60:, 0].std() for age in (0, None))
    assert child < anybody < off.std()
    shares = [fineness(age) for age in range(5)]
    assert shares == sorted(shares)
    assert shares[0] < fineness(None) < shares[4]
