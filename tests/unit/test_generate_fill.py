from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import InvalidInputError
from understudy.generate.base import Generator
from understudy.generate.fill import MID_GREY, FillGenerator, fill_color
from understudy.types import Condition, Crop, OutcomeKind


def condition(pixels: np.ndarray, mask: np.ndarray) -> Condition:
    return Condition(Crop(pixels.astype(np.uint8), mask, np.eye(2, 3)))


def square(size: int = 32, low: int = 12, high: int = 20) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[low:high, low:high] = True
    return mask


def test_fill_color_is_the_color_of_a_uniform_surrounding() -> None:
    pixels = np.full((32, 32, 3), (10, 20, 30))
    assert fill_color(condition(pixels, square())).tolist() == [10, 20, 30]


def test_fill_color_is_the_median_and_not_the_mean_of_the_ring() -> None:
    pixels = np.full((32, 32, 3), 40)
    pixels[10:12, 12:20] = 250  # one of the four sides of the ring
    assert fill_color(condition(pixels, square())).tolist() == [40, 40, 40]


def test_fill_color_reads_nothing_beyond_the_ring() -> None:
    pixels = np.full((32, 32, 3), 200)
    pixels[10:22, 10:22] = 60  # the mask and two pixels around it
    assert fill_color(condition(pixels, square())).tolist() == [60, 60, 60]


def test_fill_color_never_reads_a_neighbours_mask() -> None:
    pixels = np.full((32, 32, 3), 90)
    mask = square()
    mask[10:22, 0:12] = True  # a neighbour who touches the region from the left
    assert fill_color(condition(pixels, mask)).tolist() == [90, 90, 90]


def test_fill_color_ignores_the_ring_of_a_neighbour_who_does_not_touch() -> None:
    pixels = np.full((32, 32, 3), 5)
    pixels[13:19, 13:19] = 90  # the region and two pixels around it
    mask = square(32, 15, 17)
    mask[2:30, 1:8] = True  # a larger neighbour, with a longer ring
    assert fill_color(condition(pixels, mask)).tolist() == [90, 90, 90]


def test_fill_color_takes_all_known_pixels_where_the_ring_is_unknown() -> None:
    pixels = np.full((32, 32, 3), 70)
    mask = np.ones((32, 32), bool)
    mask[0, 0] = False
    centre = square(32, 15, 17)
    mask[11:21, 11:21] = True
    assert fill_color(condition(pixels, mask | centre)).tolist() == [70, 70, 70]


def test_fill_color_is_mid_grey_where_nothing_is_known() -> None:
    pixels = np.full((32, 32, 3), 7)
    assert fill_color(condition(pixels, np.ones((32, 32), bool))).tolist() == [MID_GREY] * 3


def test_fill_color_works_on_a_crop_without_a_mask() -> None:
    assert fill_color(condition(np.full((8, 8, 3), 33), np.zeros((8, 8), bool))).tolist() == [33, 33, 33]


@given(shift=st.integers(0, 100), turns=st.integers(0, 3))
@settings(deadline=None, derandomize=True)
def test_fill_color_follows_brightness_and_ignores_quarter_turns(shift: int, turns: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 150, (32, 32, 3))
    turned = np.rot90(pixels, turns) + shift
    expected = fill_color(condition(pixels, square())).astype(int) + shift
    assert fill_color(condition(turned.copy(), square())).tolist() == expected.tolist()


def test_fill_generator_paints_the_whole_crop_in_that_color() -> None:
    pixels = np.full((32, 32, 3), (10, 20, 30))
    (made,) = FillGenerator()([condition(pixels, square())], [7])
    assert (made.pixels == (10, 20, 30)).all()
    assert (made.seed, made.n_steps) == (7, 0)


def test_fill_generator_leaves_filled_regions_of_any_size() -> None:
    generator = FillGenerator()
    assert isinstance(generator, Generator)
    assert generator.outcome is OutcomeKind.FILLED
    assert generator.min_face_px == 0


@pytest.mark.parametrize(("argument", "value"), [("crop_size", 4), ("batch_size", 0)])
def test_fill_generator_refuses_sizes_that_cannot_work(argument: str, value: int) -> None:
    with pytest.raises(InvalidInputError, match=argument):
        FillGenerator(**{argument: value})
