"""How a body stands, walks or sits: directions of the limbs by formula, and the rotations of the skeleton's bones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from understudy.people.fields import Floats, unit
from understudy.people.persona import pick

Stance = Literal["stand", "walk", "sit"]
STANCES: tuple[Stance, ...] = ("stand", "walk", "sit")
STANCE_SHARES = (0.68, 0.22, 0.1)
Direction = tuple[float, float, float]

ARMS: dict[str, tuple[Direction, Direction]] = {
    "down": ((0.17, 0.06, -1), (0.06, -0.16, -1)),
    "pocket": ((0.34, 0.22, -1), (-0.25, -0.42, -1)),
    "hip": ((0.80, 0.30, -0.8), (-0.72, -0.45, -0.42)),
    "clasped": ((0.20, -0.05, -1), (-0.62, -0.62, -0.62)),
    "behind": ((0.28, 0.32, -1), (-0.55, 0.22, -0.85)),
    "crossed": ((0.22, -0.35, -1), (-0.92, -0.48, 0.12)),
    "phone": ((0.20, -0.20, -1), (-0.30, -0.80, 0.45)),
    "wave": ((0.90, -0.20, -0.15), (0.20, -0.25, 1)),
    "carry": ((0.16, 0.02, -1), (0.0, -1, -0.2)),
    "lap": ((0.18, -0.22, -1), (-0.22, -0.90, -0.30)),
    "forward": ((0.14, -0.36, -1), (0.04, -0.62, -1)),
    "back": ((0.16, 0.38, -1), (0.06, 0.18, -1)),
}
"""Directions of upper arm and forearm of the left arm: to the subject's left, to the back, up."""
STANDING_ARMS = ("down", "pocket", "hip", "clasped", "behind", "crossed", "phone", "wave", "carry")
STANDING_SHARES = (0.42, 0.14, 0.09, 0.09, 0.05, 0.06, 0.07, 0.03, 0.05)
BOTH = ("clasped", "behind", "crossed")
"""What one arm does not do without the other."""
SITTING_ARMS, SITTING_SHARES = ("lap", "crossed", "clasped", "phone", "down"), (0.62, 0.08, 0.14, 0.1, 0.06)
WOBBLE = 0.07


@dataclass(frozen=True)
class Limb:
    """Directions of the upper and the lower part of a limb against the trunk."""

    upper: Floats  # (3,)
    lower: Floats  # (3,)


@dataclass(frozen=True)
class Pose:
    """A posture; angles in degrees about x (nod), y (tilt) and z (turn)."""

    stance: Stance
    arms: tuple[str, str]
    left_arm: Limb
    right_arm: Limb
    left_leg: Limb
    right_leg: Limb
    feet_deg: tuple[tuple[float, float], tuple[float, float]]
    """Pitch and turn outward of the left and the right foot."""
    spine_deg: tuple[float, float, float]
    head_deg: tuple[float, float, float]
    curl_deg: float
    """Of each finger joint."""


def _limb(
    upper: Direction | Floats, lower: Direction | Floats, side: float, rng: np.random.Generator, wobble: float = WOBBLE
) -> Limb:
    mirror = np.array([side, 1, 1])
    return Limb(
        unit(np.asarray(upper) * mirror + rng.normal(0, wobble, 3)),
        unit(np.asarray(lower) * mirror + rng.normal(0, wobble, 3)),
    )


def _arms(stance: Stance, rng: np.random.Generator) -> tuple[str, str]:
    if stance == "walk" and rng.random() < 0.75:
        return ("forward", "back") if rng.random() < 0.5 else ("back", "forward")
    names, shares = (SITTING_ARMS, SITTING_SHARES) if stance == "sit" else (STANDING_ARMS, STANDING_SHARES)
    left = pick(rng, names, shares)
    right = left if left in BOTH or rng.random() < 0.55 else pick(rng, names, shares)
    return (left, left) if right in BOTH else (left, right)


def _legs(stance: Stance, arms: tuple[str, str], rng: np.random.Generator) -> tuple[list[Limb], list[float]]:
    """Both legs, and the pitch of each foot."""
    if stance == "sit":
        spread = rng.uniform(0.02, 0.3)
        lift = rng.uniform(-0.2, 0.1)
        shin = (0.05, rng.uniform(-0.35, 0.15), -1.0)
        return [_limb((spread, -1, lift), shin, side, rng, 0.05) for side in (1.0, -1.0)], [0.0, 0.0]
    if stance == "walk":
        stride = rng.uniform(0.2, 0.45)
        ahead = ((0.03, -stride, -1.0), (0.02, -stride * rng.uniform(0.3, 0.9), -1.0))
        behind = ((0.03, stride * 0.75, -1.0), (0.02, stride * rng.uniform(1.2, 2.2), -1.0))
        left_back = arms[0] == "forward" or (arms[0] != "back" and rng.random() < 0.5)
        order = (behind, ahead) if left_back else (ahead, behind)
        limbs = [_limb(*pair, side, rng, 0.02) for pair, side in zip(order, (1.0, -1.0), strict=True)]
        return limbs, [28.0, -12.0] if left_back else [-12.0, 28.0]
    spread = rng.uniform(0.02, 0.13)
    free = rng.uniform(0, 0.2) * (rng.random() < 0.5)
    limbs = [_limb((spread, 0, -1), (spread, 0.02, -1), 1.0, rng, 0.015)]
    limbs.append(_limb((spread + 0.2 * free, -free, -1), (spread, 0.9 * free, -1), -1.0, rng, 0.015))
    return limbs, [0.0, 0.0]


