"""Where a reference's face ends: its outline comes nearer to the mask's edge, and hair falls over its forehead."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.color import lab
from understudy.generate.rim import WHOLE

_N_ANGLES = 240
_LARGEST_STRETCH = 1.05
"""A face is widened by no more, since a mask is a quarter wider than a face."""
_INSIDE, _UNDER_HAIR = 0.98, 0.95
"""Where the face would end, and a forehead under hair, as shares of the mask's radius."""
_STILL = 0.62
"""Share of the radius up to which nothing moves: eyes, nose and mouth stay at their keypoints."""
_SIDES_DEG = (98.0, 128.0)
"""Angles from the chin: up to the first a face is always widened towards the edge, from the second on a bald one."""
_JAW_DEG, _JAW = (25.0, 75.0), 0.3
"""A mask is fuller than a jaw: at the chin only this share of the way is gone, from the second angle on all of it."""
_SKIN_LIKE = 16.0
"""Distance in CIELAB at which surroundings count as skin to a third."""
_RING, _FAR_RING = (0.02, 0.07), (0.12, 0.24)
"""What is looked at outside the mask, in shares of its radius."""
_WALL_LIKE, _WALL_ROUGH, _BLACK = 9.0, 5.0, 25.0
"""Distance in CIELAB and spread of lightness at which what lies there counts as a wall to a third; how light it is."""
_REACHES, _BANDS = (0.3, 0.4), (0.03, WHOLE)
"""Over the temples and beside cheeks and jaw: see ``continued``."""
_OF_HAIR, _OF_AN_EAR, _THINNEST = 0.8, 0.35, 0.012
"""How much of a layer is continued, and the least, of the mask's size."""
_ENOUGH, _LEAST_TRUST = 0.05, 0.12
"""Of thinner layers too little is known: what was drawn counts more, down to that share of the reach."""
_LAYERS, _N_LAYERS, _LAYER_UNLIKE = (0.03, 0.5), 48, 22.0
"""Where the layer at the mask's edge is looked for, likewise, and the distance in CIELAB at which it ends."""
_STRANDS = 0.075
"""How far the edge of hair over a forehead wanders, of the mask's radius."""
_FADES = 0.06
"""Depth in the mask at which a face is there whole, of the mask's radius."""
_HAIRLINE, _SHARPNESS = 0.9, 2.5
"""How deep that edge lies in the face, in ``_STRANDS``, and how steeply the face begins there."""


