"""Skin: melanin, blood, freckles, moles, make-up and stubble as colour; wrinkles and creases as displacement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.people.body import Body, vertex_normals
from understudy.people.fields import Floats, ValueNoise, bump, linear_from_srgb, smooth_step
from understudy.people.haircolor import HairColor
from understudy.people.persona import Persona
from understudy.people.shape import Head

TONE_RAMP = linear_from_srgb(
    [
        (241, 210, 192), (234, 198, 175), (226, 185, 157), (214, 169, 139), (196, 149, 119),
        (170, 124, 95), (141, 98, 72), (113, 75, 53), (88, 57, 40), (65, 42, 30),
    ]
)  # fmt: skip
"""Albedo of skin at the middle of each of the ten steps; step 1 lightest, in the order of the Monk scale."""
BLOOD = np.array([0.05, 0.42, 0.34])
"""Absorption of linear red, green and blue by one unit of haemoglobin."""
MAX_BLOOD = 0.75
"""Over this faces turn scarlet."""
LIPSTICKS = linear_from_srgb([(150, 40, 50), (176, 70, 80), (130, 40, 60), (190, 90, 90), (160, 60, 45), (120, 30, 45)])
STUBBLE_TINT = {"none": 0.10, "stubble": 0.40, "short": 0.55, "full": 0.65, "moustache": 0.5, "goatee": 0.5}


@dataclass
class Skin:
    """Per-vertex appearance."""

    albedo: Floats  # (N, 3) linear
    roughness: Floats  # (N,)
    beard: Floats  # (N,) where a beard may grow


@dataclass(frozen=True)
class Places:
    """Weights (N,) of places on the face."""

    cheek: Floats
    nose: Floats
    chin: Floats
    under_eye: Floats
    forehead: Floats


def places(body: Body) -> Places:
    """Bumps at fixed places of the template."""
    p = body.mirrored
    return Places(
        cheek=bump(p, (0.045, -0.13, 0.69), (0.022, 0.04, 0.02)),
        nose=bump(p, (0, -0.165, 0.695), (0.014, 0.02, 0.014)),
        chin=bump(p, (0, -0.15, 0.63), (0.02, 0.03, 0.012)),
        under_eye=bump(p, (0.032, -0.14, 0.714), (0.014, 0.02, 0.006)),
        forehead=bump(p, (0, -0.15, 0.785), (0.05, 0.04, 0.022)),
    )


def tone_albedo(tone: Floats) -> Floats:
    """Albedo (N, 3) of tones in [0, 1] along the ramp."""
    at = np.clip(tone * len(TONE_RAMP) - 0.5, 0, len(TONE_RAMP) - 1)
    steps = np.arange(len(TONE_RAMP))
    return np.stack([np.interp(at, steps, TONE_RAMP[:, channel]) for channel in range(3)], axis=-1)


def melanin_map(body: Body, persona: Persona, place: Places, noise: ValueNoise, rng: np.random.Generator) -> Floats:
    """Tone (N,): patches, shadows under the eyes, freckles and age spots around the subject's own."""
    points = body.surface
    tone = 10 * persona.melanin + rng.uniform(0.06, 0.18) * noise(points, 0.03, 2)
    tone += rng.uniform(0.06, 0.2) * noise(points, 0.005, 3)
    tone += 0.3 * place.under_eye * rng.uniform(0.2, 1.4) + 0.15 * body.regions["eyelids"] * rng.uniform(0, 1.5)
    tone += rng.uniform(-0.2, 0.3) * place.forehead
    freckles = rng.random() ** 3 * (1.6 if persona.melanin < 0.4 else 0.4)
    where = np.clip(place.cheek + place.nose + 0.5 * place.forehead + 0.15, 0, 1)
    tone += freckles * where * np.clip(noise(points, 0.0022) - 1.0, 0, 2) * 2.0
    age = np.clip((persona.age - 40) / 45, 0, 1)
    tone += age * np.clip(noise(points, 0.006, 2) - 1.6, 0, 1) * 1.4 * rng.random()
    return np.clip(tone / 10, 0, 1)


