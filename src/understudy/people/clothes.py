"""A garment: the body's own surface, a little wider, cut along a neckline."""

from __future__ import annotations

import numpy as np

from understudy.people.body import Body
from understudy.people.fields import Floats, ValueNoise, smooth_step
from understudy.people.parts import Material, Mesh, compact
from understudy.people.persona import pick
from understudy.people.shape import Head

CUTS = ("crew", "v", "turtle", "shirt")


def inside_garment(body: Body, cut: str, rng: np.random.Generator) -> Floats:
    """Signed distance, (N,) metres: over 0 where cloth is."""
    x, y, z = body.surface.T
    radius = np.hypot(x, (y + 0.005) * 0.95)
    front = smooth_step(0.02, -0.05, y)
    ring = 0.592 - front * rng.uniform(0.035, 0.06)
    if cut in ("crew", "v"):
        signed = np.maximum((radius - rng.uniform(0.074, 0.092)) * 0.8, ring - z)
    elif cut == "turtle":
        signed = 0.603 + 0.05 * np.clip(y + 0.03, -0.02, 0.05) - z
    else:
        signed = 0.598 - front * 0.022 - z
    if cut in ("v", "shirt"):
        wedge = np.abs(x) - np.maximum(z - rng.uniform(0.44, 0.50), 0) * rng.uniform(0.30, 0.42)
        signed = np.where(y < -0.02, np.minimum(signed, np.maximum(wedge, -0.02)), signed)
    return np.where((z > 0.615) | (body.radius_m < 0.085), -1, signed)


def cloth_color(points: Floats, rng: np.random.Generator) -> Floats:
    """Plain, striped or checked, (N, 3)."""
    plain = [
        rng.uniform(0.01, 0.06) * np.ones(3),
        rng.uniform(0.3, 0.75) * np.ones(3),
        np.array([0.02, 0.03, 0.08]) * rng.uniform(0.5, 3),
        rng.uniform(0.08, 0.3) * np.array([1, 0.98, 0.95]),
        rng.uniform(0.02, 0.5, 3),
    ]
    color = plain[int(rng.choice(5, p=[0.25, 0.2, 0.2, 0.17, 0.18]))] * np.clip(1 + rng.normal(0, 0.08, 3), 0.5, 1.5)
    colors = np.tile(color, (len(points), 1))
    kind = rng.random()
    if kind < 0.13:
        stripe = np.sin(points[:, 2:] * 2 * np.pi / rng.uniform(0.012, 0.04)) > 0
        other = rng.uniform(0.02, 0.7) * np.clip(1 + rng.normal(0, 0.25, 3), 0.2, 1.8)
        colors = np.where(stripe, colors, other)
    elif kind < 0.17:
        check = np.sin(points[:, :1] * 2 * np.pi / 0.03) * np.sin(points[:, 2:] * 2 * np.pi / 0.03) > 0
        colors = np.where(check, colors, colors * 0.5)
    return np.asarray(colors)


def build_garment(body: Body, head: Head, rng: np.random.Generator) -> Mesh:
    """One garment; its edge is cut by opacity, since cutting by faces tears it."""
    noise = ValueNoise(rng)
    cut = pick(rng, CUTS, (0.45, 0.22, 0.13, 0.2))
    signed = inside_garment(body, cut, rng)
    z = body.surface[:, 2]
    faces = body.faces[(signed[body.faces].max(axis=1) > 0) & (z[body.faces].max(axis=1) < 0.612)]
    _, faces, used = compact(body.surface, faces)
    hem = np.exp(-np.clip(signed[used], 0, 1) / 0.006)
    wide = 0.0045 + 0.0025 * noise(body.surface[used], 0.06, 2) + (0.004 if cut == "turtle" else 0.003 * hem)
    vertices = head.vertices[used] + head.normals[used] * np.maximum(wide, 0.002)[:, None]
    colors = cloth_color(body.surface[used], rng)
    colors = colors * (1 - 0.35 * np.exp(-(((signed[used] - 0.008) / 0.0015) ** 2)))[:, None]
    cloth = Material(roughness=0.85, specular=0.2, sheen=0.15, cut=True, weave_m=0.0015)
    return Mesh("garment", vertices, faces, cloth, np.clip(colors, 0.006, 0.85), {"cut": signed[used]})
