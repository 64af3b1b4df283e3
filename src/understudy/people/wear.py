"""What is worn on a head: glasses, sunglasses, medical masks, caps, headscarves, and a hand before the face."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter, grey_dilation
from scipy.spatial import cKDTree

from understudy.people.body import HEAD_CENTER, Body
from understudy.people.fields import Floats, ValueNoise, smooth_step, unit
from understudy.people.parts import Material, Mesh, Tufts, grid_faces
from understudy.people.persona import Persona
from understudy.people.shape import Head
from understudy.people.strands import Strands

N_ELEVATIONS, N_AZIMUTHS = 90, 180
CELL_M = 0.003
"""About the size of a cell on the face; outlines in cells times this are about metres."""
NECK_RADIUS_M = 0.095
MASK_TOP = ((0.0, -0.155, 0.713), (0.028, -0.137, 0.700), (0.058, -0.105, 0.697))
MASK_BOTTOM = ((0.0, -0.125, 0.6155), (0.035, -0.11, 0.622), (0.058, -0.085, 0.645))
"""Points of the template on the left half of a mask's outline."""
FRAMES = ((0.01, 0.01, 0.01), (0.05, 0.03, 0.02), (0.3, 0.28, 0.25), (0.12, 0.05, 0.02))


@dataclass
class Worn:
    """Things on a head, and which hair they leave: a limit on the elevation of its roots, degrees."""

    meshes: list[Mesh] = field(default_factory=list)
    tufts: list[Tufts] = field(default_factory=list)
    hair_below_deg: float = 90.0


@dataclass(frozen=True)
class Shell:
    """A smooth hull about the head on a grid of directions."""

    points: Floats  # (E, A, 3) on the hull
    outward: Floats  # (E, A, 3)
    template: Floats  # (E A, 3) of the skin under each point


def head_center(body: Body, head: Head) -> Floats:
    """Where the template's head centre went with the pose."""
    near = body.radius_m < 0.11
    offset = head.vertices[near].mean(axis=0) - head.to_world(body.surface[near].mean(axis=0) - HEAD_CENTER)
    return np.asarray(offset)


def hull(body: Body, head: Head, reach: int, blur: float, collar: bool = False) -> Shell:
    """The head's largest radius in each direction, widened and blurred.

    Parameters
    ----------
    reach : int
        Cells of dilation, of 2 degrees; larger spans hollows.
    blur : float
        Cells of the Gaussian blur.
    collar : bool
        Whether the hull falls straight down from under the chin, as cloth does.
    """
    center = head_center(body, head)
    local = (head.vertices - center) @ head.rotation
    radius = np.linalg.norm(local, axis=1)
    near = radius < 0.2
    elevation = np.arcsin(np.clip(local[near, 2] / radius[near], -1, 1))
    azimuth = np.arctan2(local[near, 0], -local[near, 1])
    rows = np.clip(((elevation / np.pi + 0.5) * N_ELEVATIONS).astype(int), 0, N_ELEVATIONS - 1)
    columns = ((azimuth / (2 * np.pi) + 0.5) * N_AZIMUTHS).astype(int) % N_AZIMUTHS
    grid = np.zeros((N_ELEVATIONS, N_AZIMUTHS))
    np.maximum.at(grid, (rows, columns), radius[near])
    wide = np.pad(grid, ((0, 0), (reach, reach)), mode="wrap")
    grid = grey_dilation(grey_dilation(wide, (3, 3), mode="nearest"), (reach, reach), mode="nearest")[:, reach:-reach]
    grid = np.where(grid > 0, grid, grid.max(axis=1, keepdims=True))
    up = (np.arange(N_ELEVATIONS) + 0.5) / N_ELEVATIONS * np.pi - np.pi / 2
    if collar:
        grid = np.where((up < -0.8)[:, None], NECK_RADIUS_M / np.maximum(np.cos(up), 0.05)[:, None], grid)
    grid = gaussian_filter(grid, blur, mode=("nearest", "wrap"))
    around = (np.arange(N_AZIMUTHS) + 0.5) / N_AZIMUTHS * 2 * np.pi - np.pi
    up, around = np.meshgrid(up, around, indexing="ij")
    direction = np.stack([np.cos(up) * np.sin(around), -np.cos(up) * np.cos(around), np.sin(up)], -1)
    outward = head.to_world(direction)
    points = center + grid[..., None] * outward
    nearest = cKDTree(head.vertices).query(points.reshape(-1, 3))[1]
    return Shell(points, outward, body.surface[nearest])


