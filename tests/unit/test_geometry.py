from __future__ import annotations

from math import gamma

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from understudy.errors import InvalidInputError
from understudy.geometry import (
    DEFAULT_ASPECT,
    EXPONENT,
    FOREHEAD_SHIFT,
    HEIGHT_MARGIN,
    WIDTH_MARGIN,
    FaceShape,
    Region,
    apply_affine,
    copy_under,
    crop_frame,
    cut_crop,
    face_shape,
    invert_affine,
    paste_window,
    roll_deg,
    shape_region,
    union_mask,
)
from understudy.types import ERASED

SHOWN = np.ones(5)
ABSENT = np.zeros(5)
FRONTAL = np.array([[-20.0, -15], [20, -15], [0, 5], [-15, 25], [15, 25]])
"""Five keypoints around the middle of a face that is 100 px wide and 130 px high."""
BOX = np.array([-50.0, -65, 50, 65])
SWAPPED = [1, 0, 2, 4, 3]
"""Left and right exchanged, as a mirror does."""


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points turned clockwise about the origin (y points down)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[c, s], [-s, c]])


def checker(size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def frame(scale: float, degrees: float, origin: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, origin[0]], [s, c, origin[1]]])


frames = st.builds(
    frame,
    scale=st.floats(0.2, 6),
    degrees=st.floats(-180, 180),
    origin=st.tuples(st.floats(-20, 50), st.floats(-20, 50)),
)


# roll


@pytest.mark.parametrize("degrees", [-150, -90, -31, 0, 10, 45, 90, 179])
def test_roll_is_the_angle_by_which_the_head_is_turned_clockwise(degrees: float) -> None:
    assert roll_deg(turned(FRONTAL, degrees), SHOWN) == pytest.approx(degrees)


def test_roll_of_a_head_turned_clockwise_by_hand() -> None:
    # lying on the subject's left side: eyes on the right of the mouth, right eye above the left one
    points = np.array([[10.0, 0], [10, 10], [5, 5], [0, 0], [0, 10]])
    assert roll_deg(points, SHOWN) == pytest.approx(90)


def test_roll_is_zero_where_eyes_or_mouth_are_absent() -> None:
    for absent in (0, 1, 3, 4):
        shown = SHOWN.copy()
        shown[absent] = 0
        assert roll_deg(turned(FRONTAL, 40), shown) == 0


def test_roll_does_not_need_the_nose() -> None:
    assert roll_deg(turned(FRONTAL, 40), np.array([1, 1, 0, 1, 1])) == pytest.approx(40)


def test_roll_of_a_profile_comes_from_eyes_to_mouth() -> None:
    points = np.array([[3.0, -15], [3, -15], [9, 5], [3, 25], [3, 25]])
    assert roll_deg(turned(points, 25), SHOWN) == pytest.approx(25)


def test_roll_is_zero_where_all_keypoints_coincide() -> None:
    assert roll_deg(np.ones((5, 2)), SHOWN) == 0


@given(degrees=st.floats(-170, 170), scale=st.floats(0.1, 20), x=st.floats(-500, 500), y=st.floats(-500, 500))
@settings(deadline=None, derandomize=True)
def test_roll_ignores_place_and_size_and_changes_sign_in_a_mirror(
    degrees: float, scale: float, x: float, y: float
) -> None:
    points = turned(FRONTAL, degrees) * scale + (x, y)
    mirrored = (points * (-1, 1))[SWAPPED]
    assert roll_deg(points, SHOWN) == pytest.approx(degrees, abs=1e-6)
    assert roll_deg(mirrored, SHOWN) == pytest.approx(-degrees, abs=1e-6)


# the shape of a region


def test_shape_of_a_box_without_keypoints_is_the_box_with_its_margins() -> None:
    shape = face_shape(BOX, FRONTAL, ABSENT)
    assert shape.roll_deg == 0
    assert shape.semi_axes == pytest.approx((50 * WIDTH_MARGIN, 65 * HEIGHT_MARGIN))
    assert shape.center == pytest.approx((0, -FOREHEAD_SHIFT * 65 * HEIGHT_MARGIN))


def test_shape_of_a_square_box_is_never_narrower_than_the_box() -> None:
    a, b = face_shape(np.array([0.0, 0, 100, 100]), FRONTAL, ABSENT).semi_axes
    assert a >= 50
    assert b >= 50


