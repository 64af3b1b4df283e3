"""Blending looks at the ring outside the masks only, and closes the step at the mask's edge."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.blend import MembraneBlender
from understudy.blend.membrane import spread
from understudy.geometry import FaceShape, Region, crop_frame, shape_region

SHAPE = FaceShape((50.0, 45.0), (20.0, 26.0), 0.0)


def scene(level: int = 100) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Region]:
    canvas = np.full((90, 100, 3), level, np.uint8)
    region = shape_region(SHAPE, 90, 100)
    unknown = np.zeros((90, 100), np.bool_)
    unknown[region.slices] |= region.mask
    return canvas, unknown, region


def blended(
    blender: MembraneBlender, canvas: NDArray[np.uint8], unknown: NDArray[np.bool_], region: Region, generated: int
) -> NDArray[np.uint8]:
    crop = np.full((32, 32, 3), generated, np.uint8)
    return blender(canvas, unknown, region, crop, crop_frame(SHAPE, 32), 7)


def test_an_understudy_of_the_right_colour_is_left_alone() -> None:
    canvas, unknown, region = scene(100)
    pixels = blended(MembraneBlender(grain=False), canvas, unknown, region, 100)
    assert (pixels[region.mask] == 100).all()


def test_the_step_at_the_edge_is_closed_and_the_middle_keeps_its_own_colour() -> None:
    canvas, unknown, region = scene(100)
    pixels = blended(MembraneBlender(grain=False, limit=60), canvas, unknown, region, 125)
    middle = pixels[45 - region.window[1], 50 - region.window[0]]
    inner = np.zeros_like(region.mask)
    inner[1:-1, 1:-1] = region.mask[1:-1, 1:-1] & region.mask[:-2, 1:-1] & region.mask[2:, 1:-1]
    edge = region.mask & ~inner
    assert np.abs(pixels[edge].astype(int) - 100).max() <= 6
    assert (np.abs(middle.astype(int) - 125) <= 2).all()


def test_a_wall_behind_a_cheek_does_not_tint_it() -> None:
    """Two and a half times the limit off is another thing, not another light: at most 2 grey levels are corrected."""
    canvas, unknown, region = scene(100)
    pixels = blended(MembraneBlender(grain=False, limit=40), canvas, unknown, region, 200)
    assert np.abs(pixels[region.mask].astype(int) - 200).max() <= 2


def test_nothing_under_any_mask_is_read() -> None:
    canvas, unknown, region = scene(90)
    unknown[30:60, 70:95] = True  # a neighbour that is not replaced yet
    first = blended(MembraneBlender(), canvas, unknown, region, 140)
    canvas[unknown] = np.random.default_rng(3).integers(0, 256, (int(unknown.sum()), 3), np.uint8)
    assert (blended(MembraneBlender(), canvas, unknown, region, 140) == first).all()


def test_without_a_known_ring_the_understudy_goes_in_as_it_is() -> None:
    canvas, unknown, region = scene(100)
    unknown[:] = True
    assert (blended(MembraneBlender(), canvas, unknown, region, 177)[region.mask] == 177).all()


def test_grain_lifts_a_clean_understudy_to_the_noise_of_its_surroundings() -> None:
    canvas, unknown, region = scene(120)
    noise = np.random.default_rng(5).normal(0, 4, canvas.shape[:2])[..., None]
    canvas = np.clip(canvas + noise, 0, 255).astype(np.uint8)
    core = (slice(25, 35), slice(15, 30))
    with_grain = blended(MembraneBlender(grain=True), canvas, unknown, region, 120)[core].astype(float)
    without = blended(MembraneBlender(grain=False), canvas, unknown, region, 120)[core].astype(float)
    assert with_grain.mean(axis=2).std() == pytest.approx(4, rel=0.35)
    assert without.mean(axis=2).std() < 1


def test_grain_depends_on_the_seed_alone() -> None:
    canvas, unknown, region = scene(120)
    noise = np.random.default_rng(5).normal(0, 4, canvas.shape)
    canvas = np.clip(canvas + noise, 0, 255).astype(np.uint8)
    one, same = (blended(MembraneBlender(), canvas, unknown, region, 120) for _ in range(2))
    assert (one == same).all()


def test_spread_keeps_a_constant_and_stays_between_its_extremes() -> None:
    known = np.zeros((40, 60), np.bool_)
    known[:, :3] = known[:, -3:] = True
    values = np.zeros((40, 60, 1), np.float32)
    values[:, :3], values[:, -3:] = 10, 30
    filled = spread(values, known)
    assert filled[20, 1, 0] == pytest.approx(10, abs=1.5)
    assert filled[20, 58, 0] == pytest.approx(30, abs=1.5)
    assert filled.min() >= 10 - 1e-3
    assert filled.max() <= 30 + 1e-3
    assert 15 < filled[20, 30, 0] < 25
    assert spread(np.full((9, 7, 3), 5.0, np.float32), np.eye(9, 7, dtype=bool)) == pytest.approx(5.0)
