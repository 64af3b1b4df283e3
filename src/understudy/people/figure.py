"""A whole body: the model's arrays, its shape for one persona, and its skin posed by a skeleton."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import identity

from understudy.errors import MissingWeightsError
from understudy.people.body import Body, Ints, vertex_normals
from understudy.people.fields import Floats
from understudy.people.persona import Persona
from understudy.people.poses import Pose, bone_rotations
from understudy.people.shape import Head, phenotype_weights

ARM = ("shoulder01", "upperarm", "lowerarm", "wrist", "finger", "metacarpal")
HAND = ("wrist", "finger", "metacarpal")
LEG = ("upperleg", "lowerleg", "foot", "toe")
FOOT = ("foot", "toe")


@dataclass(frozen=True)
class FigureModel:
    """The body model in its resting pose: arms half raised, x to the subject's left, -y to the front, z up, metres."""

    body: Body
    """The skin alone, as the functions for heads want it: the same coordinates as the head's template."""
    targets: NDArray[np.float16]  # (L, V, 3)
    bone_heads: Floats  # (J, 3)
    bone_targets: NDArray[np.float32]  # (L, J, 3)
    bone_labels: tuple[str, ...]
    bone_parents: Ints  # (J,), -1 = the root
    weights: NDArray[np.float32]  # (V, J)
    keypoints: NDArray[np.float32]  # (17, V) regressors of the COCO keypoints
    skin_faces: Ints  # (F, 3) without the eyeballs

    def bone(self, label: str) -> int:
        """Number of a bone."""
        return self.bone_labels.index(label)

    def share(self, prefixes: tuple[str, ...], side: str = "") -> Floats:
        """Weight (V,) of the bones whose names begin so; ``side`` is "", ".L" or ".R"."""
        chosen = [i for i, name in enumerate(self.bone_labels) if name.startswith(prefixes) and name.endswith(side)]
        return np.asarray(self.weights[:, chosen].sum(axis=1), np.float64)


@dataclass(frozen=True)
class Posed:
    """One persona's body in one pose."""

    head: Head
    """Of the whole skin: vertices, normals, the head's rotation and the eyes."""
    keypoints: Floats  # (17, 3)
    rest_heads: Floats  # (J, 3) joints before the pose
    rotations: Floats  # (J, 3, 3) of every bone


def load_figure(path: Path) -> FigureModel:
    """Read what ``understudy.people.export_figure`` wrote.

    Raises
    ------
    MissingWeightsError
        Where the file is not there.
    """
    if not path.exists():
        raise MissingWeightsError(
            f"the body model {path} is not there: write it once with "
            f"'python -m understudy.people.export_figure {path}' in the render environment"
        )
    with np.load(path) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    n, n_bones = len(data["template"]), len(data["bone_heads"])
    weights = np.zeros((n, n_bones), np.float32)
    np.add.at(weights, (np.arange(n)[:, None], data["bones"]), data["weights"])
    labels = tuple(str(name) for name in data["bone_labels"])
    eyeball = weights[:, [i for i, name in enumerate(labels) if name.startswith("eye.")]].sum(axis=1) > 0.5
    triangles = data["faces"].astype(np.int64)
    skin = triangles[~eyeball[triangles].any(axis=1)]
    return FigureModel(
        body=_skin_body(data, skin),
        targets=data["targets"],
        bone_heads=data["bone_heads"].astype(np.float64),
        bone_targets=data["bone_targets"],
        bone_labels=labels,
        bone_parents=data["bone_parents"].astype(np.int64),
        weights=weights,
        keypoints=data["keypoints"],
        skin_faces=skin,
    )