def test_shape_of_a_diagonal_head_has_the_default_aspect() -> None:
    half = 60.0
    shape = face_shape(np.array([-half, -half, half, half]), turned(FRONTAL * 0.3, 45), SHOWN)
    a, b = shape.semi_axes
    assert shape.roll_deg == pytest.approx(45)
    assert (b / HEIGHT_MARGIN) / (a / WIDTH_MARGIN) == pytest.approx(DEFAULT_ASPECT)
    # an ellipse at 45 degrees with that aspect fits the box exactly: (a^2 + b^2) / 2 = half^2
    assert ((a / WIDTH_MARGIN) ** 2 + (b / HEIGHT_MARGIN) ** 2) / 2 == pytest.approx(half**2)


def test_shape_of_an_empty_box_is_not_empty() -> None:
    assert min(face_shape(np.array([7.0, 7, 7, 7]), FRONTAL, ABSENT).semi_axes) > 0


def test_shape_grows_to_hold_a_keypoint_outside_the_box() -> None:
    plain = face_shape(BOX, FRONTAL, ABSENT)
    points = FRONTAL.copy()
    points[2] = (56, 5)
    grown = face_shape(BOX, points, np.array([0, 0, 1, 0, 0]))
    assert grown.semi_axes[0] > plain.semi_axes[0]
    assert grown.center == plain.center


def test_shape_is_not_blown_up_by_a_keypoint_that_went_astray() -> None:
    plain = face_shape(BOX, FRONTAL, ABSENT)
    points = FRONTAL.copy()
    points[2] = (9000, 5)
    assert face_shape(BOX, points, np.array([0, 0, 1, 0, 0])).semi_axes[0] == pytest.approx(plain.semi_axes[0] * 1.5)


@given(degrees=st.floats(-60, 60), x=st.floats(-300, 300), y=st.floats(-300, 300), scale=st.floats(0.2, 5))
@settings(deadline=None, derandomize=True)
def test_shape_moves_grows_and_mirrors_with_the_face(degrees: float, x: float, y: float, scale: float) -> None:
    assume(abs(abs(np.cos(np.radians(2 * degrees))) - 0.5) > 1e-6)  # there the rule for the aspect changes
    points = turned(FRONTAL, degrees)
    shape = face_shape(BOX, points, SHOWN)
    moved = face_shape(BOX * scale + (x, y, x, y), points * scale + (x, y), SHOWN)
    mirrored = face_shape(BOX, (points * (-1, 1))[SWAPPED], SHOWN)
    assert moved.center == pytest.approx((shape.center[0] * scale + x, shape.center[1] * scale + y), abs=1e-6)
    assert moved.semi_axes == pytest.approx((shape.semi_axes[0] * scale, shape.semi_axes[1] * scale))
    assert mirrored.center == pytest.approx((-shape.center[0], shape.center[1]), abs=1e-6)
    assert mirrored.semi_axes == pytest.approx(shape.semi_axes)
    assert mirrored.roll_deg == pytest.approx(-shape.roll_deg, abs=1e-6)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("degrees", [0, 13, -27])
def test_a_turned_picture_has_the_turned_mask(quarters: int, degrees: float) -> None:
    size, middle = 200, 100.0
    half = np.array([48.0, 60])
    shift = np.array([3.0, -8])
    points = turned(FRONTAL, degrees) + shift
    box = np.concatenate([shift - half, shift + half])
    around = turned(points, 90 * quarters)
    corners = turned(box.reshape(2, 2), 90 * quarters)
    box_around = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    upright = _mask(box, points, middle, size)
    rotated = _mask(box_around, around, middle, size)
    assert (np.rot90(upright, -quarters) != rotated).mean() < 1e-4


def _mask(box: np.ndarray, points: np.ndarray, middle: float, size: int) -> np.ndarray:
    shape = face_shape(box + middle, points + middle, SHOWN)
    return union_mask([shape_region(shape, size, size)], size, size)


# its mask


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_region_has_the_area_of_a_superellipse(degrees: float) -> None:
    a, b, n = 40.0, 60.0, EXPONENT
    region = shape_region(FaceShape((100, 100), (a - 0.5, b - 0.5), degrees), 200, 200)
    assert region.area == pytest.approx(4 * a * b * gamma(1 + 1 / n) ** 2 / gamma(1 + 2 / n), rel=0.005)


def test_region_of_a_head_rolled_clockwise_leans_to_the_right_at_its_top() -> None:
    mask = union_mask([shape_region(FaceShape((100, 100), (20, 60), 30), 200, 200)], 200, 200)
    assert mask[100 - 47, 100 + 27]  # 54 px up along the face, turned by 30 degrees
    assert mask[100 + 47, 100 - 27]
    assert not mask[100 - 47, 100 - 27]
    assert not mask[100 + 47, 100 + 27]


