"""Eyes and teeth."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from understudy.people.body import Body
from understudy.people.fields import Floats, linear_from_srgb, smooth_step
from understudy.people.haircolor import HairColor
from understudy.people.parts import Eyeball, Material, Mesh, compact, grid_faces
from understudy.people.persona import Persona
from understudy.people.shape import Head

IRISES = linear_from_srgb(
    [
        (74, 44, 24), (60, 36, 22), (96, 62, 34), (120, 86, 50), (110, 104, 66), (84, 102, 80), (82, 102, 118),
        (100, 120, 136), (112, 118, 122),
    ]
)  # fmt: skip
SHARES_OF_FAIR = (0.30, 0.25, 0.12, 0.10, 0.06, 0.05, 0.05, 0.05, 0.02)
SHARES_OF_DARK = (0.44, 0.40, 0.12, 0.03, 0.01, 0.0, 0.0, 0.0, 0.0)
SHARES_OF_DEEP = (0.35, 0.65, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
BROWN_FROM = 0.5
"""Melanin over which eyes are brown, whatever the hair."""
IRIS_RAD = 0.43
"""Half angle of the iris: the model's eyeballs are too large for its size in millimetres."""
N_RINGS, N_SECTORS = 48, 56


def eye_mesh(radius: float, iris: Floats, pupil: float, sclera_share: float, rng: np.random.Generator) -> Mesh:
    """A ball with cornea, iris, pupil and limbal ring, looking along -y; its white is so much of a light head's."""
    polar = np.pi * np.linspace(0, 1, N_RINGS) ** 1.5
    theta, phi = np.meshgrid(polar, np.linspace(0, 2 * np.pi, N_SECTORS, endpoint=False), indexing="ij")
    t = theta / IRIS_RAD
    bulge = 1 + 0.05 * np.clip(1 - (t / 1.15) ** 2, 0, 1)
    direction = np.stack([np.sin(theta) * np.cos(phi), -np.cos(theta), np.sin(theta) * np.sin(phi)], -1)
    vertices = (radius * 0.985 * bulge)[..., None] * direction
    fibres = 1 + 0.35 * rng.normal(size=N_SECTORS)[None] * np.clip(t, 0, 1)
    fibres = np.clip(gaussian_filter(fibres, (0, 0.7), mode="wrap"), 0.4, 1.8)
    color = iris[None, None] * fibres[..., None] * (1.25 - 0.45 * t**3)[..., None]
    color = color * (1 + 0.5 * np.exp(-(((t - pupil - 0.12) / 0.12) ** 2))[..., None] * np.array([0.6, 0.3, 0]))
    open_iris = smooth_step(pupil - 0.05, pupil + 0.05, t)[..., None]
    color = color * open_iris + 0.006 * (1 - open_iris)
    color = color * (1 - 0.75 * smooth_step(0.80, 0.98, t)[..., None])
    sclera = np.array([0.60, 0.57, 0.55]) * (1 - 0.1 * rng.random())
    sclera = sclera * np.exp(-np.clip((t - 1.7) * 0.35, 0, 1)[..., None] * np.array([0.1, 0.55, 0.55]))
    white = smooth_step(0.97, 1.08, t)[..., None]
    color = np.clip(color * (1 - white) + sclera * white, 0.003, 0.9)
    color = color * (1 - (1 - sclera_share) * white)
    wet = Material(roughness=0.12, specular=0.4 * sclera_share, coat=0.45 * sclera_share, subsurface=0.15)
    return Mesh("eye", vertices.reshape(-1, 3), grid_faces(N_RINGS, N_SECTORS, closed=True), wet, color.reshape(-1, 3))


def iris_shares(persona: Persona, hair: HairColor) -> tuple[float, ...]:
    """Shares of the colours of ``IRISES``: light ones with light skin and hair only, deep brown with deep skin."""
    if persona.melanin > BROWN_FROM:
        return SHARES_OF_DEEP
    return SHARES_OF_DARK if hair.melanin + hair.grey > 0.7 or persona.melanin > 0.35 else SHARES_OF_FAIR


def build_eyes(persona: Persona, head: Head, hair: HairColor, rng: np.random.Generator) -> list[Eyeball]:
    """Both eyes: one colour, one pupil; light irises only with light hair and skin."""
    iris = (
        IRISES[rng.choice(len(IRISES), p=iris_shares(persona, hair))]
        * rng.uniform(0.8, 1.2)
        * (1 - 0.5 * persona.melanin)
    )
    pupil = rng.uniform(0.28, 0.5)
    return [
        Eyeball(eye_mesh(radius, iris, pupil, 1 - 0.6 * persona.melanin, rng), center) for center, radius in head.eyes
    ]


def behind_skin(body: Body, head: Head, vertices: Floats) -> Floats:
    """Vertices pushed in until they lie 2 mm under the outer skin: teeth follow the jaw, but not every detail of it."""
    outer = (body.regions["inside_mouth"] < 0.3) & (body.regions["lips"] < 0.3) & (body.radius_m < 0.16)
    skin, normals = head.vertices[outer], head.normals[outer]
    at = cKDTree(skin).query(vertices)[1]
    over = np.clip(((vertices - skin[at]) * normals[at]).sum(axis=1) + 0.002, 0, 0.02)
    return np.asarray(vertices - over[:, None] * normals[at])


def build_mouth(body: Body, persona: Persona, head: Head, rng: np.random.Generator) -> list[Mesh]:
    """Teeth and tongue of the model."""
    yellow = 1 - 0.08 * np.clip((persona.age - 30) / 60, 0, 1) * np.array([0.3, 0.7, 1.6])
    tooth = np.clip(np.array([0.95, 0.90, 0.82]) * rng.uniform(0.92, 1.03) * yellow, 0, 0.95)
    enamel = Material(color=(tooth[0], tooth[1], tooth[2]), roughness=0.22, glow=0.16 * (1 - 0.5 * persona.melanin))
    meshes = []
    for row in ("upper", "lower"):
        vertices, faces, _ = compact(head.cage, body.groups[f"helper-{row}-teeth"])
        shift = np.array([0.0, -0.0035, -0.0025]) if row == "upper" else np.array([0.0, -0.001, -0.001])
        vertices = behind_skin(body, head, vertices + head.to_world(shift))
        meshes.append(Mesh("teeth", vertices, faces, enamel))
    vertices, faces, _ = compact(head.cage, body.groups["helper-tongue"])
    flesh = Material(color=(0.42, 0.13, 0.12), roughness=0.35, subsurface=0.3)
    return [*meshes, Mesh("tongue", vertices, faces, flesh)]
