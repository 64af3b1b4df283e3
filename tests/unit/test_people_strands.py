"""Strands, hulls and trims, on a ball in place of a head: what is right on a sphere can be calculated."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from understudy.errors import MissingWeightsError
from understudy.people.backdrop import sample_backdrop
from understudy.people.body import HEAD_CENTER, Body, elevation_deg, load_body, vertex_normals
from understudy.people.hair import Groom, crosses_face
from understudy.people.head import trim
from understudy.people.parts import grid_faces
from understudy.people.shape import Head
from understudy.people.strands import Strands, Surface, perpendiculars, sample_roots
from understudy.people.wear import angles_deg, hull

RADIUS = 0.1
N_ROWS, N_COLUMNS = 61, 120


def ball() -> tuple[Body, Head]:
    """A sphere about the template's head centre; its rows run from the bottom to the top."""
    up = np.linspace(-np.pi / 2 + 1e-4, np.pi / 2 - 1e-4, N_ROWS)[:, None]
    around = np.linspace(-np.pi, np.pi, N_COLUMNS, endpoint=False)[None]
    direction = np.stack(np.broadcast_arrays(np.cos(up) * np.sin(around), -np.cos(up) * np.cos(around), np.sin(up)), -1)
    surface = HEAD_CENTER + RADIUS * direction.reshape(-1, 3)
    faces = grid_faces(N_ROWS, N_COLUMNS, closed=True)[:, ::-1]
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    a, b, c = (surface[triangles[:, k]] for k in range(3))
    body = Body(
        template=surface, targets=np.zeros((0, 0), np.float32), labels=(), phenotype_mask=np.zeros((0, 0)),
        phenotypes={}, surface_vertices=np.arange(len(surface)), subdivide=sp.identity(len(surface)), faces=faces,
        surface=surface, regions={}, groups={}, triangles=triangles,
        triangle_area=np.linalg.norm(np.cross(b - a, c - a), axis=1),
    )  # fmt: skip
    eyes = ((HEAD_CENTER, 0.01), (HEAD_CENTER, 0.01))
    return body, Head(surface, surface, vertex_normals(surface, faces), np.eye(3), eyes)


def test_the_ball_s_normals_point_outward() -> None:
    body, head = ball()
    outward = (body.surface - HEAD_CENTER) / RADIUS
    assert ((head.normals * outward).sum(axis=1)[N_COLUMNS:-N_COLUMNS] > 0.99).all()


def test_points_are_pushed_out_of_the_skin_to_the_margin_and_those_over_it_stay() -> None:
    _, head = ball()
    skin = Surface(head.vertices, head.normals)
    front = HEAD_CENTER + np.array([[0, -0.095, 0], [0, -0.13, 0]])
    moved = skin.push_out(front, 0.005)
    assert np.linalg.norm(moved[0] - HEAD_CENTER) == pytest.approx(RADIUS + 0.005, abs=1e-4)
    np.testing.assert_allclose(moved[1], front[1])


def test_perpendiculars_stand_at_right_angles_to_the_strand_and_each_other() -> None:
    direction = np.array([[0, 0, 1.0], [1, 0, 0], [0.6, 0.8, 0]])
    first, second = perpendiculars(direction)
    for a, b in ((direction, first), (direction, second), (first, second)):
        np.testing.assert_allclose((a * b).sum(axis=1), 0, atol=1e-12)


def test_roots_lie_on_the_skin_where_the_density_is_and_nowhere_else() -> None:
    body, head = ball()
    density = (elevation_deg(body.surface) > 45).astype(float)
    roots = sample_roots(body, head, density, 500, np.random.default_rng(0))
    assert roots is not None
    assert elevation_deg(roots.template).min() > 38
    np.testing.assert_allclose(np.linalg.norm(roots.place - HEAD_CENTER, axis=1), RADIUS, rtol=0.01)
    assert sample_roots(body, head, np.zeros(len(density)), 5, np.random.default_rng(0)) is None


def test_roots_are_spread_by_area() -> None:
    """Above 30 degrees lies a quarter of a sphere."""
    body, head = ball()
    roots = sample_roots(body, head, np.ones(len(body.surface)), 4000, np.random.default_rng(1))
    assert roots is not None
    assert np.mean(elevation_deg(roots.template) > 30) == pytest.approx(0.25, abs=0.03)


def test_the_hull_of_a_ball_is_a_ball() -> None:
    body, head = ball()
    shell = hull(body, head, 3, 1.0)
    np.testing.assert_allclose(np.linalg.norm(shell.points - HEAD_CENTER, axis=-1), RADIUS, rtol=0.02)


def test_angles_of_points_on_a_ball_are_their_azimuth_and_elevation() -> None:
    body, head = ball()
    diagonal = RADIUS / np.sqrt(2)
    points = HEAD_CENTER + np.array([[0, -RADIUS, 0], [diagonal, -diagonal, 0], [0, -diagonal, diagonal]])
    np.testing.assert_allclose(angles_deg(body, head, points), [[0, 0], [45, 0], [0, 45]], atol=2)


def test_hair_that_roots_over_the_limit_is_taken_off() -> None:
    body, head = ball()
    elevation = elevation_deg(body.surface)
    points = np.stack([head.vertices, head.vertices + 0.01 * head.normals], axis=1)
    groom = Groom([Strands(points, np.full((len(points), 2), 1e-4))], np.ones(len(points)))
    left = trim(groom, body, head, 20.0).strands[0].points
    assert len(left) == (elevation < 20).sum()
    assert trim(groom, body, head, -90.0).strands == []
    assert trim(groom, body, head, 90.0) is groom


def test_only_strands_before_the_middle_of_the_face_cross_it() -> None:
    body, head = ball()
    ahead, level = np.array([0, -RADIUS - 0.005, -0.01]), np.array([RADIUS + 0.005, 0, 0])
    strands = HEAD_CENTER + np.stack([np.stack([p - [0, 0, 0.01 * k] for k in range(4)]) for p in (ahead, level)])
    assert crosses_face(body, head, strands).tolist() == [True, False]


def test_backdrops_have_the_size_and_range_asked_for_and_all_kinds_come_up() -> None:
    kinds = set()
    for seed in range(40):
        picture, kind = sample_backdrop(24, np.random.default_rng(seed))
        assert picture.shape == (24, 24, 3)
        assert 0 <= picture.min() <= picture.max() <= 1.2
        kinds.add(kind)
    assert kinds == {"wall", "indoor", "outdoor", "bokeh", "dark"}


def test_a_missing_body_model_is_named_with_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="export_body"):
        load_body(tmp_path / "body.npz")