def test_region_of_a_half_pixel_face_is_one_pixel() -> None:
    region = shape_region(FaceShape((10.5, 20.5), (0.25, 0.25), 0), 40, 40)
    ys, xs = np.nonzero(union_mask([region], 40, 40))
    assert (ys.tolist(), xs.tolist()) == ([20], [10])


@given(
    cx=st.floats(-80, 160),
    cy=st.floats(-80, 140),
    a=st.floats(0.1, 60),
    b=st.floats(0.1, 60),
    degrees=st.floats(-180, 180),
    height=st.integers(1, 60),
    width=st.integers(1, 80),
)
@settings(deadline=None, derandomize=True)
def test_every_region_lies_in_the_picture_and_holds_a_pixel(
    cx: float, cy: float, a: float, b: float, degrees: float, height: int, width: int
) -> None:
    region = shape_region(FaceShape((cx, cy), (a, b), degrees), height, width)
    x0, y0, x1, y1 = region.window
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert region.mask.shape == (y1 - y0, x1 - x0)
    assert region.area >= 1


@given(degrees=st.floats(-180, 180), scale=st.floats(0.05, 3), seed=st.integers(0, 1000))
@settings(deadline=None, derandomize=True)
def test_every_keypoint_in_its_box_lies_under_the_mask(degrees: float, scale: float, seed: int) -> None:
    points = turned(FRONTAL * scale, degrees) + 200
    points += np.random.default_rng(seed).normal(0, 3 * scale, (5, 2))
    low, high = points.min(axis=0) - 15 * scale, points.max(axis=0) + 15 * scale
    region = shape_region(face_shape(np.concatenate([low, high]), points, SHOWN), 400, 400)
    mask = union_mask([region], 400, 400)
    for x, y in points:
        assert mask[int(y), int(x)]


@given(width=st.floats(8, 150), aspect=st.floats(0.8, 1.8))
@settings(deadline=None, derandomize=True)
def test_the_middles_of_an_upright_boxs_sides_lie_under_the_mask(width: float, aspect: float) -> None:
    half_w, half_h = width / 2, width * aspect / 2
    box = np.array([200 - half_w, 200 - half_h, 200 + half_w, 200 + half_h])
    mask = union_mask([shape_region(face_shape(box, FRONTAL, ABSENT), 400, 400)], 400, 400)
    assert mask[200, int(np.ceil(box[0]))]
    assert mask[200, int(np.floor(box[2])) - 1]
    assert mask[int(np.ceil(box[1])), 200]
    assert mask[int(np.floor(box[3])) - 1, 200]


def test_union_is_true_under_any_of_its_regions() -> None:
    first = Region((0, 0, 2, 1), np.array([[True, False]]))
    second = Region((1, 0, 3, 2), np.array([[False, True], [True, False]]))
    assert union_mask([first, second], 2, 4).tolist() == [[True, False, True, False], [False, True, False, False]]


def test_union_of_nobody_is_empty() -> None:
    assert not union_mask([], 3, 4).any()


# crops


def test_crop_frame_puts_the_regions_middle_in_the_crops_middle() -> None:
    shape = FaceShape((33.0, 44.0), (10.0, 20.0), 37.0)
    assert apply_affine(crop_frame(shape, 128), np.array([64.0, 64])) == pytest.approx((33, 44))


def test_crop_frame_shows_the_context_around_the_longer_axis() -> None:
    affine = crop_frame(FaceShape((0.0, 0.0), (10.0, 20.0), 0.0), 100, context=1.5)
    assert apply_affine(affine, np.array([[0.0, 0], [100, 100]])) == pytest.approx(np.array([[-30, -30], [30, 30]]))


@given(degrees=st.floats(-179, 179))
@settings(deadline=None, derandomize=True)
def test_crop_frame_turns_every_head_upright_and_mirrors_none(degrees: float) -> None:
    points = turned(FRONTAL, degrees) + 200
    low, high = points.min(axis=0) - 20, points.max(axis=0) + 20
    affine = crop_frame(face_shape(np.concatenate([low, high]), points, SHOWN), 128)
    seen = apply_affine(invert_affine(affine), points)
    assert roll_deg(seen, SHOWN) == pytest.approx(0, abs=1e-6)
    assert seen[0, 0] < seen[1, 0]
    assert np.linalg.det(affine[:, :2]) > 0


