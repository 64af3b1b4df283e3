"""Clothes of a whole body by formula: its own surface, smoothed, widened and cut along hems; skirts hang about legs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter1d

from understudy.people.body import Ints, vertex_normals
from understudy.people.clothes import cloth_color, inside_garment
from understudy.people.fields import Floats, ValueNoise, smooth_step
from understudy.people.figure import ARM, FOOT, HAND, LEG, FigureModel, Posed, leg_place, sleeve_place
from understudy.people.parts import Material, Mesh, compact, grid_faces
from understudy.people.persona import Persona, pick

ARM_M, LEG_M = 0.52, 0.80
"""Lengths of the template's arm and leg: a share of them times this is about metres."""
SOLE_Z, SOLE_M = -0.915, 0.014
TOPS = ("tee", "long", "polo", "hoodie", "jacket", "coat", "vest")
TOP_SHARES = (0.30, 0.26, 0.08, 0.12, 0.13, 0.07, 0.04)
JEANS = np.array([0.022, 0.045, 0.11])
TROUSERS = (
    JEANS, 2.6 * JEANS, np.array([0.012, 0.012, 0.014]), np.array([0.03, 0.04, 0.075]), np.array([0.30, 0.22, 0.13]),
    np.array([0.09, 0.09, 0.095]), np.array([0.07, 0.08, 0.045]), np.array([0.5, 0.47, 0.42]),
)  # fmt: skip
TROUSER_SHARES = (0.24, 0.12, 0.22, 0.12, 0.11, 0.10, 0.05, 0.04)
SHOES = (
    (0.01, 0.01, 0.01),
    (0.06, 0.03, 0.015),
    (0.6, 0.6, 0.58),
    (0.12, 0.12, 0.13),
    (0.03, 0.04, 0.09),
    (0.3, 0.05, 0.05),
)
N_LEVELS, N_AROUND = 28, 72


@dataclass(frozen=True)
class Places:
    """Where the template's vertices lie on arms, legs and trunk."""

    sleeve: Floats  # (V,) 0 shoulder, 1 wrist
    leg: Floats  # (V,) 0 hip, 1 ankle
    arm: Floats  # (V,) share of the arms' bones
    hand: Floats
    legs: Floats
    foot: Floats
    waist_z: float
    hip_z: float


@dataclass(frozen=True)
class Outfit:
    """What somebody wears: meshes, and where the skin is hidden under them (V,)."""

    meshes: list[Mesh]
    hidden: Floats


def body_places(model: FigureModel) -> Places:
    """Coordinates of the template that hems are given in."""
    return Places(
        sleeve=sleeve_place(model),
        leg=leg_place(model),
        arm=model.share(ARM),
        hand=model.share(HAND),
        legs=model.share(LEG),
        foot=model.share(FOOT),
        waist_z=float(model.bone_heads[model.bone("spine04")][2]),
        hip_z=float(model.bone_heads[model.bone("upperleg01.L")][2]),
    )


def smoothed(vertices: Floats, faces: Ints, n: int) -> Floats:
    """Vertices moved towards their neighbours' mean ``n`` times: cloth does not follow every hollow."""
    rows = np.concatenate([faces.ravel(), np.roll(faces, -1, axis=1).ravel()])
    columns = np.concatenate([np.roll(faces, -1, axis=1).ravel(), faces.ravel()])
    graph = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(vertices), len(vertices)))
    graph.data[:] = 1
    mean = sp.diags(1 / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1)) @ graph
    for _ in range(n):
        vertices = 0.35 * vertices + 0.65 * (mean @ vertices)
    return np.asarray(vertices)


def worn_surface(
    model: FigureModel, posed: Posed, signed: Floats, wide: Floats, smooth: int, folds: Floats
) -> tuple[Floats, Ints, Ints]:
    """The body's surface where ``signed`` is positive, smoothed, ``wide`` metres off the skin.

    Returns
    -------
    vertices (N, 3), faces (F, 3), old numbers of the vertices (N,)
    """
    faces = model.skin_faces
    _, faces, used = compact(model.body.surface, faces[signed[faces].max(axis=1) > -0.03])
    skin, normals = posed.head.vertices[used], posed.head.normals[used]
    soft = smoothed(skin, faces, smooth)
    quads = np.concatenate([faces, faces[:, 2:]], axis=1)
    out = vertex_normals(soft, quads)
    vertices = soft + out * (wide[used] + folds[used])[:, None]
    short = np.maximum(0.45 * wide[used] - ((vertices - skin) * normals).sum(axis=1), 0)
    return vertices + np.minimum(short, 0.05)[:, None] * normals, faces, used


