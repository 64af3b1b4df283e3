"""A reference in the complexion of the skin around the erased face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.color import lab
from understudy.generate.complexion import matched

SIZE = 64
GREY_SKIN, WARM_SKIN, WALL = (170, 160, 155), (205, 150, 110), (40, 80, 170)


def scene(around: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A context of one colour with a square erased."""
    mask = np.zeros((SIZE, SIZE), np.bool_)
    mask[16:48, 16:48] = True
    context = np.full((SIZE, SIZE, 3), around, np.uint8)
    context[mask] = 128
    return context, mask


def middle(around: tuple[int, int, int]) -> NDArray[np.float64]:
    """CIELAB of a grey reference after it was matched to surroundings of one colour."""
    context, mask = scene(around)
    reference = np.full((SIZE, SIZE, 3), GREY_SKIN, np.uint8)
    return lab(matched(reference, np.ones_like(mask), context, mask)[32, 32])


def test_a_grey_render_beside_a_warm_neck_gets_its_hue_and_becomes_lighter_with_it() -> None:
    """Hue angles agree within 4 degrees where all of the ring is skin; (L* - 35) grows by 1.3, the most it may."""
    got, neck, own = middle(WARM_SKIN), lab(np.array(WARM_SKIN)), lab(np.array(GREY_SKIN))
    hue = [np.degrees(np.arctan2(v[2], v[1])) for v in (got, neck)]
    assert abs(hue[0] - hue[1]) < 4
    assert abs((got[0] - 35) / (own[0] - 35) - 1.3) < 0.03


def test_a_blue_wall_is_no_skin() -> None:
    """Where no skin shows, nothing changes."""
    np.testing.assert_array_equal(middle(WALL), lab(np.array(GREY_SKIN)))


def test_no_erased_pixel_is_read() -> None:
    """Other values under the mask change nothing."""
    context, mask = scene(WARM_SKIN)
    other = context.copy()
    other[mask] = np.random.default_rng(0).integers(0, 256, (int(mask.sum()), 3))
    reference = np.full((SIZE, SIZE, 3), GREY_SKIN, np.uint8)
    a, b = (matched(reference, np.ones_like(mask), c, mask) for c in (context, other))
    np.testing.assert_array_equal(a, b)
