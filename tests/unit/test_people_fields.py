"""Formulas over the template: subdivision, smooth steps, noise, tones, weights."""

import numpy as np
import pytest

from understudy.color import ita_deg
from understudy.people.body import opposite_pairs, vertex_normals
from understudy.people.export_body import catmull_clark
from understudy.people.fields import ValueNoise, bump, linear_from_srgb, smooth_step, srgb_from_linear, unit
from understudy.people.parts import compact, grid_faces
from understudy.people.shape import anchor_weights, model_age, model_gender
from understudy.people.skin import TONE_RAMP, tone_albedo

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CUBE_FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def test_one_catmull_clark_step_of_a_cube_is_as_calculated_by_hand() -> None:
    """A corner (1, 1, 1): mean face point 1/3, mean edge midpoint 2/3; (F + 2 R + (n - 3) P) / n = 5/9."""
    matrix, faces, _, _ = catmull_clark(CUBE_FACES, CUBE_FACES, 8, 8)
    points = matrix @ CUBE
    assert points.shape == (8 + 12 + 6, 3)
    assert faces.shape == (24, 4)
    np.testing.assert_allclose(np.abs(points[:8]), 5 / 9)
    np.testing.assert_allclose(np.sort(np.abs(points[8:20]), axis=1), [[0, 0.75, 0.75]] * 12)
    np.testing.assert_allclose(np.sort(np.abs(points[20:]), axis=1), [[0, 0, 1]] * 6)


def test_subdivision_keeps_a_flat_sheet_flat_and_its_corners_near() -> None:
    faces = grid_faces(3, 3)
    sheet = np.array([[x, y, 0.0] for y in range(3) for x in range(3)])
    matrix, _, _, _ = catmull_clark(faces, faces, 9, 9)
    points = matrix @ sheet
    np.testing.assert_allclose(points[:, 2], 0)
    np.testing.assert_allclose(points[4], [1, 1, 0])


def test_normals_of_a_cube_point_outward() -> None:
    normals = vertex_normals(CUBE, CUBE_FACES)
    np.testing.assert_allclose(normals, CUBE / np.sqrt(3))


def test_a_smooth_step_runs_either_way_and_is_half_in_the_middle() -> None:
    assert smooth_step(0, 2, [-1, 0, 1, 2, 3]).tolist() == [0, 0, 0.5, 1, 1]
    assert smooth_step(2, 0, [0, 1, 2]).tolist() == [1, 0.5, 0]


def test_srgb_and_linear_are_inverse_and_match_known_values() -> None:
    value = np.arange(256)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(value)) * 255, value, atol=1e-9)
    assert linear_from_srgb(188) == pytest.approx(0.5029, abs=1e-4)


def test_unit_vectors_have_length_one_and_zero_stays_zero() -> None:
    assert unit([[3.0, 4, 0], [0, 0, 0]]).tolist() == [[0.6, 0.8, 0], [0, 0, 0]]


def test_a_bump_is_one_at_its_centre_and_1_over_e_at_its_radius() -> None:
    values = bump(np.array([[0.0, 0, 0], [0, 2, 0]]), (0, 0, 0), (1, 2, 1))
    assert values.tolist() == pytest.approx([1, np.exp(-1)])


def test_noise_is_the_same_for_one_seed_repeats_over_its_lattice_and_has_no_bias() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (4000, 3))
    noise = ValueNoise(np.random.default_rng(1))
    np.testing.assert_allclose(noise(points, 0.05), ValueNoise(np.random.default_rng(1))(points, 0.05))
    np.testing.assert_allclose(noise(points, 0.05), noise(points + 48 * 0.05, 0.05), atol=1e-5)
    assert abs(noise(points, 0.01).mean()) < 0.05


def test_every_step_of_the_tone_ramp_is_darker_and_of_lower_ita_than_the_one_before() -> None:
    srgb = np.round(srgb_from_linear(TONE_RAMP) * 255).astype(np.uint8)
    assert (np.diff(ita_deg(srgb)) < 0).all()
    assert ita_deg(srgb)[0] > 55
    assert ita_deg(srgb)[-1] < -60


def test_the_tone_at_the_middle_of_a_step_is_the_ramp_s_colour() -> None:
    np.testing.assert_allclose(tone_albedo((np.arange(10) + 0.5) / 10), TONE_RAMP)


def test_anchor_weights_interpolate_between_two_neighbours() -> None:
    assert anchor_weights(0.25, 3).tolist() == [0.5, 0.5, 0]
    assert anchor_weights(1.0, 2).tolist() == [0, 1]
    assert anchor_weights(2.0, 3).tolist() == [0, 0, 1]


def test_age_and_gender_map_onto_the_model_s_axes() -> None:
    assert [model_age(a) for a in (1, 10, 25, 90)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert model_gender(0.05) == 0
    assert model_gender(0.95) == 1
    assert model_gender(0.5) == pytest.approx(0.5)


def test_opposite_local_changes_are_paired_once() -> None:
    labels = ("local_change:nose-scale-incr", "local_change:nose-scale-decr", "local_change:chin-up", "other")
    assert opposite_pairs(labels) == (("nose-scale-incr", "nose-scale-decr"),)


def test_compacting_keeps_the_faces_corners() -> None:
    vertices, faces, used = compact(CUBE, CUBE_FACES[:1])
    assert used.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(vertices[faces], CUBE[CUBE_FACES[:1]])