@given(affine=frames)
@settings(deadline=None, derandomize=True)
def test_an_affine_and_its_inverse_cancel(affine: np.ndarray) -> None:
    points = np.array([[0.0, 0], [3, 9], [-70, 12]])
    assert apply_affine(invert_affine(affine), apply_affine(affine, points)) == pytest.approx(points, abs=1e-6)


def test_a_crop_in_the_pictures_own_frame_is_a_slice() -> None:
    picture = checker()
    crop = cut_crop(picture, np.zeros((64, 64), bool), frame(1, 0, (8, 5)), 32)
    assert (crop.pixels == picture[5:37, 8:40]).all()
    assert not crop.replace_mask.any()


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.5, 2.0, 3.7])
def test_a_crop_pixel_holds_the_picture_around_its_own_centre(scale: float) -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (64, 64, 3))
    crop = cut_crop(ramp, np.zeros((64, 64), bool), frame(scale, 0, (10, 10)), 8)
    expected = (10 + scale * (np.arange(8) + 0.5) - 0.5) * 3  # pixel i of the ramp is 3 i at its centre i + 0.5
    assert crop.pixels[4, :, 0] == pytest.approx(expected, abs=1)


def test_a_quarter_turned_crop_is_the_turned_slice() -> None:
    picture = checker()
    crop = cut_crop(picture, np.zeros((64, 64), bool), frame(1, 90, (40, 5)), 32)
    assert (crop.pixels == np.rot90(picture[5:37, 8:40])).all()


def test_a_crop_masks_exactly_what_is_erased_in_the_pictures_own_frame() -> None:
    erased = np.zeros((64, 64), bool)
    erased[20, 10:13] = True
    crop = cut_crop(checker(), erased, frame(1, 0, (8, 5)), 32)
    assert np.argwhere(crop.replace_mask).tolist() == [[15, 2], [15, 3], [15, 4]]


def test_what_lies_outside_the_picture_is_masked() -> None:
    crop = cut_crop(checker(), np.zeros((64, 64), bool), frame(1, 0, (-4, 50)), 32)
    inside = np.zeros((32, 32), bool)
    inside[:14, 4:] = True
    assert (crop.replace_mask == ~inside).all()


@pytest.mark.parametrize("origin", [(-500.0, 0.0), (0.0, -500.0), (80.0, 0.0), (0.0, 80.0), (900.0, 900.0)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_crop_that_misses_the_picture_is_masked_all_over(origin: tuple[float, float], scale: float) -> None:
    crop = cut_crop(checker(), np.zeros((64, 64), bool), frame(scale, 0, origin), 32)
    assert crop.replace_mask.all()
    assert (crop.pixels == ERASED).all()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"must have shape \(64, 64\), got \(32, 64\)"):
        cut_crop(checker(), np.zeros((32, 64), bool), frame(1, 0, (0, 0)), 32)


@pytest.mark.parametrize("affine", [frame(0.4, 0, (8.3, 9.1)), frame(1, 33, (12, 2)), frame(2.7, -20, (1, 9))])
def test_a_crop_pixel_is_masked_if_and_only_if_an_erased_pixel_contributes(affine: np.ndarray) -> None:
    """What contributes is found by brute force: one white pixel in a black picture at a time."""
    size = 24
    black, nothing = np.zeros((size, size, 3), np.uint8), np.zeros((size, size), bool)
    outside = cut_crop(black, nothing, affine, 8).replace_mask
    for y in range(size):
        for x in range(size):
            white, erased = black.copy(), nothing.copy()
            white[y, x], erased[y, x] = 255, True
            contributes = (cut_crop(white, nothing, affine, 8).pixels > 0).any(axis=2)
            masked = cut_crop(black, erased, affine, 8).replace_mask
            assert not (contributes & ~masked).any()
            centers = apply_affine(affine, np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1) + 0.5)
            reach = 1.5 * max(np.floor(np.hypot(*affine[:, 0])), 1)  # a bilinear sample of blocks of that side
            near = (np.abs(centers - (x + 0.5, y + 0.5)) <= reach + 1e-3).all(axis=2)
            assert not (masked & ~outside & ~near).any()


def test_one_erased_pixel_of_a_large_block_masks_every_sample_that_it_contributes_to() -> None:
    """At a scale of 40, a crop pixel mixes four blocks of 1,600 pixels; one erased pixel makes its block unknown."""
    for x in range(80, 240, 7):
        erased = np.zeros((320, 320), bool)
        erased[160 + x % 40, x] = True
        crop = cut_crop(np.zeros((320, 320, 3), np.uint8), erased, frame(40, 0, (0, 0)), 8)
        inner = crop.replace_mask[1:-1, 1:-1]  # the outermost samples reach beyond the picture
        assert inner.sum() == 4


