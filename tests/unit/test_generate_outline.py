"""Where a reference's face ends: at the mask's edge below the temples, under hair above them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.generate.outline import around_a_face, fitted, under_hair
from understudy.generate.rim import WHOLE

SIZE = 96
POINTS = np.array([[38, 42], [58, 42], [48, 52], [40, 62], [56, 62]], np.float64)
SKIN, WALL, HAIR = (200, 150, 120), (60, 90, 160), (30, 20, 16)


def disc(radius: float) -> NDArray[np.bool_]:
    """A disc about the middle of the keypoints."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    return np.asarray(np.hypot(x - 48, y - 52) <= radius)


def scene(around: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A context of one colour with a disc of 36 px erased."""
    mask = disc(36)
    context = np.full((SIZE, SIZE, 3), around, np.uint8)
    context[mask] = 128
    return context, mask


def laid(radius: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A reference of skin with a dark spot at the nose."""
    pixels = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    pixels[50:54, 46:50] = 20
    return pixels, disc(radius)


def radius_along(cover: NDArray[np.bool_], down: bool) -> int:
    """How far a cover reaches from the keypoints' middle, straight down or up, px."""
    column = cover[52:, 48] if down else cover[:52, 48][::-1]
    return int(column.argmin()) if not column.all() else len(column)


def test_cheeks_reach_the_masks_edge_a_chin_less_so_and_a_forehead_stays_under_hair() -> None:
    """A cover of 34 px in a mask of 36 before a wall: sideways 0.98 x 36, up 0.95 x 36, down 0.3 of the way there."""
    context, mask = scene(WALL)
    _, cover = fitted(*laid(34), POINTS, context, mask)
    assert abs(int(cover[52, 48:].argmin()) - 0.98 * 36) <= 0.8
    assert abs(radius_along(cover, down=False) - 0.95 * 36) <= 0.8
    assert abs(radius_along(cover, down=True) - (34 + 0.3 * 1.28)) <= 0.8


def test_a_narrow_face_stays_narrow() -> None:
    """A cover of 28 px in a mask of 36 is widened by a twentieth, not to the mask's edge: faces are no moons."""
    context, mask = scene(WALL)
    _, cover = fitted(*laid(28), POINTS, context, mask)
    assert abs(int(cover[52, 48:].argmin()) - 1.05 * 28) <= 0.8


def test_a_bald_forehead_reaches_the_edge_too() -> None:
    """With skin across the edge the face goes further up than under hair."""
    under, bare = (fitted(*laid(34), POINTS, *scene(around))[1][:52].sum() for around in (WALL, SKIN))
    assert bare > under


def test_nothing_moves_near_the_features() -> None:
    """The spot at the nose lies where it lay."""
    context, mask = scene(WALL)
    before, cover = laid(30)
    after, _ = fitted(before, cover, POINTS, context, mask)
    np.testing.assert_array_equal(after[40:64, 36:60], before[40:64, 36:60])


def test_a_reference_larger_than_the_mask_is_left_alone() -> None:
    """Nothing is shrunk: the mask cuts it."""
    context, mask = scene(WALL)
    before, cover = laid(40)
    after, covered = fitted(before, cover, POINTS, context, mask)
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(covered, cover)


def test_no_erased_pixel_is_read() -> None:
    """Other values under the mask change nothing."""
    context, mask = scene(SKIN)
    other = context.copy()
    other[mask] = np.random.default_rng(0).integers(0, 256, (int(mask.sum()), 3))
    for a, b in zip(fitted(*laid(32), POINTS, context, mask), fitted(*laid(32), POINTS, other, mask), strict=True):
        np.testing.assert_array_equal(a, b)


def test_hair_falls_over_the_forehead_by_the_seed_and_over_nothing_else() -> None:
    """Below the temples the face is whole but where the mask ends; above them its edge is another one for each seed."""
    mask = disc(36)
    shown = disc(34).astype(np.float32)
    context, _ = scene(HAIR)
    first, again, other = (under_hair(shown, POINTS, context, mask, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first[:40] != other[:40]).any()
    whole = disc(36 * 0.93)[60:]
    np.testing.assert_allclose(first[60:][whole], shown[60:][whole], atol=1e-6)
    assert first[52:60, 40:56].min() == 1
    assert (first <= shown + 1e-6).all()
    assert first[:30].sum() < shown[:30].sum()


def test_hair_is_continued_from_a_thin_band_and_what_lies_beside_cheeks_and_jaw_from_all_of_it() -> None:
    """Over the forehead a thirtieth of the mask's size, at both ears and under the chin no limit."""
    reach, band = around_a_face(POINTS, *scene(HAIR))
    assert band[4, 48] == pytest.approx(0.03)
    for row, column in ((50, 4), (50, 92), (92, 48)):
        assert band[row, column] == WHOLE
    assert (reach[4, 48], reach[50, 4], reach[92, 48]) == pytest.approx((0.3, 0.4, 0.4))


def test_reach_and_band_change_slowly_from_the_temples_to_the_ears() -> None:
    """Nowhere by more than a quarter within one degree, so that no seam shows."""
    y, x = 52 + 40 * np.sin(np.radians(np.arange(360))), 48 + 40 * np.cos(np.radians(np.arange(360)))
    context, mask = (np.repeat(np.repeat(part, 10, 0), 10, 1) for part in scene(HAIR))
    for values in around_a_face(10 * POINTS, context, mask):
        ring = values[(10 * y).astype(int), (10 * x).astype(int)]
        assert np.abs(np.diff(np.log(ring))).max() < 0.25


def test_behind_thin_hair_no_wall_is_continued_and_of_an_ear_only_its_inner_part() -> None:
    """Of rings of 5 px of hair or skin before a wall 0.8 and 0.35 are continued, of 40 px of hair all."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    radius, size = np.hypot(x - 48, y - 52), float(np.sqrt(disc(36).sum()))
    bands = {}
    for name, colour, thick in (("thin", HAIR, 5), ("thick", HAIR, 40), ("ear", SKIN, 5)):
        context, mask = scene(WALL)
        context[(radius > 36) & (radius <= 36 + thick)] = colour
        bands[name] = float(around_a_face(POINTS, context, mask)[1][50, 10]) * size
    assert bands["thin"] == pytest.approx(0.8 * 5, abs=1.0)
    assert bands["ear"] == pytest.approx(0.35 * 5, abs=0.5)
    assert bands["thick"] == pytest.approx(WHOLE * size, rel=0.01)


@pytest.mark.parametrize("place", ["beside", "at the border", "nowhere", "everywhere"])
def test_wherever_the_mask_lies_reach_and_band_are_numbers(place: str) -> None:
    """Also where the keypoints' middle lies outside the mask, or the mask at the crop's border."""
    context, mask = scene(HAIR)
    mask[:] = place == "everywhere"
    if place == "beside":
        mask[:30, :30] = True
    elif place == "at the border":
        mask[40:, :] = True
    for values in around_a_face(POINTS, context, mask):
        assert np.isfinite(values).all()
        assert (values > 0).all()


def test_a_face_that_reaches_the_masks_edge_fades_there() -> None:
    """Under the chin a face as large as the mask is there to 0.46 at its last pixel, and whole from 0.06 of it on."""
    context, mask = scene(SKIN)
    shown = under_hair(mask.astype(np.float32), POINTS, context, mask, 1)
    column = shown[52:, 48]
    assert column[35] == pytest.approx(1 / (0.06 * 36), abs=0.05)
    assert column[36] == 0
    assert (column[:33] == 1).all()
    assert np.diff(column[32:37]).max() <= 0


def test_before_a_plain_wall_a_head_is_bald_and_under_what_has_texture_it_has_a_hairline() -> None:
    """A wall of one colour, the same with stripes as fine as hair, and a dark one: black hair."""
    mask, shown = disc(36), disc(34).astype(np.float32)
    plain, _ = scene(WALL)
    striped = plain.copy()
    striped[:, ::2] //= 2
    striped[mask] = 128
    bald, hairy, black = (
        under_hair(shown, POINTS, context, mask, 1)[:30].sum() for context in (plain, striped, scene(HAIR)[0])
    )
    assert bald > 0.97 * shown[:30].sum()
    assert hairy < 0.9 * shown[:30].sum()
    assert black < 0.9 * shown[:30].sum()