def cloth_folds(model: FigureModel, place: Places, noise: ValueNoise, depth: float) -> Floats:
    """Displacement (V,) by folds: along the limbs, deeper at elbows, knees and the crotch."""
    points = model.body.surface * np.array([1, 1, 0.45])
    bends = np.exp(-(((place.sleeve - 0.5) / 0.16) ** 2)) * place.arm
    bends = bends + np.exp(-(((place.leg - 0.5) / 0.13) ** 2)) * place.legs
    bends = bends + np.exp(-(((place.leg - 0.02) / 0.08) ** 2)) + 0.8 * smooth_step(0.86, 1.0, place.leg) * place.legs
    across = model.body.surface * np.array([0.5, 0.5, 1.6])
    return np.asarray(depth * (0.7 * noise(points, 0.055, 2) + bends * noise(across, 0.05, 2)))


def _cloth(rng: np.random.Generator, rough: float = 0.85) -> Material:
    return Material(
        roughness=float(np.clip(rough + rng.normal(0, 0.05), 0.3, 0.95)), specular=0.2, sheen=0.12, cut=True,
        weave_m=float(rng.uniform(0.002, 0.004)), worn=1.0,
    )  # fmt: skip


def _edge_shade(signed: Floats) -> Floats:
    return np.asarray(1 - 0.3 * np.exp(-(((signed - 0.012) / 0.004) ** 2)))


def trousers(model: FigureModel, posed: Posed, place: Places, rng: np.random.Generator) -> tuple[Mesh, Floats]:
    """Trousers or shorts, and their signed distance (V,)."""
    noise = ValueNoise(rng)
    length = 1.02 if rng.random() < 0.84 else float(rng.uniform(0.38, 0.62))
    waist = place.waist_z + rng.uniform(-0.05, 0.0)
    signed = np.minimum(waist - model.body.surface[:, 2], (length - place.leg) * LEG_M)
    signed = np.where((place.arm > 0.3) | (place.foot > 0.6), -1, signed)
    slim, hem = rng.uniform(0.007, 0.014), rng.uniform(0.006, 0.035)
    wide = slim + hem * smooth_step(0.0, 1.0, place.leg) * place.legs
    vertices, faces, used = worn_surface(model, posed, signed, wide, 5, cloth_folds(model, place, noise, 0.0045))
    color = TROUSERS[int(rng.choice(len(TROUSERS), p=TROUSER_SHARES))] * np.clip(1 + rng.normal(0, 0.15, 3), 0.5, 1.6)
    worn_down = 1 + 0.25 * noise(model.body.surface[used], 0.12) * (color[2] > 1.5 * color[0])
    seam = 1 - 0.3 * np.exp(-((np.abs(model.body.surface[used, 0]) / 0.006) ** 2))
    colors = color[None] * (np.clip(worn_down, 0.6, 1.7) * _edge_shade(signed[used]) * seam)[:, None]
    return Mesh(
        "trousers", vertices, faces, _cloth(rng), np.clip(colors, 0.006, 0.8), {"cut": signed[used]},
    ), signed  # fmt: skip