def _skin_body(data: dict[str, NDArray[np.generic]], triangles: Ints) -> Body:
    """The arrays in the form in which heads have them: a triangle is a quad with a corner twice."""
    surface = np.asarray(data["template"], np.float64)
    a, b, c = (surface[triangles[:, k]] for k in range(3))
    regions = {name[len("region_") :]: np.asarray(v, np.float64) for name, v in data.items() if "region_" in name}
    return Body(
        template=surface,
        targets=np.zeros((0, surface.size), np.float32),
        labels=(),
        phenotype_mask=np.asarray(data["phenotype_mask"], np.float64),
        phenotypes=json.loads(str(data["phenotypes"])),
        surface_vertices=np.arange(len(surface)),
        subdivide=identity(len(surface), format="csr"),
        faces=np.concatenate([triangles, triangles[:, 2:]], axis=1),
        surface=surface,
        regions=regions,
        groups={},
        triangles=triangles,
        triangle_area=np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2),
    )


def pose_figure(model: FigureModel, persona: Persona, pose: Pose, rng: np.random.Generator) -> Posed:
    """The skin of one persona in one pose; linear blend skinning about the joints.

    Magnenat-Thalmann et al. 1988, "Joint-dependent local deformations for hand animation and object grasping".
    """
    weights = phenotype_weights(model.body, persona, rng.uniform(0.25, 0.85), height=float(rng.beta(3, 3)))
    acting = np.flatnonzero(weights > 1e-6)
    chosen = weights[acting].astype(np.float32)
    rest = model.body.template + np.tensordot(chosen, model.targets[acting].astype(np.float32), 1)
    heads = model.bone_heads + np.tensordot(chosen, model.bone_targets[acting], 1)
    rotations = bone_rotations(model.bone_labels, model.bone_parents, heads, pose)
    places = np.zeros_like(heads)
    for j, parent in enumerate(model.bone_parents):
        places[j] = heads[j] if parent < 0 else places[parent] + rotations[parent] @ (heads[j] - heads[parent])
    offsets = places - np.einsum("jab,jb->ja", rotations, heads)
    turn = np.einsum("vj,jab->vab", model.weights, rotations)
    vertices = np.einsum("vab,vb->va", turn, rest) + model.weights @ offsets
    eyes = []
    for label in ("eye.L", "eye.R"):
        ball = vertices[model.weights[:, model.bone(label)] > 0.5]
        center = (ball.max(axis=0) + ball.min(axis=0)) / 2
        eyes.append((center, float(np.linalg.norm(ball - center, axis=1).mean())))
    head = Head(
        cage=vertices,
        vertices=vertices,
        normals=vertex_normals(vertices, model.body.faces),
        rotation=rotations[model.bone("head")],
        eyes=tuple(eyes),
    )
    return Posed(head, np.asarray(model.keypoints @ vertices), heads, rotations)


def sleeve_place(model: FigureModel) -> Floats:
    """How far down its arm a vertex of the template lies, (V,): 0 at the shoulder, 0.5 at the elbow, 1 at the wrist."""
    place = np.zeros(len(model.body.surface))
    for side in (".L", ".R"):
        joints = [model.bone_heads[model.bone(name + side)] for name in ("upperarm01", "lowerarm01", "wrist")]
        along = [
            np.clip(((model.body.surface - a) @ (b - a)) / ((b - a) @ (b - a)), 0, limit)
            for a, b, limit in ((joints[0], joints[1], 1.0), (joints[1], joints[2], 1.6))
        ]
        mine = model.share(ARM, side) > 0.3
        place = np.where(mine, 0.5 * along[0] + 0.5 * along[1], place)
    return np.asarray(place)


def leg_place(model: FigureModel) -> Floats:
    """How far down its leg a vertex of the template lies, (V,): 0 at the hip, 0.5 at the knee, 1 at the ankle."""
    heights = [model.bone_heads[model.bone(name + ".L")][2] for name in ("upperleg01", "lowerleg01", "foot")]
    z = model.body.surface[:, 2]
    sole = float(z.min())
    return np.asarray(np.interp(-z, [-heights[0], -heights[1], -heights[2], -sole], [0, 0.5, 1.0, 1.12]))
