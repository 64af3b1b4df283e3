"""Hair of the head: guide strands grown along a comb field, and clumped children between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from understudy.people.body import Body, elevation_deg
from understudy.people.fields import Floats, ValueNoise, smooth_step, unit
from understudy.people.persona import SHAVEN, Persona
from understudy.people.shape import Head
from understudy.people.strands import Roots, Strands, Surface, perpendiculars, sample_roots

Comb = Literal["crown", "part", "back", "out", "tie"]
Range = tuple[float, float]
N_GUIDES = 900
STRAY_KEPT = 0.04
"""Share of the strands before the face that stay."""
DOWN = np.array([0, 0, -1.0])


@dataclass(frozen=True)
class HairStyle:
    """How one kind of hair grows; ranges are drawn from."""

    comb: Comb
    length: Range  # m
    n: int
    n_points: int
    lift: Range  # share of the skin's normal at the root
    gravity: Range
    clump: Range
    volume: Range = (0.0, 0.0)  # m over the skin
    curl: Range = (0.0, 0.0)  # m, radius
    curl_pitch: Range = (0.010, 0.020)  # m
    radius: float = 0.00024  # m
    tapered: bool = False  # shorter at the sides


STYLES: dict[str, HairStyle] = {
    "buzz": HairStyle("crown", (0.004, 0.010), 16000, 3, (0.9, 0.9), (0, 0), (0, 0), radius=0.00022),
    "receding": HairStyle(
        "crown", (0.008, 0.025), 12000, 5, (0.35, 0.35), (0.1, 0.1), (0.2, 0.2), (0.003, 0.003), radius=0.00022
    ),
    "short": HairStyle(
        "crown", (0.02, 0.05), 15000, 7, (0.3, 0.8), (0.1, 0.35), (0.2, 0.6), (0.004, 0.014), (0, 0.0022), tapered=True
    ),
    "side": HairStyle(
        "part", (0.04, 0.09), 15000, 8, (0.3, 0.6), (0.15, 0.4), (0.3, 0.6), (0.006, 0.016), (0, 0.002), tapered=True
    ),
    "slick": HairStyle(
        "back", (0.06, 0.11), 15000, 8, (0.15, 0.5), (0.12, 0.12), (0.5, 0.5), (0.003, 0.012), tapered=True
    ),
    "curly": HairStyle(
        "crown", (0.03, 0.07), 12000, 14, (0.9, 0.9), (0.1, 0.1), (0.8, 0.8), (0.01, 0.025), (0.003, 0.006),
        tapered=True,
    ),
    "afro": HairStyle(
        "out", (0.02, 0.09), 17000, 14, (1.5, 1.5), (0.02, 0.02), (0.6, 0.6), (0.01, 0.01), (0.002, 0.004),
        radius=0.00026,
    ),
    "long": HairStyle(
        "part", (0.25, 0.42), 13000, 14, (0.3, 0.35), (0.35, 0.6), (0.2, 0.5), (0.006, 0.016), (0, 0.004),
        (0.02, 0.05), radius=0.0003,
    ),
    "wavy": HairStyle(
        "part", (0.22, 0.38), 11000, 20, (0.45, 0.45), (0.35, 0.5), (0.7, 0.7), (0.01, 0.02), (0.005, 0.010),
        (0.02, 0.05), radius=0.0003,
    ),
    "curlylong": HairStyle(
        "part", (0.15, 0.30), 11000, 24, (0.8, 0.8), (0.15, 0.35), (0.8, 0.8), (0.015, 0.035), (0.006, 0.011),
        radius=0.0003,
    ),
    "bob": HairStyle(
        "part", (0.14, 0.21), 15000, 14, (0.4, 0.4), (0.4, 0.6), (0.4, 0.4), (0.010, 0.02), (0, 0.002), radius=0.0003
    ),
    "tied": HairStyle(
        "tie", (0.10, 0.16), 15000, 12, (0.12, 0.12), (0.02, 0.02), (0.4, 0.4), (0.001, 0.004), radius=0.00026
    ),
}  # fmt: skip
FLAT_WAVES = ("wavy", "long")


@dataclass
class Growth:
    """One head's drawn values of its style."""

    style: HairStyle
    length: float
    lift: float
    gravity: float
    clump: float
    volume: float
    curl: float
    pitch: float
    part_x: float
    fringe: bool
    knot: Floats | None = None


