"""A reference in the complexion of the skin around the erased face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.color import lab
from understudy.generate.complexion import matched

SIZE = 64
SKIN, WARM_SKIN, WALL = (198, 165, 146), (205, 158, 130), (40, 80, 170)


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
    reference = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    return lab(matched(reference, np.ones_like(mask), context, mask)[32, 32])


def test_a_pale_render_beside_a_warm_neck_becomes_as_yellow_and_no_redder() -> None:
    """b* goes nine tenths of the way to the neck's, or its greatest stretch, where the ring is all skin; a* stays."""
    got, neck, own = middle(WARM_SKIN), lab(np.array(WARM_SKIN)), lab(np.array(SKIN))
    assert got[2] > own[2] + 2
    assert abs(got[2] - min(neck[2], 1.3 * own[2])) < 0.1 * neck[2]
    assert abs(got[1] - own[1]) < 0.6


def test_lightness_follows_less_than_half_of_the_way() -> None:
    """Sand beside the mask: b* grows by 1.3, the most it may, and (L* - 35) by 0.4 of that."""
    got, own = middle((205, 150, 105)), lab(np.array(SKIN))
    assert abs(got[2] / own[2] - 1.3) < 0.03
    assert abs((got[0] - 35) / (own[0] - 35) - 1.12) < 0.02


def test_the_skin_around_a_neighbour_is_not_read() -> None:
    """A second hole far off with other skin around it changes nothing: the ring is the subject's own."""
    context, mask = scene(WALL)
    context, mask = np.hstack([context] * 3), np.hstack([mask, np.zeros_like(mask), mask])
    context[:, 2 * SIZE :][~mask[:, 2 * SIZE :]] = WARM_SKIN
    reference = np.full(context.shape, SKIN, np.uint8)
    cover = np.zeros_like(mask)
    cover[:, :SIZE] = True
    np.testing.assert_array_equal(matched(reference, cover, context, mask), reference)


def test_a_blue_wall_is_no_skin() -> None:
    """Where no skin shows, nothing changes."""
    np.testing.assert_array_equal(middle(WALL), lab(np.array(SKIN)))


def test_no_erased_pixel_is_read() -> None:
    """Other values under the mask change nothing."""
    context, mask = scene(WARM_SKIN)
    other = context.copy()
    other[mask] = np.random.default_rng(0).integers(0, 256, (int(mask.sum()), 3))
    reference = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    a, b = (matched(reference, np.ones_like(mask), c, mask) for c in (context, other))
    np.testing.assert_array_equal(a, b)