def blood_map(body: Body, persona: Persona, place: Places, noise: ValueNoise, rng: np.random.Generator) -> Floats:
    """Haemoglobin (N,): cheeks, nose, ears, blemishes; little shows through dark skin."""
    points = body.surface
    blood = rng.uniform(0, 0.2) + rng.uniform(0.15, 0.8) * place.cheek * (1 + 0.35 * noise(points, 0.008, 2))
    blood += rng.uniform(0.15, 0.7) * place.nose + 0.35 * body.regions["ears"] * rng.random() + 0.15 * place.chin
    blood += 0.10 * np.clip(noise(points, 0.012, 2), -1, 2) + rng.uniform(0.04, 0.14) * noise(points, 0.004, 2)
    blemishes = np.clip(noise(points, 0.0045) - 2.0, 0, 1) * rng.random() ** 2 * 2.0
    blood += blemishes * (body.regions["face"] > 0.3)
    return np.clip(blood, 0, MAX_BLOOD) * (1 - 0.85 * persona.melanin)


def paint_lips(body: Body, persona: Persona, albedo: Floats, rng: np.random.Generator) -> Floats:
    """Lips, the inside of the mouth, eye shadow."""
    lips = albedo * np.exp(-np.array([0.2, 0.75, 0.58]) * rng.uniform(0.4, 0.9))
    if persona.lipstick:
        lips = 0.4 * lips + 0.6 * (1 - 0.75 * persona.melanin) * LIPSTICKS[rng.integers(len(LIPSTICKS))]
    share = smooth_step(0.2, 0.8, body.regions["lips"])[:, None]
    albedo = albedo * (1 - share) + lips * share
    inside = smooth_step(0.3, 0.8, body.regions["inside_mouth"])[:, None]
    albedo = albedo * (1 - inside) + np.array([0.25, 0.06, 0.05]) * inside
    if persona.eye_shadow:
        tint = rng.uniform(0.1, 0.32) * np.array([0.7, 1, 0.9])
        albedo = albedo * (1 - body.regions["eyelids"][:, None] * tint)
    return albedo


def paint_stubble(
    body: Body, persona: Persona, albedo: Floats, beard: Floats, hair: HairColor, noise: ValueNoise
) -> Floats:
    """The shade of shaved or short hair under a beard."""
    share = STUBBLE_TINT[persona.beard] * (0.5 if hair.melanin < 0.3 else 1) * (1 - 0.5 * hair.grey)
    tint = (share * beard * np.clip(0.75 + 0.5 * noise(body.surface, 0.0012), 0, 1))[:, None]
    shade = 0.5 * albedo * np.array([0.75, 0.9, 1.05]) + 0.5 * hair.color
    return np.asarray(albedo * (1 - tint) + shade * tint)


def moles(body: Body, rng: np.random.Generator) -> Floats:
    """Weight (N,) of a few moles."""
    total = np.zeros(len(body.surface))
    face = np.where(body.regions["face"] > 0.3)[0]
    for _ in range(rng.poisson(2.0)):
        center = body.surface[rng.choice(face)]
        square = ((body.surface - center) ** 2).sum(axis=1)
        total = np.maximum(total, np.exp(-((square / rng.uniform(0.0008, 0.0016) ** 2) ** 1.5)))
    return total