@given(
    affine=frames,
    first=st.integers(0, 2**32),
    second=st.integers(0, 2**32),
    erased=arrays(bool, (12, 12)),
)
@settings(deadline=None, derandomize=True)
def test_nothing_under_the_union_ever_influences_a_crop(
    affine: np.ndarray, first: int, second: int, erased: np.ndarray
) -> None:
    hidden = np.repeat(np.repeat(erased, 4, axis=0), 4, axis=1)
    picture, other = checker(48, first), checker(48, second)
    changed = np.where(hidden[..., None], other, picture)
    before, after = (cut_crop(p, hidden, affine, 16) for p in (picture, changed))
    assert (before.pixels == after.pixels).all()
    assert (before.replace_mask == after.replace_mask).all()


@given(affine=frames, grown=arrays(bool, (12, 12)), erased=arrays(bool, (12, 12)))
@settings(deadline=None, derandomize=True)
def test_erasing_more_never_uncovers_a_crop_pixel(affine: np.ndarray, grown: np.ndarray, erased: np.ndarray) -> None:
    picture = checker(12)
    less = cut_crop(picture, erased, affine, 16).replace_mask
    more = cut_crop(picture, erased | grown, affine, 16).replace_mask
    assert not (less & ~more).any()


# and back


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("degrees", [0, 25, 90])
def test_a_crop_pasted_back_is_the_picture_again(scale: float, degrees: float) -> None:
    ys, xs = np.mgrid[0:96, 0:96]
    smooth = np.stack([xs * 2, ys * 2, (xs + ys)], axis=-1).astype(np.uint8)
    affine = crop_frame(FaceShape((48, 48), (64 * scale / 2, 64 * scale / 2), degrees), 64, context=1.0)
    crop = cut_crop(smooth, np.zeros((96, 96), bool), affine, 64)
    window = (42, 42, 54, 54)
    pasted = paste_window(affine, crop.pixels, window)
    assert np.abs(pasted - smooth[42:54, 42:54]).max() < 1.6


def test_pasting_in_the_pictures_own_frame_copies() -> None:
    pixels = checker(32)
    pasted = paste_window(frame(1, 0, (8, 5)), pixels, (10, 9, 20, 30))
    assert (pasted == pixels[4:25, 2:12]).all()


def test_pasting_has_the_windows_size_and_the_crops_channels() -> None:
    assert paste_window(frame(2.5, 10, (0, 0)), checker(16), (3, 4, 10, 24)).shape == (20, 7, 3)


@pytest.mark.parametrize("turn", [0, 1])
def test_pixels_are_copied_under_a_mask_and_nowhere_else(turn: int) -> None:
    rng = np.random.default_rng(turn)
    canvas, source = rng.integers(0, 256, (2, 9, 14, 3)).astype(np.uint8)
    mask = rng.random((5, 6)) < 0.5
    by_hand = canvas.copy()
    part = np.rot90(by_hand, 2)[2:7, 3:9] if turn else by_hand[2:7, 3:9]  # OpenCV cannot address a turned view
    part[mask] = source[2:7, 3:9][mask]
    copy_under(mask, source[2:7, 3:9], np.rot90(canvas, 2)[2:7, 3:9] if turn else canvas[2:7, 3:9])
    assert (canvas == by_hand).all()


def test_nothing_is_copied_where_there_is_nothing() -> None:
    copy_under(np.zeros((0, 4), np.bool_), np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4, 3), np.uint8))


@pytest.mark.parametrize(("semi_axes", "roll"), [((40.0, 55.0), 0.0), ((33.3, 71.8), 27.0), ((2.2, 1.3), -80.0)])
def test_a_region_holds_the_pixels_whose_powers_sum_to_one_or_less(semi_axes: tuple[float, float], roll: float) -> None:
    region = shape_region(FaceShape((80.3, 90.6), semi_axes, roll), 200, 180)
    x0, y0, x1, y1 = region.window
    theta = np.radians(roll)
    for y in range(y0, y1):
        for x in range(x0, x1):
            dx, dy = x + 0.5 - 80.3, y + 0.5 - 90.6
            along = abs(np.cos(theta) * dx + np.sin(theta) * dy) / (semi_axes[0] + 0.5)
            across = abs(np.cos(theta) * dy - np.sin(theta) * dx) / (semi_axes[1] + 0.5)
            assert region.mask[y - y0, x - x0] == (along**2.5 + across**2.5 <= 1)