def shell_mesh(name: str, shell: Shell, offset: Floats, cut: Floats, material: Material, colors: Floats) -> Mesh:
    """A hull as a mesh that is cut where ``cut`` (E A,) is negative."""
    points = (shell.points + offset[..., None] * shell.outward).reshape(-1, 3)
    faces = grid_faces(N_ELEVATIONS, N_AZIMUTHS, closed=True)
    faces = faces[cut[faces].max(axis=1) > 0]
    return Mesh(name, points, faces, material, colors, {"cut": cut})


def glasses(body: Body, head: Head, dark: bool, rng: np.random.Generator) -> Worn:
    """Rims, bridge and temples; sunglasses have dark lenses."""
    (left, _), (right, _) = head.eyes
    middle = (left + right) / 2
    half = float((left - right) @ head.rotation[:, 0]) / 2
    bridge = (np.abs(body.surface[:, 0]) < 0.01) & (np.abs(body.surface[:, 2] - 0.722) < 0.006)
    front = float(((head.vertices[bridge] - middle) @ head.rotation[:, 1]).min()) - 0.004
    wide, high = half * rng.uniform(0.70, 0.84), half * rng.uniform(0.50, 0.74)
    power = 2 / rng.uniform(2, 4.5)
    thick = float(rng.choice([0.0007, 0.0012, 0.0018]))
    drop = -0.003
    angle = np.linspace(0, 2 * np.pi, 41)
    strands, lenses = [], []
    for side in (1, -1):
        x = side * half * 1.03 + wide * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
        z = drop + high * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
        y = front + 0.09 * np.clip(np.abs(x) - half * 0.3, 0, None)
        rim = middle + head.to_world(np.c_[x, y, z])
        strands.append(Strands(rim[None], np.full((1, 41), thick)))
        lenses.append(rim)
        ear = (body.regions["ears"] > 0.5) & (body.surface[:, 0] * side > 0)
        at = (head.vertices[ear] - middle) @ head.rotation
        s = np.linspace(0, 1, 12)
        start, end = side * (half * 1.03 + wide), side * float(np.abs(at[:, 0]).max()) * 0.96
        course = np.c_[
            start + (end - start) * s**0.5,
            y.max() + (np.median(at[:, 1]) - y.max()) * s,
            drop + high * 0.4 + (np.percentile(at[:, 2], 85) - drop - high * 0.4) * s,
        ]
        strands.append(Strands((middle + head.to_world(course))[None], np.full((1, 12), thick * 1.1)))
    s = np.linspace(-1, 1, 9)
    top = np.c_[s * (half * 1.03 - wide), np.full(9, front - 0.001), drop + high * 0.25 + 0.002 * (1 - s**2)]
    strands.append(Strands((middle + head.to_world(top))[None], np.full((1, 9), thick)))
    frame = Material(color=FRAMES[rng.integers(len(FRAMES))], roughness=0.25, worn=1.0)
    worn = Worn(tufts=[Tufts("frame", strands, frame)])
    if dark:
        tint = Material(
            color=(0.012, 0.012, 0.014), roughness=0.3, specular=0.25, opacity=rng.uniform(0.86, 0.99), worn=1.0
        )
        for rim in lenses:
            fan = np.stack([np.zeros(40, int), np.arange(1, 41), np.arange(2, 42)], 1)
            worn.meshes.append(Mesh("lens", np.concatenate([rim.mean(axis=0)[None], rim]), fan, tint))
    return worn