def fitted(
    pixels: NDArray[np.uint8],
    cover: NDArray[np.bool_],
    keypoints: NDArray[np.floating],
    context: NDArray[np.uint8],
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A laid reference whose cheeks, jaw and, where skin lies across the edge, forehead come near the mask's edge.

    The less is left between them, the less has to be invented; but no face is widened by more than a twentieth. Each
    ray from the middle of the keypoints is stretched towards its end; nothing moves near the features. Only the mask's
    shape and known pixels are read.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
    cover : (H, W) bool
        Where the reference shows its subject.
    keypoints : (5, 2) px
        Where they lie.
    context : (H, W, 3) uint8
        With the erased pixels under ``mask`` (H, W).

    Returns
    -------
    pixels, cover
        As given, moved.
    """
    center, chin_deg = _frame(keypoints)
    size = float(max(mask.shape))
    edge, end = _extent(mask, center, size), _extent(cover, center, size)
    if not (edge > 2).all() or not (end > 2).all():
        return pixels, cover
    from_chin = np.abs((_angles_deg() - chin_deg + 180) % 360 - 180)
    low = np.clip((_SIDES_DEG[1] - from_chin) / (_SIDES_DEG[1] - _SIDES_DEG[0]), 0, 1)
    low *= _JAW + (1 - _JAW) * np.clip((from_chin - _JAW_DEG[0]) / (_JAW_DEG[1] - _JAW_DEG[0]), 0, 1)
    skin = _skin_outside(pixels, cover, context, mask, center, edge)
    bare = np.maximum(low, skin)
    goal = _INSIDE * bare + _UNDER_HAIR * (1 - bare)
    share = np.where(from_chin < 90, low, 1.0)
    stretch = 1 + share * (np.clip(goal * edge / end, 1, _LARGEST_STRETCH) - 1)
    stretch = _around(stretch, 5)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]].astype(np.float32)
    dx, dy = x + 0.5 - center[0], y + 0.5 - center[1]
    at = (np.degrees(np.arctan2(dy, dx)) % 360) * _N_ANGLES / 360
    factor, reach = _at(stretch, at), _at(end * stretch, at)
    radius = np.hypot(dx, dy) / np.maximum(reach, 1)
    t = np.clip((radius - _STILL) / (1 - _STILL), 0, 1)
    shrink = 1 - t * t * (3 - 2 * t) * (1 - 1 / factor)
    source = [(center[k] + d * shrink - 0.5).astype(np.float32) for k, d in ((0, dx), (1, dy))]
    moved = cv2.remap(pixels, source[0], source[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.remap(cover.astype(np.float32), source[0], source[1], cv2.INTER_LINEAR)
    return np.asarray(moved, np.uint8), np.asarray(covered > 0.5, np.bool_)


def under_hair(
    shown: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    context: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    seed: int,
) -> NDArray[np.float32]:
    """How much of each pixel is the face (H, W), with an edge that wanders strand by strand over the forehead.

    Below the temples, and where a plain wall lies across the mask's edge (there the head is bald), a face that reaches
    the mask's edge fades into what lies across it: a chin over a neck, or a cheek over hair.
    """
    if not mask.any():
        return np.asarray(shown, np.float32)
    center, chin_deg = _frame(keypoints)
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 4])))
    wander = sum(_around(random.standard_normal(_N_ANGLES), width) * weight for width, weight in ((9, 2.2), (2, 1.0)))
    angle, high = _angles(center, chin_deg, mask.shape)
    length = float(np.sqrt(mask.sum() / np.pi))
    depth = cv2.distanceTransform((np.asarray(shown) > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    hairline = _HAIRLINE + 0.6 * _at(np.asarray(wander), angle * _N_ANGLES / 360)
    ragged = 0.5 + _SHARPNESS * (depth / (_STRANDS * length) - hairline)
    ragged = np.minimum(shown, np.clip(ragged, 0, 1))
    edge = _extent(mask, center, float(max(mask.shape)))
    high = high * (1 - _at(_wall_outside(context, mask, center, edge), angle * _N_ANGLES / 360))
    within = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    faded = np.minimum(shown, np.clip(within / (_FADES * length), 0, 1))
    return np.asarray(faded + high * (ragged - faded), np.float32)


def wall_above(keypoints: NDArray[np.floating], context: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """How much of what lies over a face looks like a wall and not like hair, in [0, 1]. Known pixels alone are read.

    Parameters
    ----------
    keypoints : (5, 2) px
    context : (H, W, 3) uint8
        With the erased pixels under ``mask`` (H, W).
    """
    center, chin_deg = _frame(keypoints)
    edge = _extent(mask, center, float(max(mask.shape)))
    high = np.abs((_angles_deg() - chin_deg + 180) % 360 - 180) > _SIDES_DEG[1]
    return float(_wall_outside(context, mask, center, edge)[high].mean())


def around_a_face(
    keypoints: NDArray[np.floating], context: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How surroundings are continued into a mask: reach and band (H, W), as ``continued`` takes them.

    Nearly up to the face, since what a small network draws between them is a soft halo of skin. Over the forehead the
    hair that lies at the edge is continued; beside cheeks and jaw, where ears are cut through, all that is there, but
    for what lies behind thin hair: a wall would show between the hair and the face.
    """
    center, chin_deg = _frame(keypoints)
    angle, high = _angles(center, chin_deg, mask.shape)
    edge = _extent(mask, center, float(max(mask.shape)))
    thin = _at(_layer_outside(context, mask, center, edge), angle * _N_ANGLES / 360)
    reach, band = (np.asarray(over**high * beside ** (1 - high), np.float32) for over, beside in (_REACHES, _BANDS))
    trusted = np.clip(thin / _ENOUGH, _LEAST_TRUST, 1).astype(np.float32)
    return reach * trusted, np.minimum(band, thin.astype(np.float32))


def _angles(
    center: NDArray[np.float64], chin_deg: float, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Direction of each pixel (H, W) in degrees, and how far it lies over the temples, in [0, 1]."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    angle = np.degrees(np.arctan2(y + 0.5 - center[1], x + 0.5 - center[0])) % 360
    from_chin = np.abs((angle - chin_deg + 180) % 360 - 180)
    high = np.clip((from_chin - _SIDES_DEG[0]) / (_SIDES_DEG[1] - _SIDES_DEG[0]), 0, 1)
    return np.asarray(angle, np.float64), np.asarray(high, np.float64)


def _frame(keypoints: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """The middle of eyes and mouth, and the direction of the chin in degrees."""
    points = np.asarray(keypoints, np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:5].mean(axis=0)
    down = mouth - eyes
    return (eyes + mouth) / 2, float(np.degrees(np.arctan2(down[1], down[0])))


def _angles_deg() -> NDArray[np.float64]:
    return np.arange(_N_ANGLES) * 360 / _N_ANGLES


def _polar(picture: NDArray[np.generic], center: NDArray[np.float64], reach: float) -> NDArray[np.float32]:
    """A picture along rays: (angles, px of the radius, ...)."""
    radius, angle = np.meshgrid(np.arange(round(reach)) + 0.5, np.radians(_angles_deg()))
    x = (center[0] + radius * np.cos(angle) - 0.5).astype(np.float32)
    y = (center[1] + radius * np.sin(angle) - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(picture.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))


def _extent(inside: NDArray[np.bool_], center: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """How far each ray from the centre runs inside, px."""
    rays = _polar(inside, center, reach) > 0.5
    return np.asarray(np.where(rays.all(axis=1), rays.shape[1], (~rays).argmax(axis=1)), np.float64)


def _skin_outside(
    pixels: NDArray[np.uint8],
    cover: NDArray[np.bool_],
    context: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    center: NDArray[np.float64],
    edge: NDArray[np.float64],
) -> NDArray[np.float64]:
    """For each ray how much what lies across the mask's edge looks like the reference's skin, in [0, 1]."""
    skin = np.median(lab(pixels[cover]), axis=0)
    rays = _polar(np.dstack([context, (~mask) * 255.0]), center, float(max(mask.shape)))
    seen = _beyond(rays, edge, _RING)  # (angles, 5, 4)
    off = np.linalg.norm((lab(seen[..., :3].astype(np.uint8).reshape(-1, 3)) - skin) * [0.6, 1, 1], axis=1)
    alike = np.exp(-((off.reshape(seen.shape[:2]) / _SKIN_LIKE) ** 2)) * (seen[..., 3] > 254.9)
    return np.asarray(np.clip(2 * _around(alike.mean(axis=1), 6) - 0.3, 0, 1))


def _wall_outside(
    context: NDArray[np.uint8], mask: NDArray[np.bool_], center: NDArray[np.float64], edge: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each ray how much what lies across the mask's edge looks like a wall and not like hair, in [0, 1].

    A wall has the same colour farther out, and little texture; black hair has little texture, too.
    """
    rays = _polar(np.dstack([lab(context), (~mask) * 255.0]), center, float(max(mask.shape)))
    near, far = (_beyond(rays, edge, reach) for reach in (_RING, _FAR_RING))
    off = np.linalg.norm(near[..., :3].mean(axis=1) - far[..., :3].mean(axis=1), axis=-1)
    rough = np.concatenate([near, far], axis=1)[..., 0].std(axis=1)
    known = (near[..., 3] > 254.9).all(axis=1) & (far[..., 3] > 254.9).all(axis=1)
    alike = np.exp(-((off / _WALL_LIKE) ** 2) - (rough / _WALL_ROUGH) ** 2)
    return np.asarray(np.clip(2 * _around(alike * known * (near[..., 0].mean(axis=1) > _BLACK), 6) - 0.5, 0, 1))


def _layer_outside(
    context: NDArray[np.uint8], mask: NDArray[np.bool_], center: NDArray[np.float64], edge: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each ray how much of the layer at the mask's edge is continued, of the mask's size.

    A layer ends where the colour is another one: hair before a wall, an ear before hair. Of an ear only its inner part
    is, or there would be two.
    """
    rays = _polar(np.dstack([lab(context), (~mask) * 255.0]), center, float(max(mask.shape)))
    seen = _beyond(rays, edge, _LAYERS, _N_LAYERS)
    known = seen[..., 3] > 254.9
    first = seen[:, :2, :3].mean(axis=1)
    off = np.linalg.norm(seen[..., :3] - first[:, None], axis=-1)
    ends = (off > _LAYER_UNLIKE) & known
    steps = np.linspace(*_LAYERS, _N_LAYERS)
    thick = np.where(ends.any(axis=1), steps[ends.argmax(axis=1)], np.inf)
    hue, chroma = np.degrees(np.arctan2(first[:, 2], first[:, 1])), np.hypot(first[:, 1], first[:, 2])
    skin = (first[:, 0] > 45) & (np.abs(hue - 50) < 25) & (chroma > 12)
    thick = np.where(known[:, :2].all(axis=1), thick * np.where(skin, _OF_AN_EAR, _OF_HAIR), np.inf)
    thick = np.where(edge > 0, np.minimum(thick, 100.0), 100.0)  # edge 0: the keypoints' middle lies beside the mask
    layer = np.clip(thick * np.maximum(edge, 1) / np.sqrt(max(mask.sum(), 1)), _THINNEST, WHOLE)
    return np.exp(_around(np.log(layer), 4))


def _beyond(
    rays: NDArray[np.float32], edge: NDArray[np.float64], reach: tuple[float, float], n: int = 5
) -> NDArray[np.float32]:
    """Some samples of each ray (angles, n, ...) outside the mask, between two shares of its radius there."""
    steps = (1 + np.linspace(*reach, n)[None]) * edge[:, None]
    at = np.clip(steps.round().astype(int), 0, rays.shape[1] - 1)
    return np.asarray(np.take_along_axis(rays, at[..., None], axis=1), np.float32)


def _around(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Values around a circle, smoothed."""
    frequency = np.fft.rfftfreq(len(values))
    smooth = np.fft.irfft(np.fft.rfft(values) * np.exp(-2 * (np.pi * width * frequency) ** 2), len(values))
    return np.asarray(smooth, np.float64)


def _at(values: NDArray[np.float64], place: NDArray[np.floating]) -> NDArray[np.float64]:
    """Values of rays at places in [0, n) between them."""
    low = np.floor(place).astype(int)
    t = place - low
    return np.asarray((1 - t) * values[low % len(values)] + t * values[(low + 1) % len(values)])
