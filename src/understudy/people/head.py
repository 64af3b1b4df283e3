"""One whole head from its attributes: shape, skin, hair and what it wears, ready for a renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.people.body import Body, elevation_deg
from understudy.people.clothes import build_garment
from understudy.people.eyes import build_eyes, build_mouth
from understudy.people.face_hair import beard_density, build_beard, build_brows, build_lashes
from understudy.people.fields import Floats, ValueNoise
from understudy.people.hair import Groom, build_hair
from understudy.people.haircolor import HairColor, hair_color
from understudy.people.parts import HairMaterial, Material, Mesh, Model, Tufts, hair_material
from understudy.people.persona import Persona, generator
from understudy.people.shape import Head, build_head
from understudy.people.skin import Skin, build_skin
from understudy.people.strands import Strands
from understudy.people.wear import build_worn

SHAPE, SKIN, HAIR, FACE_HAIR, EYES, CLOTHES, WORN, COLOR = range(10, 18)
"""Streams of random numbers: a change of one part leaves the others as they were."""


@dataclass(frozen=True)
class Figure:
    """The model of one head and its posed shape."""

    head: Head
    model: Model
    hair: HairColor


def build_figure(body: Body, persona: Persona) -> Figure:
    """Everything about one head but the light and the camera."""

    def stream(part: int) -> np.random.Generator:
        return generator(persona.seed, part, persona.index)

    head = build_head(body, persona, stream(SHAPE))
    color = hair_color(persona, stream(COLOR))
    face_rng = stream(FACE_HAIR)
    beard_place = beard_density(body, persona.beard, ValueNoise(face_rng))
    skin = build_skin(body, persona, head, color, beard_place, stream(SKIN))
    brows = build_brows(body, persona, head, face_rng)
    lashes = build_lashes(body, persona, head, face_rng)
    beard = build_beard(persona, body, head, beard_place, face_rng)
    worn = build_worn(persona, body, head, skin.albedo, stream(WORN))
    groom = build_hair(body, persona, head, stream(HAIR))
    groom = trim(groom, body, head, worn.hair_below_deg)
    strand_rough = 0.2 + 0.2 * float(face_rng.random())
    of_head = hair_material(color, strand_rough)
    of_brows = hair_material(color, 0.32, 0.1 + 0.5 * color.grey)
    tufts = [
        Tufts("hair", groom.strands, of_head),
        Tufts("brows", [brows.strands] if brows.strands else [], of_brows),
        Tufts("lashes", lashes, HairMaterial(0.97, 0.2, 0.32, region=(0, 0, 0))),
        Tufts("beard", [beard] if beard else [], of_head),
        *worn.tufts,
    ]
    meshes = [
        skin_mesh(body, head, skin, groom, brows.density, color, face_rng),
        build_garment(body, head, stream(CLOTHES)),
        *build_mouth(body, persona, head, stream(EYES)),
        *worn.meshes,
    ]
    return Figure(head, Model(meshes, tufts, build_eyes(persona, head, color, stream(EYES))), color)


def skin_mesh(
    body: Body, head: Head, skin: Skin, groom: Groom, brows: Floats, color: HairColor, rng: np.random.Generator
) -> Mesh:
    """The skin, tinted under hair and brows."""
    scalp = (groom.scalp * (0.96 if groom.strands else 0.5))[:, None]
    albedo = skin.albedo * (1 - scalp) + scalp * (0.3 * color.color + 0.12 * skin.albedo)
    under = (brows * 0.6)[:, None]
    tint = (1 - 0.7 * color.grey) * color.color + 0.1 * albedo
    albedo = albedo * (1 - under) + under * np.minimum(tint, 0.75 * albedo)
    material = Material(
        roughness=None, specular=0.37, subsurface=0.45, subsurface_radius=(1, 0.28, 0.14), subsurface_scale_m=0.0035,
        pores=float(rng.uniform(0.3, 0.8)), region=None,
    )  # fmt: skip
    region = np.stack([body.regions["face"], np.zeros(len(albedo)), np.ones(len(albedo))], axis=1)
    return Mesh("skin", head.vertices, body.faces, material, albedo, {"roughness": skin.roughness}, region)


def trim(groom: Groom, body: Body, head: Head, below_deg: float) -> Groom:
    """Take off strands that root over a limit of elevation, as under a cap."""
    if below_deg >= 90:
        return groom
    if below_deg <= -90:
        return Groom([], groom.scalp)
    from scipy.spatial import cKDTree

    tree = cKDTree(head.vertices)
    kept = []
    for strands in groom.strands:
        root = body.surface[tree.query(strands.points[:, 0])[1]]
        low = elevation_deg(root) < below_deg
        if low.any():
            kept.append(Strands(strands.points[low], strands.radius[low]))
    return Groom(kept, groom.scalp)
