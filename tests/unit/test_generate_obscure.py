from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import InvalidInputError
from understudy.generate.base import Generator, Obscurer
from understudy.generate.obscure import GaussianBlur, NullEdit, Pixelate, Solid
from understudy.types import OutcomeKind

OBSCURERS = (GaussianBlur(), Pixelate(), Solid(), NullEdit())


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(height: int, width: int, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize("obscurer", OBSCURERS, ids=lambda o: o.name)
def test_no_obscurer_passes_for_a_generator(obscurer: Obscurer) -> None:
    assert isinstance(obscurer, Obscurer)
    assert not isinstance(obscurer, Generator)


@pytest.mark.parametrize("obscurer", OBSCURERS, ids=lambda o: o.name)
@given(height=st.integers(1, 40), width=st.integers(1, 40), data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_every_window_and_mask_gives_a_window_of_the_same_size(
    obscurer: Obscurer, height: int, width: int, data: st.DataObject
) -> None:
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    pixels = noise(height, width)
    made = obscurer.obscure(pixels, box(height, width, x0, y0, x1, y1))
    assert made.shape == pixels.shape
    assert made.dtype == np.uint8


@pytest.mark.parametrize("obscurer", [GaussianBlur(), Pixelate()], ids=lambda o: o.name)
def test_a_uniform_window_stays_as_it_is_up_to_its_edges(obscurer: Obscurer) -> None:
    pixels = np.full((37, 23, 3), (200, 100, 50), np.uint8)
    assert (obscurer.obscure(pixels, box(37, 23, 0, 0, 23, 37)) == pixels).all()


def test_blur_spreads_a_point_by_a_gaussian_of_the_regions_share() -> None:
    pixels = np.zeros((121, 121, 3), np.uint8)
    pixels[60, 60] = 255
    pixels[59:62, 59:62] = 255
    made = GaussianBlur(0.1).obscure(pixels, box(121, 121, 30, 30, 90, 90)).astype(float)[..., 0]  # sigma 6 px
    xs = np.arange(121) - 60
    spread = np.sqrt((made.sum(axis=0) * xs**2).sum() / made.sum())
    assert spread == pytest.approx(6, abs=0.8)


def test_blur_of_a_large_face_is_the_blur_of_the_small_one_enlarged() -> None:
    small = noise(8, 8)
    small = np.repeat(np.repeat(small, 8, axis=0), 8, axis=1)
    large = np.repeat(np.repeat(small, 8, axis=0), 8, axis=1)
    of_small = GaussianBlur().obscure(small, box(64, 64, 8, 8, 56, 56)).astype(float)
    of_large = GaussianBlur().obscure(large, box(512, 512, 64, 64, 448, 448)).astype(float)
    means = of_large.reshape(64, 8, 64, 8, 3).mean(axis=(1, 3))
    assert np.abs(means - of_small).mean() < 2


def test_pixelate_gives_each_cell_its_mean() -> None:
    pixels = noise(16, 16)
    made = Pixelate(n_cells=4).obscure(pixels, box(16, 16, 0, 0, 16, 16))
    for y in range(0, 16, 4):
        for x in range(0, 16, 4):
            mean = pixels[y : y + 4, x : x + 4].reshape(-1, 3).mean(axis=0)
            cell = made[y : y + 4, x : x + 4].reshape(-1, 3)
            assert (cell == cell[0]).all()
            assert np.abs(cell[0] - mean).max() <= 0.51


def test_pixelate_starts_its_grid_at_the_region() -> None:
    pixels = noise(20, 20)
    made = Pixelate(n_cells=2).obscure(pixels, box(20, 20, 3, 5, 13, 15))
    assert (made[5:10, 3:8] == made[5, 3]).all()
    assert (made[10:15, 8:13] == made[10, 8]).all()
    assert (made[5, 3] != made[10, 8]).any()


def test_pixelate_leaves_no_face_of_a_few_pixels_as_it_was() -> None:
    pixels = noise(6, 6)
    made = Pixelate(n_cells=8).obscure(pixels, box(6, 6, 0, 0, 6, 6))
    assert len(np.unique(made.reshape(-1, 3), axis=0)) == 4


def test_solid_paints_its_color_whatever_the_pixels_are() -> None:
    made = Solid((1, 2, 3)).obscure(noise(9, 9), box(9, 9, 2, 2, 5, 5))
    assert (made == (1, 2, 3)).all()


def test_null_edit_returns_an_equal_copy_and_says_that_it_kept_the_person() -> None:
    pixels = noise(9, 9)
    made = NullEdit().obscure(pixels, box(9, 9, 2, 2, 5, 5))
    assert (made == pixels).all()
    assert not np.shares_memory(made, pixels)
    assert NullEdit().outcome is OutcomeKind.KEPT


@pytest.mark.parametrize("obscurer", [GaussianBlur(), Pixelate(), Solid()], ids=lambda o: o.name)
def test_baselines_say_that_they_only_obscure(obscurer: Obscurer) -> None:
    assert obscurer.outcome is OutcomeKind.OBSCURED


@pytest.mark.parametrize("obscurer", OBSCURERS, ids=lambda o: o.name)
@pytest.mark.parametrize(
    ("pixels", "mask"),
    [
        (noise(8, 8), np.zeros((8, 8), bool)),
        (noise(8, 8), np.ones((7, 8), bool)),
        (noise(8, 8), np.ones((8, 8), np.uint8)),
        (noise(8, 8)[..., 0], np.ones((8, 8), bool)),
        (noise(8, 8).astype(np.float32), np.ones((8, 8), bool)),
    ],
    ids=["empty mask", "wrong size", "mask not bool", "gray", "not uint8"],
)
def test_windows_and_masks_that_do_not_fit_are_refused(
    obscurer: Obscurer, pixels: np.ndarray, mask: np.ndarray
) -> None:
    with pytest.raises(InvalidInputError):
        obscurer.obscure(pixels, mask)


@pytest.mark.parametrize("build", [lambda: GaussianBlur(0), lambda: Pixelate(0), lambda: Solid((0, 0, 256))])
def test_strengths_and_colors_out_of_range_are_refused(build) -> None:
    with pytest.raises(InvalidInputError):
        build()
