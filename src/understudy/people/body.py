"""The body model's arrays: template head and shoulders, morph targets, regions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from understudy.errors import MissingWeightsError
from understudy.people.fields import Floats, smooth_step, unit

Ints = NDArray[np.int64]

HEAD_CENTER = np.array([0.0, -0.055, 0.74])
"""Of the template's head, metres; x to the subject's left, -y to the front, z up."""
OPPOSITES = (
    ("incr", "decr"),
    ("up", "down"),
    ("out", "in"),
    ("forward", "backward"),
    ("round", "square"),
    ("triangle", "pointed"),
    ("convex", "concave"),
    ("uncompress", "compress"),
)
LOCAL = "local_change:"


@dataclass(frozen=True)
class Body:
    """The template in its resting pose; morphs are sums of targets, and the surface is a product with ``subdivide``."""

    template: Floats  # (V, 3) coarse cage with eyes, teeth and tongue
    targets: NDArray[np.float32]  # (L, 3 V)
    labels: tuple[str, ...]
    phenotype_mask: Floats  # (n_phenotypes, P)
    phenotypes: dict[str, list[str]]
    surface_vertices: Ints  # cage vertices of the skin
    subdivide: Any  # sparse (N, len(surface_vertices))
    faces: Ints  # (F, 4) of the subdivided skin
    surface: Floats  # (N, 3) the template's subdivided skin
    regions: dict[str, Floats]  # weight (N,) of lips, face, ears, eyelids, inside_mouth
    groups: dict[str, Ints]  # faces (k, 4) of helpers and joints
    index: dict[str, int] = field(default_factory=dict)
    local_pairs: tuple[tuple[str, str], ...] = ()
    triangles: Ints = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    triangle_area: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def mirrored(self) -> Floats:
        """The surface folded onto its left half, (N, 3)."""
        folded = self.surface.copy()
        folded[:, 0] = np.abs(folded[:, 0])
        return folded

    @property
    def azimuth_deg(self) -> Floats:
        """From the front, 0 to 180."""
        rel = self.surface - HEAD_CENTER
        return np.asarray(np.degrees(np.arctan2(np.abs(rel[:, 0]), -rel[:, 1])))

    @property
    def elevation_deg(self) -> Floats:
        """Over the head's centre, -90 to 90."""
        return elevation_deg(self.surface)

    @property
    def radius_m(self) -> Floats:
        """Distance from the head's centre."""
        return np.asarray(np.linalg.norm(self.surface - HEAD_CENTER, axis=1))

    def group_vertices(self, name: str) -> Ints:
        """Vertices of a helper or joint."""
        return np.unique(self.groups[name])


def elevation_deg(points: Floats) -> Floats:
    """Elevation of template points over the head's centre."""
    rel = points - HEAD_CENTER
    return np.asarray(np.degrees(np.arctan2(rel[:, 2], np.hypot(rel[:, 0], rel[:, 1]))))


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Area-weighted unit normals of a mesh of quads."""
    of_face = np.cross(vertices[faces[:, 2]] - vertices[faces[:, 0]], vertices[faces[:, 3]] - vertices[faces[:, 1]])
    normals = np.zeros_like(vertices)
    for corner in range(4):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, corner], of_face[:, axis], len(vertices))
    return unit(normals)


def opposite_pairs(labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names of local changes that pull one way and the other."""
    names = {label[len(LOCAL) :] for label in labels if label.startswith(LOCAL)}
    pairs = []
    for name in [label[len(LOCAL) :] for label in labels if label.startswith(LOCAL)]:
        for one, other in OPPOSITES:
            if name.endswith("-" + one) and name[: -len(one)] + other in names:
                pairs.append((name, name[: -len(one)] + other))
                break
    return tuple(pairs)


def load_body(path: Path) -> Body:
    """Read what ``understudy.people.export_body`` wrote.

    Raises
    ------
    MissingWeightsError
        Where the file is not there.
    """
    if not path.exists():
        raise MissingWeightsError(
            f"the body model {path} is not there: write it once with "
            f"'python -m understudy.people.export_body {path}' in the render environment"
        )
    with np.load(path) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    subdivide = sp.csr_matrix(
        (data["subdivide_data"], data["subdivide_indices"], data["subdivide_indptr"]), tuple(data["subdivide_shape"])
    )
    labels = tuple(str(label) for label in data["labels"])
    template = data["template"].astype(np.float64)
    surface = subdivide @ template[data["surface_vertices"]]
    faces = data["faces"].astype(np.int64)
    regions = {name[len("region_") :]: v.astype(np.float64) for name, v in data.items() if name.startswith("region_")}
    near_ear = cKDTree(surface[regions["ears"] > 0.5]).query(surface)[0]
    regions["ears"] = np.maximum(regions["ears"], smooth_step(0.007, 0.003, near_ear))
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    a, b, c = (surface[triangles[:, k]] for k in range(3))
    return Body(
        template=template,
        targets=data["targets"].reshape(len(labels), -1),
        labels=labels,
        phenotype_mask=data["phenotype_mask"].astype(np.float64),
        phenotypes=json.loads(str(data["phenotypes"])),
        surface_vertices=data["surface_vertices"],
        subdivide=subdivide,
        faces=faces,
        surface=surface,
        regions=regions,
        groups={name[len("group_") :]: v for name, v in data.items() if name.startswith("group_")},
        index={label: i for i, label in enumerate(labels)},
        local_pairs=opposite_pairs(labels),
        triangles=triangles,
        triangle_area=np.linalg.norm(np.cross(b - a, c - a), axis=1),
    )
