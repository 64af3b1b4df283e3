"""What a scene is made of: meshes, strands and their materials, apart from any renderer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.people.fields import Floats
from understudy.people.haircolor import HairColor
from understudy.people.strands import Strands


@dataclass(frozen=True)
class Material:
    """A principled surface; ``color`` None reads the mesh's ``albedo`` attribute."""

    color: tuple[float, float, float] | None = None
    roughness: float | None = 0.5  # None reads the mesh's attribute
    specular: float = 0.5
    coat: float = 0.0
    subsurface: float = 0.0
    subsurface_radius: tuple[float, float, float] = (1.0, 0.5, 0.4)
    subsurface_scale_m: float = 0.002
    sheen: float = 0.0
    opacity: float = 1.0
    cut: bool = False  # transparent where the mesh's ``cut`` attribute is under 0
    glow: float = 0.0  # light of its own, of its colour: what a lip's shadow would hide
    pores: float = 0.0  # strength of the fine bumps of skin
    weave_m: float = 0.0  # period of the fine bumps of cloth
    region: tuple[float, float, float] | None = (0.0, 0.0, 0.0)  # face, hair, skin; None reads the attribute
    worn: float = 0.0


@dataclass(frozen=True)
class HairMaterial:
    """Hair by its melanin."""

    melanin: float
    redness: float
    roughness: float = 0.32
    region: tuple[float, float, float] = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Mesh:
    """Polygons with attributes at their vertices."""

    name: str
    vertices: Floats  # (N, 3)
    faces: NDArray[np.integer]  # (F, 3) or (F, 4)
    material: Material
    colors: Floats | None = None  # (N, 3) linear
    values: dict[str, Floats] = field(default_factory=dict)  # (N,) each
    region: Floats | None = None  # (N, 3) face, hair, skin
    smooth: bool = True


@dataclass(frozen=True)
class Tufts:
    """Strands that share a material."""

    name: str
    strands: list[Strands]
    material: HairMaterial | Material


@dataclass(frozen=True)
class Eyeball:
    """An eye about its own centre, looking along -y; each view turns it."""

    mesh: Mesh
    center: Floats  # (3,)


@dataclass(frozen=True)
class Model:
    """One head ready for a renderer."""

    meshes: list[Mesh]
    tufts: list[Tufts]
    eyes: list[Eyeball]


def hair_material(color: HairColor, roughness: float, darker: float = 0.0) -> HairMaterial:
    """The shader's values of a colour; ``darker`` is added to its melanin, as in brows."""
    return HairMaterial(min(1.0, color.melanin + darker), color.redness, roughness)


def compact(vertices: Floats, faces: NDArray[np.integer]) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Vertices that the faces use, the faces renumbered, and the vertices' old numbers."""
    used, inverse = np.unique(faces, return_inverse=True)
    return vertices[used], inverse.reshape(faces.shape), used


def grid_faces(n_rows: int, n_columns: int, closed: bool = False) -> NDArray[np.int64]:
    """Quads (F, 4) of a grid of vertices in rows; ``closed`` joins the last column to the first."""
    i = np.arange(n_rows - 1)[:, None] * n_columns
    j = np.arange(n_columns if closed else n_columns - 1)[None]
    k = (j + 1) % n_columns
    return np.stack([i + j, i + n_columns + j, i + n_columns + k, i + k], -1).reshape(-1, 4)
