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
        (74, 44, 24), (60, 36, 22), (96, 62, 34), (120, 86, 50), (110, 104, 66), (88, 110, 84), (96, 124, 146),
        (120, 146, 170), (128, 134, 138),
    ]
)  # fmt: skip
SHARES_OF_FAIR = (0.30, 0.25, 0.12, 0.10, 0.06, 0.05, 0.05, 0.05, 0.02)
SHARES_OF_DARK = (0.44, 0.40, 0.12, 0.03, 0.01, 0.0, 0.0, 0.0, 0.0)
IRIS_RAD = 0.43
"""Half angle of the iris: the model's eyeballs are too large for its size in millimetres."""
N_RINGS, N_SECTORS = 48, 56


def eye_mesh(radius: float, iris: Floats, pupil: float, rng: np.random.Generator) -> Mesh:
    """A ball with cornea, iris, pupil and limbal ring, looking along -y."""
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
    sclera = np.array([0.55, 0.50, 0.47]) * (1 - 0.15 * rng.random())
    sclera = sclera * np.exp(-np.clip((t - 1.7) * 0.35, 0, 1)[..., None] * np.array([0.1, 0.55, 0.55]))
    white = smooth_step(0.97, 1.08, t)[..., None]
    color = np.clip(color * (1 - white) + sclera * white, 0.003, 0.9)
    wet = Material(roughness=0.12, coat=1.0, subsurface=0.15)
    return Mesh("eye", vertices.reshape(-1, 3), grid_faces(N_RINGS, N_SECTORS, closed=True), wet, color.reshape(-1, 3))


def build_eyes(persona: Persona, head: Head, hair: HairColor, rng: np.random.Generator) -> list[Eyeball]:
    """Both eyes: one colour, one pupil; light irises only with light hair and skin."""
    dark = hair.melanin + hair.grey > 0.7 or persona.melanin > 0.45
    iris = IRISES[rng.choice(len(IRISES), p=SHARES_OF_DARK if dark else SHARES_OF_FAIR)] * rng.uniform(0.8, 1.2)
    pupil = rng.uniform(0.28, 0.5)
    return [Eyeball(eye_mesh(radius, iris, pupil, rng), center) for center, radius in head.eyes]


def behind_skin(body: Body, head: Head, vertices: Floats) -> Floats:
    """Vertices pushed in until they lie 2 mm under the outer skin: teeth follow the jaw, but not every detail of it."""
    outer = (body.regions["inside_mouth"] < 0.3) & (body.regions["lips"] < 0.3) & (body.radius_m < 0.16)
    skin, normals = head.vertices[outer], head.normals[outer]
    at = cKDTree(skin).query(vertices)[1]
    over = np.clip(((vertices - skin[at]) * normals[at]).sum(axis=1) + 0.002, 0, 0.02)
    return np.asarray(vertices - over[:, None] * normals[at])


def build_mouth(body: Body, persona: Persona, head: Head, rng: np.random.Generator) -> list[Mesh]:
    """Teeth and tongue of the model."""
    yellow = 1 - 0.12 * np.clip((persona.age - 30) / 60, 0, 1) * np.array([0.3, 0.7, 1.6])
    tooth = np.clip(np.array([0.93, 0.85, 0.73]) * rng.uniform(0.88, 1.05) * yellow, 0, 0.95)
    enamel = Material(color=(tooth[0], tooth[1], tooth[2]), roughness=0.22, subsurface=0.25)
    meshes = []
    for row in ("upper", "lower"):
        vertices, faces, _ = compact(head.cage, body.groups[f"helper-{row}-teeth"])
        vertices = behind_skin(body, head, vertices)
        meshes.append(Mesh("teeth", vertices, faces, enamel))
    vertices, faces, _ = compact(head.cage, body.groups["helper-tongue"])
    flesh = Material(color=(0.42, 0.13, 0.12), roughness=0.35, subsurface=0.3)
    return [*meshes, Mesh("tongue", vertices, faces, flesh)]
