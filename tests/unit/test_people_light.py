"""Light: groups are mixed by plain sums, and every mix keeps its own label."""

import numpy as np
import pytest

from understudy.people.develop import develop, exposure, film_curve
from understudy.people.light import (
    GROUPS,
    MOOD_SHARES,
    MOODS,
    PORTRAIT,
    RECIPES,
    Mix,
    mix_groups,
    portrait_rig,
    sample_mixes,
    sample_rig,
    tint,
)


def groups_of_ones() -> dict:
    return {group: np.full((2, 3, 3), 10.0**k) for k, group in enumerate(GROUPS)}


def test_a_mix_is_the_weighted_sum_of_its_groups() -> None:
    mix = Mix("room", {"ambient": (1, 2, 3), "key": (0.5, 0, 0)}, 1.0, (1, 1, 1))
    assert mix_groups(groups_of_ones(), mix)[0, 0].tolist() == [1 + 50, 2, 3]


def test_twice_the_light_of_every_group_gives_twice_the_foreground() -> None:
    mix = sample_mixes(0, 1, 2, 1)[0]
    twice = Mix(mix.mood, {g: (2 * r, 2 * n, 2 * b) for g, (r, n, b) in mix.weights.items()}, 1.0, (1, 1, 1))
    np.testing.assert_allclose(mix_groups(groups_of_ones(), twice), 2 * mix_groups(groups_of_ones(), mix))


def test_the_mixes_of_a_view_have_different_moods_and_are_the_same_again() -> None:
    mixes = sample_mixes(0, 4, 1, len(MOODS))
    assert {m.mood for m in mixes} == set(MOODS)
    assert sample_mixes(0, 4, 1, len(MOODS)) == mixes
    assert sample_mixes(0, 5, 1, len(MOODS)) != mixes


@pytest.mark.parametrize("mood", MOODS)
def test_the_green_weights_lie_in_their_recipe_s_range(mood: str) -> None:
    found = [m for k in range(60) for m in sample_mixes(1, k, 0, len(MOODS)) if m.mood == mood]
    for mix in found:
        for group, weight in mix.weights.items():
            low, high = RECIPES[mood].weights[group]
            assert low - 1e-9 <= weight[1] <= high + 1e-9


def test_the_shares_of_the_moods_add_up() -> None:
    assert len(MOOD_SHARES) == len(MOODS)
    assert sum(MOOD_SHARES) == pytest.approx(1)


def test_warm_light_has_more_red_and_cool_light_more_blue() -> None:
    assert tint(1)[0] > tint(1)[2]
    assert tint(-1)[0] < tint(-1)[2]
    assert tint(0).tolist() == [1, 1, 1]


def test_the_sky_has_mean_radiance_one() -> None:
    assert sample_rig(np.random.default_rng(0)).sky.mean() == pytest.approx(1)


def test_exposure_brings_the_face_to_its_tone_s_target_whatever_the_light() -> None:
    light, face = np.full((8, 8, 3), 0.02), np.ones((8, 8))
    assert exposure(light, face, 0.0, 1.0) * 0.02 == pytest.approx(0.42)
    assert exposure(50 * light, face, 1.0, 1.0) * 1.0 == pytest.approx(0.075)


def test_exposure_holds_the_highlights() -> None:
    light = np.full((10, 10, 3), 0.1)
    light[:2] = 5.0
    gain = exposure(light, np.ones((10, 10)), 0.0, 1.0)
    assert gain * 5.0 == pytest.approx(1.05)


def test_the_film_curve_rises_from_black_to_white() -> None:
    value = film_curve(np.array([-1.0, 0, 0.01, 0.1, 1, 10, 1000]))
    assert value[0] == value[1] == 0
    assert (np.diff(value[1:]) > 0).all()
    assert value[-1] <= 1


def test_where_the_foreground_is_opaque_the_backdrop_does_not_show() -> None:
    alpha = np.zeros((16, 16))
    alpha[:, :8] = 1
    pictures = [
        develop(np.full((16, 16, 3), 0.2) * alpha[..., None], alpha, np.full((16, 16, 3), b), np.ones(3), rng)
        for b, rng in ((0.0, np.random.default_rng(1)), (1.0, np.random.default_rng(1)))
    ]
    assert np.array_equal(pictures[0][:, :6], pictures[1][:, :6])
    assert (pictures[1][:, 10:].astype(int) - pictures[0][:, 10:] > 100).all()


def test_a_portrait_is_lit_from_above_in_front_from_either_side_and_from_nowhere_hard() -> None:
    """The key stands 33 to 43 degrees high and 18 to 30 aside, is brightest, and no sun shines."""
    keys = np.degrees([portrait_rig(np.random.default_rng(k)).key for k in range(60)])
    assert (np.abs(keys[:, 0]) >= 18).all()
    assert (np.abs(keys[:, 0]) <= 30).all()
    assert 15 < (keys[:, 0] > 0).sum() < 45
    assert ((keys[:, 1] >= 33) & (keys[:, 1] <= 43)).all()
    assert "sun" not in PORTRAIT.weights
    assert max(PORTRAIT.weights, key=lambda group: PORTRAIT.weights[group][1]) == "key"