@dataclass
class Groom:
    """Strands of the head's hair, and where hair covers the scalp (N,)."""

    strands: list[Strands]
    scalp: Floats


def scalp_density(body: Body, noise: ValueNoise, raised_deg: float, bald: float) -> Floats:
    """Where hair grows on the template, (N,): over a hairline given by azimuth, off the ears."""
    azimuth = body.azimuth_deg
    line = np.interp(
        azimuth,
        [0, 20, 40, 52, 62, 74, 84, 92, 110, 140, 180],
        [37, 38, 39, 33, 24, 10, -9, -9, -16, -33, -46],
    )
    line = (
        line + raised_deg * np.interp(azimuth, [0, 40, 70, 90], [1, 1.2, 0.5, 0]) + 1.2 * noise(body.surface, 0.02, 2)
    )
    density = smooth_step(-2.5, 2.5, body.elevation_deg - line) * (1 - np.clip(body.regions["ears"] * 2, 0, 1))
    density = density * (body.radius_m < 0.16)
    if bald > 0:
        top = smooth_step(35, 55, body.elevation_deg + 8 * noise(body.surface, 0.05))
        density = density * (1 - bald * top * np.interp(azimuth, [0, 100, 180], [1, 1, 0.75]))
    return np.asarray(density)


def draw_growth(persona: Persona, style: HairStyle, rng: np.random.Generator) -> Growth:
    """Values of one head's hair."""
    return Growth(
        style=style,
        length=rng.uniform(*style.length),
        lift=rng.uniform(*style.lift),
        gravity=rng.uniform(*style.gravity),
        clump=rng.uniform(*style.clump),
        volume=rng.uniform(*style.volume),
        curl=rng.uniform(*style.curl),
        pitch=rng.uniform(*style.curl_pitch),
        part_x=float(rng.choice([-1, 1]) * rng.uniform(0, 0.035)),
        fringe=style.comb == "part" and persona.feminine and bool(rng.random() < 0.35),
    )


def on_fringe(template: Floats) -> np.ndarray:
    """Roots over the forehead."""
    return np.asarray((template[:, 1] < -0.085) & (np.abs(template[:, 0]) < 0.05))


def part_line(growth: Growth, template: Floats, noise: ValueNoise) -> Floats:
    """Where the parting runs (x) beside each root; it zigzags a little."""
    return growth.part_x + 0.004 * noise(template, 0.006)


def comb_directions(growth: Growth, head: Head, roots: Roots, noise: ValueNoise, rng: np.random.Generator) -> Floats:
    """Direction of combing at each root, tangent to the skin, (n, 3)."""
    right, back, up = (head.to_world(np.eye(3)[k]) for k in range(3))
    template = roots.template
    comb = growth.style.comb
    if comb == "crown":
        crown = np.array([growth.part_x * 0.3, 0.012, 0.84])
        direction = head.to_world(unit(template - crown)) + 0.25 * rng.normal() * right
    elif comb == "part":
        side = np.where(template[:, 0] > part_line(growth, template, noise), 1.0, -1.0)[:, None]
        front = smooth_step(-0.03, -0.12, template[:, 1])[:, None]
        direction = side * right * 0.9 + back * (0.25 + 0.35 * front) - up * 0.15
        if growth.fringe:
            direction = np.where(on_fringe(template)[:, None], -back * 0.8 - up * 0.6, direction)
    elif comb == "back":
        direction = np.tile(back - 0.2 * up, (len(template), 1))
    elif comb == "tie" and growth.knot is not None:
        direction = unit(growth.knot - roots.place)
    else:
        direction = roots.normal
    return unit(direction - (direction * roots.normal).sum(axis=1, keepdims=True) * roots.normal)


def guide_lengths(growth: Growth, roots: Roots, rng: np.random.Generator) -> Floats:
    """Length of each guide, m: shorter at tapered sides and on a fringe."""
    length = growth.length * np.clip(1 + 0.15 * rng.normal(size=len(roots.place)), 0.5, 1.5)
    if growth.fringe:
        length = np.where(on_fringe(roots.template), rng.uniform(0.045, 0.062), length)
    if growth.style.tapered:
        side = rng.uniform(0.25, 0.9)
        length = length * np.interp(elevation_deg(roots.template), [-20, 10, 40], [side * 0.5, side, 1])
    return length