def angles_deg(body: Body, head: Head, template_points: Floats) -> Floats:
    """Azimuth and elevation (K, 2) on the posed head of the skin nearest to points of the template."""
    at = cKDTree(body.surface).query(template_points)[1]
    local = (head.vertices[at] - head_center(body, head)) @ head.rotation
    azimuth = np.arctan2(local[:, 0], -local[:, 1])
    elevation = np.arctan2(local[:, 2], np.hypot(local[:, 0], local[:, 1]))
    return np.asarray(np.degrees(np.stack([azimuth, elevation], axis=1)))


def grid_angles_deg() -> tuple[Floats, Floats]:
    """Unsigned azimuth and elevation (E A,) of a hull's points."""
    up = (np.arange(N_ELEVATIONS) + 0.5) / N_ELEVATIONS * 180 - 90
    around = (np.arange(N_AZIMUTHS) + 0.5) / N_AZIMUTHS * 360 - 180
    elevation, azimuth = np.meshgrid(up, np.abs(around), indexing="ij")
    return azimuth.ravel(), elevation.ravel()


def medical_mask(body: Body, head: Head, rng: np.random.Generator) -> Worn:
    """A pleated mask from the bridge of the nose to under the chin, with loops to the ears."""
    shell = hull(body, head, 5, 1.6)
    azimuth, elevation = grid_angles_deg()
    top, bottom = (angles_deg(body, head, np.array(line)) for line in (MASK_TOP, MASK_BOTTOM))
    upper = np.interp(azimuth, top[:, 0], top[:, 1]) + rng.uniform(-3, 2)
    lower = np.interp(azimuth, bottom[:, 0], bottom[:, 1]) - 1
    side = min(top[-1, 0], bottom[-1, 0])
    cut = np.minimum(np.minimum(upper - elevation, elevation - lower), side - azimuth) / 2 * CELL_M
    pleats = 0.0016 * np.abs((elevation / 9) % 1 - 0.5).reshape(N_ELEVATIONS, N_AZIMUTHS)
    base = ((0.32, 0.52, 0.66), (0.7, 0.72, 0.72), (0.02, 0.02, 0.02), (0.75, 0.62, 0.62))[rng.integers(4)]
    shade = 1 - 0.25 * (pleats.reshape(-1, 1) < 0.0001)
    colors = np.clip(np.tile(np.array(base) * rng.uniform(0.8, 1.1), (len(cut), 1)) * shade, 0.005, 0.85)
    cloth = Material(roughness=0.9, specular=0.15, cut=True, worn=1.0, weave_m=0.001)
    worn = Worn(meshes=[shell_mesh("mask", shell, 0.003 + pleats, cut, cloth, colors)])
    white = Material(color=(0.7, 0.7, 0.7), roughness=0.8, worn=1.0)
    points = shell.points.reshape(-1, 3)
    for sign in (1, -1):
        ear = head.vertices[(body.regions["ears"] > 0.6) & (body.surface[:, 0] * sign > 0)]
        back = ear[np.argmax(ear @ head.rotation[:, 1])]
        for rise in (top[-1, 1] - 2, bottom[-1, 1] - 2):
            local = shell.outward.reshape(-1, 3) @ head.rotation
            here = np.degrees(np.arctan2(sign * local[:, 0], -local[:, 1]))
            corner = points[np.argmin(np.hypot(here - side + 2, elevation - rise))]
            s = np.linspace(0, 1, 8)[:, None]
            line = corner * (1 - s) + back * s + head.rotation[:, 0] * sign * 0.010 * np.sin(np.pi * s)
            worn.tufts.append(Tufts("loop", [Strands(line[None], np.full((1, 8), 0.0011))], white))
    return worn


def cloth_base(rng: np.random.Generator) -> Floats:
    """A colour of cloth."""
    if rng.random() < 0.6:
        return np.asarray(rng.uniform(0.01, 0.6) * np.clip(1 + rng.normal(0, 0.1, 3), 0.5, 1.5))
    return np.asarray(rng.uniform(0.01, 0.5, 3))


