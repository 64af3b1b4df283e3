"""Brows, lashes and beards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.people.body import Body
from understudy.people.fields import Floats, ValueNoise, smooth_step, unit
from understudy.people.persona import Persona
from understudy.people.shape import Head
from understudy.people.strands import Strands, Surface, sample_roots


@dataclass(frozen=True)
class Brows:
    """Strands of both brows and their density on the template (N,)."""

    strands: Strands | None
    density: Floats


def build_brows(body: Body, persona: Persona, head: Head, rng: np.random.Generator) -> Brows:
    """Brows along an arch over each eye."""
    thick = rng.uniform(0.0021, 0.0042) * (0.8 if persona.feminine else 1.2)
    grown = float(smooth_step(5, 18, persona.age))
    thick *= 0.6 + 0.4 * grown
    arch = rng.uniform(0.0008, 0.0034)
    inner, outer = rng.uniform(0.0125, 0.0175), rng.uniform(0.053, 0.059)
    height = 0.7466 + rng.normal(0, 0.001)
    x = np.abs(body.surface[:, 0])
    t = np.clip((x - inner) / (outer - inner), 0, 1)
    line = height + arch * np.sin(np.pi * t**1.5) - 0.005 * smooth_step(0.6, 1, t)
    width = thick * (0.72 + 0.28 * smooth_step(0, 0.3, t) - 0.5 * smooth_step(0.6, 1, t))
    density = np.exp(-(np.abs((body.surface[:, 2] - line) / width) ** 2.6))
    density = density * smooth_step(inner - 0.003, inner + 0.008, x) * smooth_step(outer + 0.002, outer - 0.005, x)
    density = density * (body.surface[:, 1] < -0.10)
    n = int(rng.uniform(420, 760) * (0.85 if persona.feminine else 1.15) * (0.6 + 0.4 * grown))
    roots = sample_roots(body, head, density, n, rng)
    if roots is None:
        return Brows(None, density)
    side = np.sign(roots.template[:, 0])[:, None]
    t = np.clip((np.abs(roots.template[:, 0]) - inner) / (outer - inner), 0, 1)[:, None]
    middle = height + arch * np.sin(np.pi * t**1.5)
    above = np.clip((middle - roots.template[:, 2:3]) / thick, -1, 1)
    rise = 0.9 * (1 - t) ** 1.3 + 0.45 * above - 0.25 * t
    direction = head.to_world(side * np.array([1, 0, 0]) * (0.35 + 0.7 * t) + np.array([0, 0, 1]) * rise)
    direction -= (direction * roots.normal).sum(axis=1, keepdims=True) * roots.normal
    direction = unit(direction + 0.22 * roots.normal + 0.12 * rng.normal(size=direction.shape))
    length = rng.uniform(0.0035, 0.007, n)[:, None, None]
    k = np.linspace(0, 1, 4)[None, :, None]
    points = roots.place[:, None] + direction[:, None] * length * k - roots.normal[:, None] * (0.0009 * k**2)
    return Brows(Strands(points, 0.00011 * np.array([1, 0.9, 0.7, 0.3])[None] * np.ones((n, 1))), density)


def lid_margin(body: Body, head: Head, eye: tuple[Floats, float], upper: bool) -> Floats:
    """Points (n, 3) on the rim of a lid, from one corner to the other; fewer than four where the eye is shut."""
    center, radius = eye
    lid = np.where(body.regions["eyelids"] > 0.2)[0]
    rel = head.vertices[lid] - center
    across, front, up = (rel @ head.rotation[:, k] for k in range(3))
    near = (np.abs(np.linalg.norm(rel, axis=1) - radius) < 0.0016) & (-front > 0.2 * radius)
    column = np.round(across[near] / 0.0012).astype(int)
    lid, up, across = lid[near], up[near], across[near]
    rim = []
    for value in np.unique(column):
        order = np.where(column == value)[0][np.argsort(up[column == value])]
        if len(order) < 2:
            continue
        gaps = np.diff(up[order])
        widest = int(np.argmax(gaps))
        if gaps[widest] >= 0.0015:
            rim.append(order[widest + 1 if upper else widest])
    chosen = np.array(rim, int)
    return head.vertices[lid[chosen[np.argsort(across[chosen])]]] if len(chosen) else np.zeros((0, 3))


def build_lashes(body: Body, persona: Persona, head: Head, rng: np.random.Generator) -> list[Strands]:
    """Lashes along both rims of both eyes."""
    strands = []
    right, front, up = head.rotation[:, 0], -head.rotation[:, 1], head.rotation[:, 2]
    for eye in head.eyes:
        for upper in (True, False):
            rim = lid_margin(body, head, eye, upper)
            if len(rim) < 4:
                continue
            n = 70 if upper else 25
            i = rng.integers(0, len(rim) - 1, n)
            share = rng.random(n)[:, None]
            root = rim[i] * (1 - share) + rim[i + 1] * share
            length = rng.uniform(0.003, 0.0055, n) if upper else rng.uniform(0.0015, 0.003, n)
            length = length * (1.1 if persona.feminine else 0.75)
            outward = ((root - eye[0]) @ right / eye[1])[:, None] * right * 0.5
            direction = front[None] + outward + (0.15 if upper else -0.35) * up[None]
            direction = unit(direction + 0.1 * rng.normal(size=(n, 3)))
            k = np.linspace(0, 1, 5)[None, :, None]
            bend = up * (1 if upper else -0.5)
            grown = root[:, None] + length[:, None, None] * (direction[:, None] * k + bend[None, None] * 0.7 * k**2)
            strands.append(Strands(grown, 0.00006 * np.array([1.3, 1.1, 0.9, 0.6, 0.2])[None] * np.ones((n, 1))))
    return strands


def beard_density(body: Body, beard: str, noise: ValueNoise) -> Floats:
    """Where a beard grows on the template, (N,): under a line from the ear to the mouth, over the lip, off the lips."""
    folded = body.mirrored
    x, y, z = folded.T
    line = np.interp(-y, [0.05, 0.07, 0.10, 0.125, 0.14, 0.16], [0.72, 0.70, 0.672, 0.660, 0.664, 0.668])
    line = line + 0.003 * noise(body.surface, 0.02)
    throat = smooth_step(0.595, 0.615, z)
    jaw = smooth_step(0.004, -0.004, z - line) * smooth_step(0.585, 0.605, z) * (y < -0.045) * throat
    lip = np.exp(-((x / 0.027) ** 4)) * smooth_step(0.6835, 0.6795, z) * (y < -0.12)
    lip = lip * smooth_step(0.664, 0.668, z + 0.25 * x)
    goatee = np.exp(-((x / 0.026) ** 4)) * smooth_step(0.668, 0.655, z) * (y < -0.10) * throat
    if beard == "moustache":
        density = lip
    elif beard == "goatee":
        density = np.maximum(goatee, lip)
    else:
        density = np.maximum(jaw, lip)
    density = density * np.clip(0.8 + 0.45 * noise(body.surface, 0.012, 2), 0.05, 1)
    bare = np.clip(body.regions["ears"], 0, 1)
    density = density * (1 - smooth_step(0.2, 0.6, body.regions["lips"])) * (1 - bare)
    return np.asarray(density * (1 - smooth_step(0.3, 0.7, body.regions["inside_mouth"])))


BEARDS: dict[str, tuple[int, tuple[float, float], int]] = {
    "stubble": (9000, (0.0012, 0.0020), 2),
    "short": (7000, (0.004, 0.010), 4),
    "full": (7500, (0.015, 0.040), 7),
    "moustache": (3500, (0.005, 0.012), 4),
    "goatee": (3500, (0.005, 0.014), 4),
}
"""Strands, length in metres and points of each."""


def build_beard(persona: Persona, body: Body, head: Head, density: Floats, rng: np.random.Generator) -> Strands | None:
    """Strands of a beard, or None where there is none."""
    if persona.beard == "none":
        return None
    n, length_range, n_points = BEARDS[persona.beard]
    roots = sample_roots(body, head, density, n, rng)
    if roots is None:
        return None
    stubble = persona.beard == "stubble"
    down = head.to_world(np.array([0, -0.1, -1.0]))
    over_lip = (roots.template[:, 2] > 0.664) & (np.abs(roots.template[:, 0]) < 0.028)
    outward = np.sign(roots.template[:, :1]) * head.rotation[:, 0][None] * np.where(over_lip, 0.9, 0.1)[:, None]
    direction = down[None] + outward
    direction -= (direction * roots.normal).sum(axis=1, keepdims=True) * roots.normal
    direction = unit(direction + (0.9 if stubble else 0.6) * roots.normal + 0.25 * rng.normal(size=(n, 3)))
    length = rng.uniform(*length_range) * rng.uniform(0.6, 1.15, n)[:, None]
    length = np.where(roots.template[:, 2:3] > 0.664, np.minimum(length, 0.012), length)
    points = np.zeros((n, n_points, 3))
    points[:, 0] = roots.place - roots.normal * 0.0005
    for k in range(1, n_points):
        direction = unit(direction + 0.25 * down + 0.12 * rng.normal(size=(n, 3)))
        points[:, k] = points[:, k - 1] + direction * length / (n_points - 1)
    if not stubble:
        points[:, 1:] = Surface(head.vertices, head.normals).push_out(points[:, 1:], 0.0008)
    return Strands(points, np.full((n, n_points), 0.00012 if stubble else 0.00016))
