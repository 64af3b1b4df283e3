"""The embedded model's parts that need no torch: schedule, sampler, planes, styles."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.diffusion.conditioning import category_planes, condition_planes, keypoint_planes, mask_plane
from understudy.diffusion.sampler import sample
from understudy.diffusion.schedule import sampling_times
from understudy.diffusion.style import StyleBank
from understudy.errors import InvalidInputError


def test_times_run_from_noise_to_data() -> None:
    """Four even steps from 1 to 0."""
    np.testing.assert_allclose(sampling_times(4), [1, 0.75, 0.5, 0.25, 0])


def test_a_shift_spends_more_steps_near_the_noise() -> None:
    """t' = 3 t / (1 + 2 t) at t = 1/2 is 3/4; the ends stay."""
    np.testing.assert_allclose(sampling_times(2, shift=3), [1, 0.75, 0])


@pytest.mark.parametrize(("n_steps", "shift"), [(0, 1.0), (4, 0.0)])
def test_no_steps_and_no_shift_are_refused(n_steps: int, shift: float) -> None:
    """The message says what was given."""
    with pytest.raises(InvalidInputError, match="n_steps"):
        sampling_times(n_steps, shift)


@pytest.mark.parametrize("n_steps", [1, 3, 8])
def test_a_straight_flow_is_integrated_exactly(n_steps: int) -> None:
    """Where the estimate is the data everywhere on the line, any number of Euler steps ends at the data."""
    random = np.random.default_rng(0)
    noise, data = (random.normal(size=(2, 3, 4, 4)).astype(np.float32) for _ in range(2))
    np.testing.assert_allclose(sample(lambda x, t: data, noise, n_steps), data, atol=1e-5)


def test_euler_agrees_with_diffusers() -> None:
    """The same velocity through diffusers' FlowMatchEulerDiscreteScheduler ends at the same place."""
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    noise = np.random.default_rng(1).normal(size=(1, 2, 4, 4)).astype(np.float32)

    def velocity(x: NDArray[np.float32], time: float) -> NDArray[np.float32]:
        return np.asarray(np.tanh(x) * np.float32(1 + time), np.float32)

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(sigmas=sampling_times(5)[:-1].tolist())
    x = torch.from_numpy(noise)
    for step, sigma in zip(scheduler.timesteps, scheduler.sigmas[:-1], strict=True):
        x = scheduler.step(torch.from_numpy(velocity(x.numpy(), float(sigma))), step, x, return_dict=False)[0]
    ours = sample(lambda x, time: np.asarray(x - np.float32(time) * velocity(x, time), np.float32), noise, 5)
    np.testing.assert_allclose(ours, x.numpy(), atol=1e-5)


def test_the_mask_plane_is_the_share_of_every_cell() -> None:
    """A cell of 2x2 with one masked pixel counts a quarter."""
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, 0] = mask[0, 2:, 2:] = True
    np.testing.assert_array_equal(mask_plane(mask, 2)[0, 0], [[0.25, 0], [0, 1]])


def test_a_keypoint_is_a_bump_at_its_cell() -> None:
    """x comes first: a point at x = 28, y = 12 in cells of 8 lies in row 1, column 3, with height 1."""
    plane = keypoint_planes(np.array([[[28.0, 12.0]]]), np.ones((1, 1)), 4, 8, 0.8)[0, 0]
    assert np.unravel_index(plane.argmax(), plane.shape) == (1, 3)
    assert plane[1, 3] == pytest.approx(1)


def test_an_absent_keypoint_leaves_its_plane_empty() -> None:
    """Zero visibility is no keypoint at the origin."""
    assert not keypoint_planes(np.zeros((1, 1, 2)), np.zeros((1, 1)), 4, 8, 0.8).any()


def test_a_category_is_one_plane_of_ones() -> None:
    """Bin 2 of 3, and a second category that is not carried."""
    planes = category_planes(np.array([[2, -1]]), (3, 2), 2)
    np.testing.assert_array_equal(planes.mean(axis=(2, 3)), [[0, 0, 1, 0, 0]])


def test_a_bin_that_does_not_exist_is_refused() -> None:
    """The message names the range."""
    with pytest.raises(InvalidInputError, match="0 to 2"):
        category_planes(np.array([[3]]), (3,), 2)


def test_planes_follow_a_translation_by_one_cell() -> None:
    """Shifting mask and keypoints by one cell shifts the planes by one cell."""
    mask = np.zeros((1, 32, 32), bool)
    mask[0, 4:18, 3:15] = True
    points = np.full((1, 5, 2), 11.0)
    arguments = (np.ones((1, 5)), np.array([[1]]))
    here = condition_planes(mask, points, *arguments, n_categories=(2,))
    there = condition_planes(np.roll(mask, 8, axis=2), points + np.array([8, 0]), *arguments, n_categories=(2,))
    np.testing.assert_allclose(there[..., 1:], here[..., :-1], atol=1e-6)


def _bank() -> StyleBank:
    random = np.random.default_rng(0)
    return StyleBank(random.normal(size=(60, 8)).astype(np.float32), np.repeat(np.arange(6), 10)[:, None])


def test_a_style_depends_on_the_seed_alone() -> None:
    """The same seed draws the same style, another seed another one."""
    bank = _bank()
    np.testing.assert_array_equal(bank.draw(5), bank.draw(5))
    assert np.abs(bank.draw(5) - bank.draw(6)).max() > 0.1


def test_a_wanted_tag_narrows_the_draw() -> None:
    """Where ten subjects carry the tag and ten are enough, only mixtures of these are drawn."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 8)).astype(np.float32)
    tags = np.repeat(np.arange(6), 10)[:, None]
    vectors[tags[:, 0] == 3, 0] = 100
    bank = StyleBank(vectors, tags)
    mean = vectors[:, 0].mean()
    drawn = np.array([bank.draw(seed, [3], n_least=10)[0] for seed in range(50)])
    assert (drawn >= 100 - 1e-3).all()
    other = np.array([bank.draw(seed, [0], n_least=10)[0] for seed in range(50)])
    assert (other < mean).all()


def test_a_bank_without_subjects_is_refused() -> None:
    """An empty bank can draw nothing."""
    with pytest.raises(InvalidInputError, match="style bank"):
        StyleBank(np.zeros((0, 4), np.float32), np.zeros((0, 1), np.int64))