def cap(body: Body, head: Head, rng: np.random.Generator) -> Worn:
    """A knitted cap, or one with a peak."""
    shell = hull(body, head, 3, 2.0)
    azimuth, elevation = grid_angles_deg()
    peaked = rng.random() < 0.5
    rim = np.interp(azimuth, [0, 60, 100, 180], [30, 24, 14 if peaked else 4, -12]) + rng.uniform(-2, 3)
    cut = (elevation - rim) / 2 * CELL_M
    knit = 0.0 if peaked else 0.0012
    ribs = knit * np.abs(np.sin(np.linspace(0, np.pi * 60, N_AZIMUTHS)))[None] * np.ones((N_ELEVATIONS, 1))
    height = 0.010 + 0.012 * smooth_step(30, 80, elevation).reshape(N_ELEVATIONS, N_AZIMUTHS)
    base = cloth_base(rng)
    colors = np.tile(base, (len(cut), 1))
    if not peaked:
        colors = colors * (1 - 0.25 * ((elevation - rim > 13) & (elevation - rim < 14.5)))[:, None]
    cloth = Material(roughness=0.9, specular=0.15, sheen=0.3, cut=True, worn=1.0, weave_m=0.002)
    worn = Worn(
        meshes=[shell_mesh("cap", shell, height + ribs, cut, cloth, np.clip(colors, 0.005, 0.85))],
        hair_below_deg=float(rim.mean()) + 6,
    )
    if peaked:
        worn.meshes.append(peak(shell, head, rim, base, rng))
    return worn


