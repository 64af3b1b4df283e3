"""One dressed person from a persona and a pose, ready for a renderer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from understudy.people.eyes import build_eyes
from understudy.people.face_hair import beard_density, build_beard, build_brows
from understudy.people.fields import ValueNoise
from understudy.people.figure import FigureModel, Posed, pose_figure
from understudy.people.hair import build_hair
from understudy.people.haircolor import hair_color
from understudy.people.head import skin_mesh, trim
from understudy.people.outfit import build_outfit
from understudy.people.parts import HairMaterial, Mesh, Model, Tufts, compact, hair_material
from understudy.people.persona import Persona, generator
from understudy.people.poses import Pose, sample_pose
from understudy.people.skin import build_skin
from understudy.people.wear import Worn, build_worn

POSE, SHAPE, SKIN, HAIR, FACE_HAIR, EYES, CLOTHES, WORN, COLOR = range(50, 59)
"""Streams of random numbers: a change of one part leaves the others as they were."""
HAIR_SHARE = 0.3
"""Of the strands of a head that fills a picture."""
HEADS_ONLY = ("hand", "medical_mask", "headscarf")
"""Worn on heads that are rendered alone: a scarf's hull would reach down to the feet."""
HIDDEN_M = 0.02
"""Skin further than this under cloth is left out, so that it does not come through."""


@dataclass(frozen=True)
class Dressed:
    """The model of one person and its posed body."""

    posed: Posed
    pose: Pose
    model: Model


def build_dressed(model: FigureModel, persona: Persona, pose: Pose | None = None) -> Dressed:
    """Everything about one person but the light and the camera."""

    def stream(part: int) -> np.random.Generator:
        return generator(persona.seed, part, persona.index)

    body = model.body
    if pose is None:
        pose = sample_pose(stream(POSE))
    if persona.worn in HEADS_ONLY:
        persona = replace(persona, worn="none")
    posed = pose_figure(model, persona, pose, stream(SHAPE))
    head = posed.head
    color = hair_color(persona, stream(COLOR))
    face_rng = stream(FACE_HAIR)
    beard_place = beard_density(body, persona.beard, ValueNoise(face_rng))
    skin = build_skin(body, persona, head, color, beard_place, stream(SKIN))
    brows = build_brows(body, persona, head, face_rng)
    beard = build_beard(persona, body, head, beard_place, face_rng)
    worn = Worn() if persona.worn == "none" else build_worn(persona, body, head, skin.albedo, stream(WORN))
    groom = trim(build_hair(body, persona, head, stream(HAIR), HAIR_SHARE), body, head, worn.hair_below_deg)
    outfit = build_outfit(model, persona, posed, pose.stance, stream(CLOTHES))
    of_head: HairMaterial = hair_material(color, 0.3)
    mesh = skin_mesh(body, head, skin, groom, brows.density, color, face_rng)
    faces = model.skin_faces[outfit.hidden[model.skin_faces].min(axis=1) < HIDDEN_M]
    vertices, faces, used = compact(mesh.vertices, faces)
    bare = Mesh(
        mesh.name, vertices, faces, replace(mesh.material, pores=0.0, region=(0, 0, 1)), skin.albedo[used]
        if mesh.colors is None else mesh.colors[used], {name: value[used] for name, value in mesh.values.items()},
    )  # fmt: skip
    tufts = [
        Tufts("hair", groom.strands, of_head),
        Tufts("brows", [brows.strands] if brows.strands else [], of_head),
        Tufts("beard", [beard] if beard else [], of_head),
        *worn.tufts,
    ]
    meshes = [bare, *outfit.meshes, *worn.meshes]
    return Dressed(posed, pose, Model(meshes, tufts, build_eyes(persona, head, color, stream(EYES))))