def build_skin(
    body: Body, persona: Persona, head: Head, hair: HairColor, beard: Floats, rng: np.random.Generator
) -> Skin:
    """Colour the skin and displace ``head`` by its wrinkles."""
    noise = ValueNoise(rng)
    place = places(body)
    albedo = tone_albedo(melanin_map(body, persona, place, noise, rng))
    albedo = albedo * (1 + 0.05 * rng.normal(size=3) * np.array([0.3, 0.3, 0.7]))
    albedo = albedo * np.exp(-blood_map(body, persona, place, noise, rng)[:, None] * BLOOD)
    albedo = paint_lips(body, persona, albedo, rng)
    if persona.beard != "none" or (not persona.feminine and persona.age > 17 and rng.random() < 0.4):
        albedo = paint_stubble(body, persona, albedo, beard, hair, noise)
    albedo = albedo * (1 - 0.6 * moles(body, rng)[:, None] * np.array([0.7, 0.9, 1]))
    nostrils = bump(body.mirrored, (0.012, -0.148, 0.682), (0.006, 0.02, 0.004))
    albedo = albedo * (1 - 0.28 * nostrils[:, None])
    lips = smooth_step(0.2, 0.8, body.regions["lips"])
    rough = 0.54 + 0.06 * noise(body.surface, 0.003, 2) - 0.13 * place.nose - 0.06 * place.forehead - 0.03 * place.cheek
    rough += rng.uniform(-0.07, 0.05)
    rough = rough * (1 - lips) + (0.3 if persona.lipstick else 0.42) * lips
    cavity = wrinkle(body, persona, head, noise, lips, rng)
    albedo = albedo * (1 - np.clip(cavity, 0, 0.5)[:, None] * np.array([0.5, 0.8, 0.9]))
    return Skin(albedo=np.clip(albedo, 0.004, 0.95), roughness=np.clip(rough, 0.28, 0.75), beard=beard)


def wrinkle(
    body: Body, persona: Persona, head: Head, noise: ValueNoise, lips: Floats, rng: np.random.Generator
) -> Floats:
    """Displace the head by forehead lines, crow's feet, folds and lip creases; the darkening of the grooves, (N,)."""
    folded = body.mirrored
    x, y, z = folded.T
    depth = float(np.clip((persona.age - 40) / 45, 0, 1) * rng.uniform(0.45, 1.0) + 0.06)
    front = smooth_step(0.075, 0.02, x) * smooth_step(0.752, 0.762, z) * smooth_step(0.815, 0.80, z) * (y < -0.08)
    waves = np.maximum(0, np.sin((z + 0.004 * noise(body.surface, 0.03)) * 2 * np.pi / 0.0105)) ** 3
    corner = bump(folded, (0.056, -0.125, 0.728), (0.012, 0.03, 0.014))
    rays = np.maximum(0, np.sin(np.arctan2(z - 0.728, x - 0.035) * 16 + noise(body.surface, 0.02))) ** 3
    under = bump(folded, (0.033, -0.137, 0.712), (0.016, 0.03, 0.006))
    arcs = np.maximum(0, np.sin((z + 0.25 * (x - 0.033) ** 2 / 0.01) * 2 * np.pi / 0.0042)) ** 2
    glabella = bump(folded, (0.006, -0.15, 0.75), (0.004, 0.03, 0.012))
    fold = x - np.interp(z, [0.640, 0.655, 0.668, 0.680, 0.692], [0.031, 0.033, 0.034, 0.028, 0.020])
    along = smooth_step(0.636, 0.648, z) * smooth_step(0.699, 0.690, z) * (y < -0.10)
    offset = -depth * (0.0011 * front * waves + 0.0008 * corner * rays + 0.0007 * under * arcs + 0.0006 * glabella)
    offset += 0.0012 * depth * along * (np.exp(-(((fold - 0.006) / 0.006) ** 2)) - np.exp(-((fold / 0.0022) ** 2)))
    offset += 0.00016 * (depth + 0.5) * noise(body.surface, 0.0035, 2) * (body.regions["face"] > 0.2)
    offset *= (1 - lips) * (1 - 0.7 * body.regions["eyelids"])
    offset += 0.00012 * np.sin(body.surface[:, 0] * 2 * np.pi / 0.0022 + noise(body.surface, 0.004)) * lips
    head.vertices = head.vertices + head.normals * offset[:, None]
    head.normals = vertex_normals(head.vertices, body.faces)
    grooves = 0.22 * front * waves + 0.2 * corner * rays
    return np.asarray(
        grooves * np.clip(depth - 0.2, 0, 1.5) + np.exp(-((fold / 0.0028) ** 2)) * along * np.clip(depth, 0, 1.5) * 0.25
    )