def peak(shell: Shell, head: Head, rim: Floats, base: Floats, rng: np.random.Generator) -> Mesh:
    """The peak of a cap: a curved sheet forward of its rim, whose elevation (E A,) is the same down each column."""
    columns = np.arange(N_AZIMUTHS // 2 - 28, N_AZIMUTHS // 2 + 29)
    row = (rim[columns] + 91) / 180 * N_ELEVATIONS - 0.5
    low, share = np.floor(row).astype(int), (row % 1)[:, None]
    widened = shell.points + 0.010 * shell.outward
    edge = (1 - share) * widened[low, columns] + share * widened[low + 1, columns]
    t = np.linspace(-1, 1, len(columns))
    reach = rng.uniform(0.055, 0.075) * np.sqrt(np.clip(1 - t**2, 0, 1)) ** 0.8
    forward = head.to_world(np.array([0, -1.0, -0.22]))
    rows = [
        edge + (reach * s)[:, None] * forward - head.rotation[:, 2] * (0.012 * (s * t) ** 2)[:, None]
        for s in np.linspace(0, 1, 6)
    ]
    cloth = Material(color=(float(base[0]), float(base[1]), float(base[2])), roughness=0.8, worn=1.0)
    return Mesh("peak", np.concatenate(rows), grid_faces(6, len(columns)), cloth)


def headscarf(body: Body, head: Head, rng: np.random.Generator) -> Worn:
    """Cloth about head and neck that leaves the face free."""
    shell = hull(body, head, 5, 2.0, collar=True)
    noise = ValueNoise(rng)
    x, y, z = shell.template.T
    oval = np.hypot(x / rng.uniform(0.060, 0.066), (z - 0.702) / rng.uniform(0.084, 0.092))
    beside = (grid_angles_deg()[0] - 62) / 2 * CELL_M
    cut = np.maximum(np.where(y < -0.02, (oval - 1) * 0.06, 0.03), beside)
    cut = np.clip(cut, -0.03, 0.03).reshape(N_ELEVATIONS, N_AZIMUTHS)
    cut = gaussian_filter(cut, 1.2, mode=("nearest", "wrap")).ravel()
    folds = noise(shell.points.reshape(-1, 3) * np.array([1, 1, 0.35]), 0.02, 2)
    offset = 0.008 + 0.002 * folds + 0.004 * np.exp(-np.clip(cut, 0, 1) / 0.006)
    colors = np.tile(cloth_base(rng), (len(cut), 1)) * (1 + 0.08 * folds)[:, None]
    if rng.random() < 0.25:
        dots = noise(shell.template, 0.012) > 0.9
        colors = np.where(dots[:, None], rng.uniform(0.05, 0.6, 3), colors)
    cloth = Material(roughness=0.8, specular=0.2, sheen=0.25, cut=True, worn=1.0, weave_m=0.0015)
    colors = np.clip(colors, 0.005, 0.85)
    spread = offset.reshape(N_ELEVATIONS, N_AZIMUTHS)
    return Worn([shell_mesh("scarf", shell, spread, cut, cloth, colors)], hair_below_deg=-90.0)


def finger(start: Floats, end: Floats, radius: float, bulge: Floats) -> tuple[Floats, np.ndarray]:
    """A bent, round-ended tube."""
    s = np.linspace(0, 1, 12)
    course = start + (end - start) * s[:, None] + bulge * np.sin(np.pi * s)[:, None]
    axis = unit(end - start)
    first = unit(np.cross(axis, np.array([0.3, 0.2, 1.0])))
    second = np.cross(axis, first)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    width = radius * np.sqrt(np.clip(1 - ((s - 0.5) / 0.502) ** 10, 0, 1)) * (1.06 - 0.22 * s)
    ring = np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second
    points = course[:, None] + width[:, None, None] * ring[None]
    return points.reshape(-1, 3), grid_faces(12, 12, closed=True)


def hand(persona: Persona, body: Body, head: Head, albedo: Floats, rng: np.random.Generator) -> Worn:
    """A simple hand of tubes before the mouth, a cheek or an eye."""
    spot = np.array(((0.0, 0.66), (0.045, 0.68), (0.035, 0.72), (0.03, 0.63))[rng.integers(4)])
    side = float(rng.choice([-1, 1]))
    surface = cKDTree(np.c_[body.surface[:, 0], body.surface[:, 2]] + 10.0 * (body.surface[:, 1:2] > -0.06))
    at = surface.query(np.array([side * spot[0], spot[1]]))[1]
    normal = head.normals[at]
    size = 0.85 if persona.age < 13 else (0.92 if persona.feminine else 1.0)
    up = unit(head.rotation[:, 2] * rng.uniform(0.5, 1) + head.rotation[:, 0] * rng.uniform(-0.9, 0.9))
    up = unit(up - (up @ normal) * normal)
    across = np.cross(normal, up)
    palm = head.vertices[at] + normal * 0.014 - up * 0.045 * size
    vertices, faces, count = [], [], 0
    for k, length in enumerate((0.066, 0.074, 0.070, 0.056)):
        base = palm + across * (k - 1.5) * 0.0195 * size + up * 0.02
        tip = base + (up * length + across * (k - 1.5) * 0.003 - normal * 0.004) * size
        points, quads = finger(base - up * 0.09 * size, tip, 0.0103 * size, normal * 0.006)
        vertices.append(points)
        faces.append(quads + count)
        count += len(points)
    thumb = palm - across * 0.035 * size
    points, quads = finger(
        thumb - up * 0.05 * size, thumb + (up * 0.035 - across * 0.02) * size, 0.0115 * size, normal * 0.004
    )
    vertices.append(points)
    faces.append(quads + count)
    cheek = np.median(albedo[body.regions["face"] > 0.5], axis=0) * rng.uniform(0.92, 1.05)
    flesh = Material(
        color=(float(cheek[0]), float(cheek[1]), float(cheek[2])), roughness=0.5, subsurface=0.4,
        subsurface_radius=(1, 0.28, 0.14), subsurface_scale_m=0.0035, pores=0.3, region=(0, 0, 1), worn=1.0,
    )  # fmt: skip
    return Worn([Mesh("hand", np.concatenate(vertices), np.concatenate(faces), flesh)])


def build_worn(persona: Persona, body: Body, head: Head, albedo: Floats, rng: np.random.Generator) -> Worn:
    """What the subject wears."""
    match persona.worn:
        case "glasses" | "sunglasses":
            return glasses(body, head, persona.worn == "sunglasses", rng)
        case "medical_mask":
            return medical_mask(body, head, rng)
        case "cap":
            return cap(body, head, rng)
        case "headscarf":
            return headscarf(body, head, rng)
        case "hand":
            return hand(persona, body, head, albedo, rng)
        case _:
            return Worn()