def top(
    model: FigureModel, posed: Posed, place: Places, kind: str, rng: np.random.Generator, color: Floats | None = None
) -> tuple[Mesh, Floats]:
    """A shirt, pullover, jacket or coat without its skirt, and its signed distance (V,)."""
    noise, z = ValueNoise(rng), model.body.surface[:, 2]
    outer = kind in ("jacket", "coat", "hoodie", "vest")
    sleeve = {"tee": rng.uniform(0.28, 0.46), "polo": 0.40, "vest": 0.02}.get(kind, rng.uniform(0.92, 1.0))
    sleeve = float(rng.uniform(0.6, 0.75)) if kind == "long" and rng.random() < 0.15 else sleeve
    neck = {"hoodie": "turtle", "jacket": "shirt", "coat": "shirt", "polo": "shirt", "vest": "shirt"}.get(
        kind, pick(rng, ("crew", "v", "turtle", "shirt"), (0.5, 0.2, 0.1, 0.2))
    )
    hem = place.hip_z - rng.uniform(-0.02, 0.06) - (0.04 if outer else 0)
    signed = np.minimum(inside_garment(model.body, neck, rng), z - hem)
    signed = np.minimum(signed, np.where(place.arm > 0.25, (sleeve - place.sleeve) * ARM_M, 1))
    signed = np.where(place.hand > 0.7, -1, signed)
    wide: Floats = np.full(len(z), rng.uniform(0.008, 0.022) + (0.016 if outer else 0))
    wide = wide + rng.uniform(0, 0.02) * smooth_step(0.45, 0.0, z) * (1 - place.arm)
    wide = wide + 0.006 * smooth_step(0.1, -0.05, z - hem)
    folds = cloth_folds(model, place, noise, 0.0055 if outer else 0.004)
    vertices, faces, used = worn_surface(model, posed, signed, np.asarray(wide), 7 if outer else 5, folds)
    points = model.body.surface[used]
    colors = cloth_color(points * np.array([1, 1, 0.4]), rng) if color is None else np.tile(color, (len(points), 1))
    if kind in ("jacket", "coat", "vest"):
        opening = np.abs(points[:, 0] - 0.006) < 0.004
        colors = colors * np.where(opening & (points[:, 1] < 0), 0.45, 1.0)[:, None]
    elif kind == "tee" and rng.random() < 0.15:
        print_ = (np.hypot(points[:, 0] / 0.09, (points[:, 2] - 0.34) / 0.08) < 1) & (points[:, 1] < -0.05)
        colors = np.where((print_ & (noise(points, 0.02) > 0))[:, None], rng.uniform(0.02, 0.7, 3), colors)
    colors = colors * _edge_shade(signed[used])[:, None]
    rough = 0.5 if kind == "jacket" and rng.random() < 0.3 else 0.85
    return Mesh(kind, vertices, faces, _cloth(rng, rough), np.clip(colors, 0.006, 0.85), {"cut": signed[used]}), signed


def skirt(
    model: FigureModel,
    posed: Posed,
    place: Places,
    rng: np.random.Generator,
    color: Floats,
    *,
    begin: float,
    hem: float,
) -> Mesh:
    """Cloth that hangs about hips and legs from ``begin`` (template's height, m) to the leg's place ``hem``."""
    noise_phase = rng.uniform(0, 2 * np.pi, 2)
    chosen = (place.arm < 0.3) & (place.leg < hem) & (model.body.surface[:, 2] < begin + 0.03)
    points = posed.head.vertices[chosen]
    low, high = float(points[:, 2].min()), float(points[:, 2].max())
    z = np.linspace(high, low, N_LEVELS)
    center = points[points[:, 2] > high - 0.12][:, :2].mean(axis=0)
    angle = np.linspace(0, 2 * np.pi, N_AROUND, endpoint=False)
    axes = np.stack([np.cos(angle), np.sin(angle)])
    flare, slack = rng.uniform(0.0, 0.45), rng.uniform(0.008, 0.02)
    radius = np.zeros((N_LEVELS, N_AROUND))
    step = (high - low) / (N_LEVELS - 1)
    for k, height in enumerate(z):
        slab = points[np.abs(points[:, 2] - height) < max(0.02, step)]
        reach = ((slab[:, :2] - center) @ axes).max(axis=0) if len(slab) else radius[max(k - 1, 0)]
        before = radius[k - 1] + (flare * step if k > 3 else 0) if k else reach + slack
        radius[k] = (
            np.maximum(reach + slack, before) if k < 10 or flare > 0.06 else np.maximum(reach + slack, 0.97 * before)
        )
    radius = gaussian_filter1d(gaussian_filter1d(radius, 1.5, axis=1, mode="wrap"), 1.0, axis=0)
    n_folds = int(rng.integers(7, 15))
    depth = np.linspace(0, 1, N_LEVELS)[:, None] ** 1.5 * (0.004 + 0.035 * flare)
    radius = radius + depth * np.sin(n_folds * angle + noise_phase[0])[None]
    vertices = np.stack(
        [center[0] + radius * axes[0], center[1] + radius * axes[1], np.broadcast_to(z[:, None], radius.shape)], axis=-1
    ).reshape(-1, 3)
    colors = np.tile(color, (len(vertices), 1)) if color.ndim == 1 else color
    material = Material(roughness=0.85, specular=0.2, sheen=0.12, weave_m=0.003, worn=1.0)
    return Mesh("skirt", vertices, grid_faces(N_LEVELS, N_AROUND, closed=True), material, np.clip(colors, 0.006, 0.85))


