"""References as training sees them: the subject's own face from this or another picture, in other light."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.diffusion.reference import mirrored, shape_distance, shape_of, warp
from understudy.train.records import Record

NEAR_SHAPE = 0.12
"""Procrustes distance up to which another picture of a subject shows nearly the same pose."""
TIGHT = 0.97
"""Semi-axes of what a reference shows, of half the box."""


def reference_picture(record: Record) -> NDArray[np.uint8]:
    """A record's picture with its foreground as the fourth channel, (H, W, 4); all of it where that is not known."""
    if has_alpha(record):
        return np.asarray(Image.open(record.path))
    rgb = np.asarray(Image.open(record.path).convert("RGB"))
    if record.foreground is None:
        alpha = np.full(rgb.shape[:2], 255, np.uint8)
    else:
        alpha = np.asarray(Image.open(record.foreground).convert("L"))
    return np.dstack([rgb, alpha])


def has_alpha(record: Record) -> bool:
    """Whether the picture itself says what may be shown of it."""
    with Image.open(record.path) as picture:
        return picture.mode == "RGBA"


def box_ellipse(xyxy: NDArray[np.floating], scale: float = TIGHT) -> NDArray[np.float64]:
    """Ellipse in a box: center, semi-axes, roll 0."""
    x0, y0, x1, y1 = (float(v) for v in xyxy)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, scale * (x1 - x0) / 2, scale * (y1 - y0) / 2, 0])


def change_light(rng: np.random.Generator, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Other exposure, colours and shading, as a reference has that was rendered elsewhere; the alpha stays."""
    value = picture[..., :3].astype(np.float32) / 255
    height, width = value.shape[:2]
    coarse = rng.normal(0, 0.18, (3, 3)).astype(np.float32)
    shading = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    value = value ** rng.uniform(0.75, 1.35) * np.exp(shading)[..., None] * rng.uniform(0.75, 1.25)
    value = value * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    grey = value.mean(axis=2, keepdims=True)
    value = np.clip(grey + (value - grey) * rng.uniform(0.7, 1.25), 0, 1)
    return np.dstack([(value * 255).astype(np.uint8), picture[..., 3]])


def lay_reference(
    rng: np.random.Generator,
    record: Record,
    others: Sequence[Record],
    goal: NDArray[np.floating],
    mirror: bool,
    size: int,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The subject's face for one crop, not quite at its place.

    Parameters
    ----------
    record : Record
        The crop's own.
    others : sequence of Record
        Further pictures of the subject; one with nearly the same pose is taken now and then.
    goal : (K, 2) px of the crop
    mirror : bool
        Whether the crop shows its picture mirrored.
    size : int
        Side of the crop, px.

    Returns
    -------
    pixels : (size, size, 3) uint8
    cover : (size, size) bool
        All False where this crop goes without a reference.
    """
    if rng.random() < 0.06:
        return np.zeros((size, size, 3), np.uint8), np.zeros((size, size), np.bool_)
    chosen = record
    if others and rng.random() < 0.35:
        shapes = shape_of(np.stack([other.keypoints for other in others]))
        distance = shape_distance(shape_of(record.keypoints[None])[0], shapes)
        near = np.flatnonzero(distance < NEAR_SHAPE)
        if len(near):
            chosen = others[int(rng.choice(near))]
    picture = change_light(rng, reference_picture(chosen))
    points: NDArray[np.floating] = chosen.keypoints
    ellipse: NDArray[np.floating] = box_ellipse(chosen.xyxy, rng.uniform(0.82, 1.02))
    if mirror:
        picture, points, ellipse = mirrored(picture, points, ellipse)
    scale = float(np.abs(shape_radius(goal)))
    shaken = np.asarray(goal, np.float64) + rng.normal(0, 0.03 * scale, goal.shape)
    return warp(picture, points, ellipse, shaken, size)


def shape_radius(points: NDArray[np.floating]) -> float:
    """Mean distance of points from their center, px."""
    return float(np.hypot(*(points - points.mean(axis=0)).T).mean())
