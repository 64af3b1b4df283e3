"""Strands: roots on the skin, collision with it, and frames along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from understudy.people.body import Body
from understudy.people.fields import Floats, unit
from understudy.people.shape import Head


@dataclass(frozen=True)
class Strands:
    """Strands of one length in points, with a radius at each point."""

    points: Floats  # (n, K, 3)
    radius: Floats  # (n, K) metres


@dataclass(frozen=True)
class Roots:
    """Where strands begin."""

    place: Floats  # (n, 3) on the posed skin
    normal: Floats  # (n, 3)
    template: Floats  # (n, 3) the same on the template


def sample_roots(body: Body, head: Head, density: Floats, n: int, rng: np.random.Generator) -> Roots | None:
    """Roots drawn by area times a density (N,) on the template, or None where there is none."""
    weight = body.triangle_area * density[body.triangles].mean(axis=1)
    if weight.sum() < 1e-9:
        return None
    corner = body.triangles[rng.choice(len(weight), n, p=weight / weight.sum())]
    share = rng.dirichlet([1, 1, 1], n)[..., None]
    return Roots(
        place=(head.vertices[corner] * share).sum(axis=1),
        normal=unit((head.normals[corner] * share).sum(axis=1)),
        template=(body.surface[corner] * share).sum(axis=1),
    )


class Surface:
    """Skin that strands are pushed out of."""

    def __init__(self, vertices: Floats, normals: Floats) -> None:
        self.vertices, self.normals = vertices, normals
        self.tree = cKDTree(vertices)

    def nearest(self, points: Floats) -> np.ndarray:
        """Index of the nearest vertex to each point (..., 3)."""
        return np.asarray(self.tree.query(points.reshape(-1, 3), workers=1)[1]).reshape(points.shape[:-1])

    def push_out(self, points: Floats, margin: float | Floats) -> Floats:
        """Points (..., 3) moved along the normal until they lie ``margin`` over the skin."""
        i = self.nearest(points)
        distance = ((points - self.vertices[i]) * self.normals[i]).sum(axis=-1)
        short = (distance < margin) & (distance > -0.05)
        lift = np.where(short, margin - distance, 0)
        return np.asarray(points + lift[..., None] * self.normals[i])


def perpendiculars(directions: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors across each direction (..., 3)."""
    axis = np.where(np.abs(directions[..., 2:3]) < 0.9, np.array([0, 0, 1.0]), np.array([1.0, 0, 0]))
    first = unit(np.cross(directions, axis))
    return first, np.cross(directions, first)
