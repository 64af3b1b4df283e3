"""What stands behind a head: walls, rooms, gardens, lights; two-dimensional and out of focus."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from understudy.people.fields import Floats, smooth_step
from understudy.people.persona import pick

KINDS = ("wall", "indoor", "outdoor", "bokeh", "dark")
SHARES = (0.25, 0.35, 0.24, 0.09, 0.07)


def sample_backdrop(size: int, rng: np.random.Generator) -> tuple[Floats, str]:
    """Linear picture (size, size, 3) in [0, 1.2] and its kind."""
    kind = pick(rng, KINDS, SHARES)
    yy, xx = np.mgrid[0:size, 0:size] / size
    shade = 1 + 0.35 * (rng.uniform(-1, 1) * (xx - 0.5) + rng.uniform(-1, 1) * (yy - 0.5))
    picture = np.ones((size, size, 3)) * _color(rng, 0.08, 0.8, 0.06) * shade[..., None]
    blur = rng.uniform(0.004, 0.03)
    if kind == "indoor":
        picture = _indoor(picture, xx, yy, rng)
    elif kind == "outdoor":
        picture, blur = _outdoor(xx, yy, rng), rng.uniform(0.008, 0.035)
    elif kind == "bokeh":
        picture, blur = _bokeh(picture * 0.25, xx, yy, rng), 0.008
    elif kind == "dark":
        picture = picture * 0.08
    picture = np.clip(picture * np.clip(_clouds(size, 4, 0.08, rng), 0.3, 2), 0, 1.5)
    return np.clip(gaussian_filter(picture, (blur * size, blur * size, 0)), 0, 1.2), kind


def _color(rng: np.random.Generator, low: float, high: float, spread: float) -> Floats:
    warm = rng.normal() * np.array([0.1, 0, -0.1]) * spread * 3
    return np.asarray(rng.uniform(low, high) * np.clip(1 + rng.normal(0, spread, 3) + warm, 0.3, 1.7))


def _clouds(size: int, n: float, amplitude: float, rng: np.random.Generator) -> Floats:
    blurred = gaussian_filter(rng.normal(size=(size, size)), size / n / 2.5)
    return np.asarray(1 + amplitude * blurred[..., None] * size / n)


def _indoor(picture: Floats, xx: Floats, yy: Floats, rng: np.random.Generator) -> Floats:
    for _ in range(rng.integers(4, 16)):
        left, top = rng.uniform(-0.2, 1, 2)
        wide, high = rng.exponential(0.16) + 0.02, rng.exponential(0.25) + 0.02
        x = xx + rng.normal(0, 0.04) * yy
        inside = (x > left) & (x < left + wide) & (yy > top) & (yy < top + high)
        picture = np.where(inside[..., None], _color(rng, 0.02, 0.8, 0.10) * (1 + 0.3 * (yy - 0.5)[..., None]), picture)
    if rng.random() < 0.35:
        left = rng.uniform(-0.1, 0.8)
        pane = (xx > left) & (xx < left + rng.uniform(0.1, 0.35)) & (yy < rng.uniform(0.3, 0.8))
        picture = np.where(pane[..., None], np.array([0.85, 0.95, 1]) * rng.uniform(0.8, 1.3), picture)
    return picture


def _outdoor(xx: Floats, yy: Floats, rng: np.random.Generator) -> Floats:
    size = len(xx)
    sky = np.array([0.55, 0.72, 0.95]) * rng.uniform(0.6, 1.3) * np.array([1.3, 1.1, 1]) ** rng.uniform(0, 2)
    picture = np.where((yy < rng.uniform(0.2, 0.8))[..., None], sky, _color(rng, 0.1, 0.4, 0.1))
    green = np.array([0.10, 0.13, 0.05]) * rng.uniform(0.3, 1.3) * np.clip(1 + rng.normal(0, 0.2, 3), 0.5, 1.5)
    field = gaussian_filter(rng.normal(size=(size, size)), size * 0.06) * size * 0.06
    leaves = smooth_step(-0.1, 0.1, field + rng.uniform(-0.3, 0.6) * (yy + 0.2))[..., None]
    texture = np.clip(_clouds(size, 18, 0.35, rng) * _clouds(size, 6, 0.3, rng), 0.1, 3)
    picture = picture * (1 - leaves) + leaves * green * texture
    for _ in range(rng.integers(0, 5)):
        left = rng.uniform(0, 1)
        post = (xx > left) & (xx < left + rng.uniform(0.02, 0.25)) & (yy > rng.uniform(0, 0.5))
        picture = np.where(post[..., None], _color(rng, 0.05, 0.5, 0.1), picture)
    return np.asarray(picture)


def _bokeh(picture: Floats, xx: Floats, yy: Floats, rng: np.random.Generator) -> Floats:
    for _ in range(rng.integers(8, 40)):
        disc = (xx - rng.random()) ** 2 + (yy - rng.random()) ** 2 < rng.uniform(0.015, 0.08) ** 2
        picture = picture + disc[..., None] * _color(rng, 0.05, 0.6, 0.3)
    return picture