def sample_pose(rng: np.random.Generator, stance: Stance | None = None) -> Pose:
    """A posture; ``stance`` where it is given."""
    stance = stance or STANCES[int(rng.choice(len(STANCES), p=STANCE_SHARES))]
    arms = _arms(stance, rng)
    legs, pitches = _legs(stance, arms, rng)
    if rng.random() < 0.5 and stance == "stand":
        legs, pitches = [_mirrored(legs[1]), _mirrored(legs[0])], pitches[::-1]
    outward = rng.uniform(0, 22, 2)
    return Pose(
        stance=stance,
        arms=arms,
        left_arm=_limb(*ARMS[arms[0]], 1.0, rng),
        right_arm=_limb(*ARMS[arms[1]], -1.0, rng),
        left_leg=legs[0],
        right_leg=legs[1],
        feet_deg=((pitches[0], float(outward[0])), (pitches[1], float(outward[1]))),
        spine_deg=(float(rng.normal(2, 5)), float(rng.normal(0, 3)), float(rng.normal(0, 7))),
        head_deg=(float(rng.normal(3, 7)), float(rng.normal(0, 4)), float(rng.normal(0, 14))),
        curl_deg=float(rng.uniform(12, 35)),
    )


def _mirrored(limb: Limb) -> Limb:
    flip = np.array([-1.0, 1, 1])
    return Limb(limb.upper * flip, limb.lower * flip)


def rotation_between(start: Floats, end: Floats) -> Floats:
    """The smallest rotation (3, 3) that takes one direction to another."""
    a, b = unit(start), unit(end)
    axis = np.cross(a, b)
    sine, cosine = float(np.linalg.norm(axis)), float(a @ b)
    if sine < 1e-9:
        return np.eye(3)
    return np.asarray(Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix())


def _euler(degrees: tuple[float, ...] | Floats) -> Floats:
    return np.asarray(Rotation.from_euler("xyz", degrees, degrees=True).as_matrix())


def bone_rotations(labels: tuple[str, ...], parents: NDArray[np.int64], heads: Floats, pose: Pose) -> Floats:
    """Rotation (J, 3, 3) of every bone against its rest, in the world's axes."""
    index = {label: i for i, label in enumerate(labels)}
    own: dict[int, Floats] = {}  # against the parent
    spine = np.array(pose.spine_deg) / 5
    for name in ("spine05", "spine04", "spine03", "spine02", "spine01"):
        own[index[name]] = _euler(spine)
    for name, share in (("neck01", 0.2), ("neck02", 0.15), ("neck03", 0.15), ("head", 0.5)):
        own[index[name]] = _euler(np.array(pose.head_deg) * share)
    for side, arm, leg, (pitch, outward) in (
        (".L", pose.left_arm, pose.left_leg, pose.feet_deg[0]),
        (".R", pose.right_arm, pose.right_leg, pose.feet_deg[1]),
    ):
        sign = 1.0 if side == ".L" else -1.0
        raised = max(0.0, float(arm.upper[2]) + 0.5)
        own[index["clavicle" + side]] = _euler((0, -sign * 18 * raised, 0))
        _bend(own, index, heads, ("upperarm01" + side, "lowerarm01" + side, "wrist" + side), arm)
        turned = _bend(own, index, heads, ("upperleg01" + side, "lowerleg01" + side, "foot" + side), leg)
        own[index["foot" + side]] = turned.T @ _euler((pitch, 0, sign * outward))
        _curl(own, index, heads, side, pose.curl_deg)
    rotations = np.tile(np.eye(3), (len(labels), 1, 1))
    for j, parent in enumerate(parents):
        before = np.eye(3) if parent < 0 else rotations[parent]
        rotations[j] = before @ own.get(j, np.eye(3))
    return rotations


def _bend(
    own: dict[int, Floats], index: dict[str, int], heads: Floats, chain: tuple[str, str, str], limb: Limb
) -> Floats:
    """Turn a limb's two parts into their directions; the rotation of the lower part against the trunk."""
    a, b, c = (heads[index[name]] for name in chain)
    upper = rotation_between(b - a, limb.upper)
    lower = rotation_between(upper @ (c - b), limb.lower) @ upper
    own[index[chain[0]]] = upper
    own[index[chain[1]]] = upper.T @ lower
    return lower


def _curl(own: dict[int, Floats], index: dict[str, int], heads: Floats, side: str, degrees: float) -> None:
    """Close the fingers a little, towards the middle of the body."""
    knuckles = unit(heads[index["finger5-1" + side]] - heads[index["finger2-1" + side]])
    along = heads[index["finger3-1" + side]] - heads[index["wrist" + side]]
    inward = -np.sign(along[0])
    sign = 1.0 if np.cross(knuckles, along)[0] * inward > 0 else -1.0
    turn = Rotation.from_rotvec(knuckles * sign * np.radians(degrees)).as_matrix()
    for finger in "2345":
        for joint in "123":
            own[index[f"finger{finger}-{joint}{side}"]] = np.asarray(turn)