def shoes(model: FigureModel, posed: Posed, place: Places, rng: np.random.Generator) -> tuple[Mesh, Floats]:
    """Shoes or boots: smoothed feet with a sole, and their signed distance (V,)."""
    height = 0.97 if rng.random() < 0.75 else float(rng.uniform(0.72, 0.92))
    signed = np.where(place.legs > 0.5, (place.leg - height) * LEG_M, -1)
    wide = np.full(len(signed), 0.012)
    vertices, faces, used = worn_surface(model, posed, signed, wide, 16, 0 * signed)
    below = model.body.surface[used, 2] < SOLE_Z
    down = posed.rotations[[model.bone("foot.L"), model.bone("foot.R")]] @ np.array([0, 0, -SOLE_M])
    left = model.body.surface[used, :1] > 0
    vertices = vertices + np.where(below[:, None], np.where(left, down[0], down[1]), 0)
    color = np.array(SHOES[int(rng.integers(len(SHOES)))]) * np.clip(1 + rng.normal(0, 0.15, 3), 0.5, 1.5)
    sole = np.full(3, 0.55) if rng.random() < 0.45 else 0.5 * color
    colors = np.where(below[:, None], sole, color)
    leather = Material(roughness=float(rng.uniform(0.35, 0.8)), specular=0.35, cut=True, worn=1.0)
    return Mesh("shoes", vertices, faces, leather, np.clip(colors, 0.006, 0.8), {"cut": signed[used]}), signed


def build_outfit(model: FigureModel, persona: Persona, posed: Posed, stance: str, rng: np.random.Generator) -> Outfit:
    """Everything worn from the neck down."""
    place = body_places(model)
    kind = pick(rng, TOPS, TOP_SHARES)
    footwear, under = shoes(model, posed, place, rng)
    meshes, covered = [footwear], [under]
    skirted = persona.feminine and stance != "sit" and rng.random() < 0.34
    dress = skirted and rng.random() < 0.5
    color = cloth_color(model.body.surface[:1], rng)[0]
    if skirted:
        begin = place.waist_z + (0.02 if dress else rng.uniform(-0.04, 0.0))
        meshes.append(skirt(model, posed, place, rng, color, begin=begin, hem=float(rng.uniform(0.28, 0.92))))
        if rng.random() < 0.4:  # leggings under it
            mesh, signed = trousers(model, posed, place, rng)
            meshes.append(mesh)
            covered.append(signed)
    else:
        mesh, signed = trousers(model, posed, place, rng)
        meshes.append(mesh)
        covered.append(signed)
    if kind in ("vest",):
        mesh, signed = top(model, posed, place, "long", rng)
        meshes.append(mesh)
        covered.append(signed)
    mesh, signed = top(model, posed, place, "tee" if dress else kind, rng, color if dress else None)
    meshes.append(mesh)
    covered.append(signed)
    if kind == "coat" and not skirted and stance != "sit":
        shade = mesh.colors if mesh.colors is not None else color[None]
        meshes.append(
            skirt(
                model, posed, place, rng, np.median(shade, axis=0), begin=place.hip_z + 0.06,
                hem=float(rng.uniform(0.2, 0.6)),
            )
        )  # fmt: skip
    return Outfit(meshes, np.maximum.reduce(covered))
