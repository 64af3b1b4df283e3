"""Surroundings that go on into the mask."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.generate.outline import around_a_face
from understudy.generate.rim import REACH, WHOLE, continued


def disc(size: int = 96, radius: float = 30.0) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] + 0.5
    return np.asarray(np.hypot(x - size / 2, y - size / 2) < radius)


def stripes(size: int = 96) -> np.ndarray:
    picture = np.full((size, size, 3), 60, np.uint8)
    picture[:, np.arange(size) % 12 < 6] = 180
    return picture


def test_near_the_edge_lies_what_lies_across_it() -> None:
    """Vertical stripes go on under a straight edge, two pixels inside the mask, where grey was drawn."""
    mask, context = np.zeros((96, 96), np.bool_), stripes()
    mask[20:76, 20:76] = True
    context[mask] = 0
    drawn = np.full((96, 96, 3), 120, np.uint8)
    made = continued(drawn, context, mask, np.zeros((96, 96), np.float32)).astype(int)
    row = made[21, 38:58, 0]
    assert np.ptp(row) > 80
    assert np.corrcoef(row, stripes()[20, 38:58, 0])[0, 1] > 0.95


def test_deep_inside_the_colour_is_the_drawn_one_and_only_fine_structure_is_taken() -> None:
    mask, context = disc(), np.full((96, 96, 3), 220, np.uint8)
    context[mask] = 0
    made = continued(np.full((96, 96, 3), 90, np.uint8), context, mask, np.zeros((96, 96), np.float32))
    assert abs(int(made[48, 48, 0]) - 90) <= 2
    assert made[19, 48, 0] > 150


@pytest.mark.parametrize("around", ["a body", "a face"])
@pytest.mark.parametrize("shape", ["disc", "comb", "half", "known dot"])
def test_no_erased_pixel_changes_anything(shape: str, around: str) -> None:
    """Whatever stands under the mask of the context, the result is the same to the byte, for masks of any form."""
    rng = np.random.default_rng(5)
    mask, context = disc(), stripes()
    if shape == "comb":
        mask[:, np.arange(96) % 7 < 2] = True
    elif shape == "half":
        mask[:48] = True
    elif shape == "known dot":
        mask[:] = True
        mask[3, 90] = False
    points = np.array([[38, 42], [58, 42], [48, 52], [40, 62], [56, 62]], np.float64)
    drawn = rng.integers(0, 256, (96, 96, 3)).astype(np.uint8)
    shown = np.zeros((96, 96), np.float32)
    results = []
    for value in (0, 255):
        context[mask] = value
        maps = around_a_face(points, context, mask) if around == "a face" else (REACH, WHOLE)
        results.append(continued(drawn, context, mask, shown, *maps))
    np.testing.assert_array_equal(*results)


def test_the_face_stays_and_outside_the_mask_lies_the_context() -> None:
    mask, context = disc(), stripes()
    shown = disc(radius=15).astype(np.float32)
    drawn = np.full((96, 96, 3), 120, np.uint8)
    made = continued(drawn, context, mask, shown)
    np.testing.assert_array_equal(made[shown > 0], drawn[shown > 0])
    np.testing.assert_array_equal(made[~mask], context[~mask])


def test_a_mask_of_everything_or_nothing_leaves_what_was_drawn() -> None:
    drawn = stripes()
    for mask in (np.zeros((96, 96), np.bool_), np.ones((96, 96), np.bool_)):
        assert continued(drawn, drawn[::-1].copy(), mask, np.zeros((96, 96), np.float32)) is drawn


def test_a_band_is_mirrored_back_and_forth_so_that_the_wall_behind_thin_hair_does_not_come_in() -> None:
    """Four pixels of black hair around the mask, white behind: within a band of three all that is continued is hair."""
    mask = np.zeros((96, 96), np.bool_)
    mask[32:64, 32:64] = True
    context = np.full((96, 96, 3), 255, np.uint8)
    context[28:68, 28:68] = 0
    context[mask] = 128
    drawn, shown = np.full_like(context, 90), np.zeros((96, 96), np.float32)
    length = float(np.sqrt(mask.sum()))
    whole, thin = (continued(drawn, context, mask, shown, 10.0, band) for band in (WHOLE, 3 / length))
    assert whole[48, 40].min() > 200
    assert thin[46:50, 33:43].max() < 60


def test_the_band_of_a_body_is_never_folded() -> None:
    """On a mask with thin limbs and corners a band as wide as any mask and one far wider give the same bytes."""
    mask = np.zeros((96, 96), np.bool_)
    mask[10:86, 40:56], mask[30:36, 5:91], mask[60:90, 20:26] = True, True, True
    rng = np.random.default_rng(3)
    context, drawn = (rng.integers(0, 256, (96, 96, 3)).astype(np.uint8) for _ in range(2))
    shown = np.zeros((96, 96), np.float32)
    first, again, wide = (continued(drawn, context, mask, shown, REACH, band) for band in (WHOLE, WHOLE, 50.0))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, wide)