def grow_guides(
    growth: Growth, roots: Roots, comb: Floats, length: Floats, skin: Surface, skull: Floats, rng: np.random.Generator
) -> Floats:
    """Guides (n, K, 3): steps along the comb, bent by gravity per centimetre, kept off the skin."""
    n_points = growth.style.n_points
    is_long = growth.length > 0.1
    place = roots.place.copy()
    away = np.ones(len(place))
    if growth.style.comb == "part":  # hair lies flat beside its parting, or a valley opens
        away = smooth_step(-0.005, 0.05, np.abs(roots.template[:, 0] - growth.part_x))
    lift = growth.lift * (0.3 + 0.7 * away)
    direction = unit(comb + lift[:, None] * roots.normal + 0.12 * rng.normal(size=place.shape))
    guides = np.zeros((len(place), n_points, 3))
    guides[:, 0] = place
    keep_comb = 0.12 * comb if growth.style.comb in ("back", "crown") else np.zeros_like(comb)
    for k in range(1, n_points):
        along = k / (n_points - 1)
        if growth.knot is not None:
            to_knot = growth.knot - place
            direction = unit(to_knot + 1e-4 * direction)
            step = np.minimum(length / (n_points - 1), np.linalg.norm(to_knot, axis=1) * 0.35)
        else:
            step = length / (n_points - 1) * ((0.35 + 1.3 * (k - 0.5) / (n_points - 1)) if is_long else 1.0)
            pull = growth.gravity * 100 * step * (0.8 if is_long else 0.5) * (1.2 * along + 0.3)
            direction = unit(direction + pull[:, None] * DOWN + keep_comb + 0.05 * rng.normal(size=direction.shape))
        moved = place + direction * step[:, None]
        margin = 0.003 + skull[skin.nearest(moved)] * growth.volume * away * min(1.0, 3 * along)
        moved = skin.push_out(moved, margin)
        direction = unit(moved - place)
        guides[:, k] = place = moved
    return guides


def grow_children(
    growth: Growth, guides: Floats, guide_roots: Roots, roots: Roots, noise: ValueNoise, rng: np.random.Generator
) -> tuple[Floats, np.ndarray]:
    """Children (n, K, 3) of the nearest guide on their side of the parting, and its index."""
    n, n_points = len(roots.place), growth.style.n_points
    if growth.style.comb == "part":
        own = np.where(guide_roots.template[:, 0] > part_line(growth, guide_roots.template, noise), 0.5, -0.5)
        child = np.where(roots.template[:, 0] > part_line(growth, roots.template, noise), 0.5, -0.5)
    else:
        own, child = np.zeros(len(guides)), np.zeros(n)
    guide = cKDTree(np.c_[guide_roots.template, own]).query(np.c_[roots.template, child])[1]
    t = np.linspace(0, 1, n_points)[None, :, None]
    offset = (roots.place - guide_roots.place[guide])[:, None]
    stray = rng.normal(size=(n, 1, 3)) * 0.0012 + rng.normal(size=(n, n_points, 3)) * 0.0004
    points = guides[guide] + offset * (1 - growth.clump * t**0.7) + stray * t
    return points, guide


def curl(
    growth: Growth, points: Floats, guide: np.ndarray, length: Floats, flat: bool, rng: np.random.Generator
) -> Floats:
    """Strands wound around their own course."""
    n, n_points = points.shape[:2]
    first, second = perpendiculars(unit(np.gradient(points, axis=1)))
    phase = (rng.uniform(0, 2 * np.pi, len(length))[guide] + rng.normal(0, 0.5, n))[:, None]
    along = np.linspace(0, 1, n_points)[None] * length[guide][:, None]
    angle = 2 * np.pi * along / growth.pitch + phase
    wound = np.cos(angle)[..., None] * first + (0.4 if flat else 1.0) * np.sin(angle)[..., None] * second
    return np.asarray(points + (np.minimum(1, along / 0.01) * growth.curl)[..., None] * wound)


def tail_or_bun(head: Head, knot: Floats, skin: Surface, rng: np.random.Generator) -> Strands:
    """What a knot holds."""
    n = 3000
    if rng.random() < 0.5:
        start = unit(rng.normal(size=(n, 3)))
        radius = rng.uniform(0.025, 0.04)
        across = unit(np.cross(unit(rng.normal(size=(n, 3))), start))
        angle = np.linspace(0, 2.2, 10)[None, :, None]
        ball = np.cos(angle) * start[:, None] + np.sin(angle) * across[:, None]
        points = ball * radius * rng.uniform(0.93, 1.03, (n, 1, 1)) + knot + head.to_world(np.array([0, 0.012, 0]))
        return Strands(points, np.full(points.shape[:2], 0.0004))
    offset = rng.normal(size=(n, 3)) * 0.008
    s = np.linspace(0, 1, 12)[None, :, None]
    points = (
        knot + offset[:, None] * (1 + 1.2 * np.sin(s * 2.5)) + head.to_world(np.array([0, 0.06, 0])) * np.sin(1.5 * s)
    )
    points = points + DOWN * rng.uniform(0.15, 0.3) * s**1.5 + rng.normal(size=(n, 12, 3)) * 0.0008
    return Strands(skin.push_out(points, 0.003), np.full((n, 12), 0.00035))


def crosses_face(body: Body, head: Head, points: Floats) -> np.ndarray:
    """Which strands (n, K, 3) hang before the middle of the face for more than one point."""
    middle = (np.abs(body.surface[:, 0]) < 0.047) & (body.surface[:, 1] < -0.10)
    middle &= (body.surface[:, 2] > 0.625) & (body.surface[:, 2] < 0.752)
    tree = cKDTree(head.vertices)
    distance, at = tree.query(points[:, 1:].reshape(-1, 3), distance_upper_bound=0.03)
    over = np.zeros(len(distance), bool)
    near = np.isfinite(distance)
    over[near] = middle[at[near]]
    return np.asarray(over.reshape(len(points), -1).sum(axis=1) > 1)


def build_hair(body: Body, persona: Persona, head: Head, rng: np.random.Generator, share: float = 1.0) -> Groom:
    """The hair of one head; a cap or scarf asks for less of it elsewhere.

    ``share`` of the strands, each as much wider, are enough for a head that is seen from afar.
    """
    noise = ValueNoise(rng)
    receding = persona.hair == "receding"
    raised = rng.uniform(8, 24) if receding else rng.normal(-4 if persona.feminine else -1, 2.5)
    density = scalp_density(body, noise, raised, rng.uniform(0.3, 1) if receding else 0.0)
    if persona.hair == SHAVEN:
        return Groom([], 0 * density)
    if persona.hair == "bald":
        return Groom([], density * rng.uniform(0, 0.35))
    style = STYLES[persona.hair]
    growth = draw_growth(persona, style, rng)
    above = body.surface[:, 2] > 0.5
    skin = Surface(head.vertices[above], head.normals[above])
    skull = smooth_step(0.60, 0.64, body.surface[above, 2])
    if style.comb == "tie":
        at = cKDTree(body.surface).query(np.array([0, 0.055, rng.uniform(0.72, 0.80)]))[1]
        growth.knot = head.vertices[at] + head.normals[at] * 0.012
    guide_roots = sample_roots(body, head, density, N_GUIDES, rng)
    roots = sample_roots(body, head, density, int(style.n * share), rng)
    if guide_roots is None or roots is None:
        return Groom([], density)
    length = guide_lengths(growth, guide_roots, rng)
    comb = comb_directions(growth, head, guide_roots, noise, rng)
    guides = grow_guides(growth, guide_roots, comb, length, skin, skull, rng)
    points, guide = grow_children(growth, guides, guide_roots, roots, noise, rng)
    if growth.curl > 0:
        points = curl(growth, points, guide, length, persona.hair in FLAT_WAVES, rng)
    points[:, 1:] = skin.push_out(points[:, 1:], 0.0012)
    points[:, 0] = roots.place - 0.001 * roots.normal
    if style.comb == "part":
        stray = crosses_face(body, head, points) & (rng.random(len(points)) > STRAY_KEPT)
        if growth.fringe:
            stray &= ~on_fringe(roots.template)
        points = points[~stray]
    taper = np.clip(1 - 0.6 * np.linspace(0, 1, style.n_points) ** 3, 0.2, 1)
    strands = [Strands(points, style.radius / share**0.75 * taper[None] * np.ones((len(points), 1)))]
    if growth.knot is not None:
        strands.append(tail_or_bun(head, growth.knot, skin, rng))
    return Groom(strands, density)
