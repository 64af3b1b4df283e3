"""Numbers over points: smooth steps, bumps, value noise and the colours of sRGB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates

Floats = NDArray[np.float64]
NOISE_CELLS = 48


def smooth_step(low: float, high: float, x: ArrayLike) -> Floats:
    """0 at ``low``, 1 at ``high``, a cubic between; ``low`` may lie over ``high``."""
    t = np.clip((np.asarray(x, np.float64) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def unit(vectors: ArrayLike) -> Floats:
    """Vectors of length 1 along the last axis; zero stays zero."""
    v = np.asarray(vectors, np.float64)
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9))


def bump(points: Floats, center: Sequence[float], radii: Sequence[float]) -> Floats:
    """Gaussian bump over points (N, 3), exp(-d^2) with d measured in ``radii``."""
    return np.asarray(np.exp(-(((points - np.asarray(center)) / np.asarray(radii)) ** 2).sum(axis=1)))


def linear_from_srgb(rgb: ArrayLike) -> Floats:
    """Linear values in [0, 1] of sRGB values in [0, 255]; IEC 61966-2-1."""
    value = np.asarray(rgb, np.float64) / 255
    return np.asarray(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def srgb_from_linear(value: ArrayLike) -> Floats:
    """SRGB in [0, 1] of linear values, which are clipped to [0, 1]."""
    x = np.clip(np.asarray(value, np.float64), 0, 1)
    return np.asarray(np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055))


class ValueNoise:
    """Trilinear noise in space, standard normal at the nodes of a periodic lattice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._nodes = rng.normal(size=(NOISE_CELLS,) * 3).astype(np.float32)

    def __call__(self, points: Floats, cell: float, octaves: int = 1) -> Floats:
        """Noise at points (N, 3); ``cell`` is the lattice's step in the points' unit."""
        total = np.zeros(len(points))
        amplitude = 1.0
        for octave in range(octaves):
            place = (points / cell * 2**octave + octave * 7.3).T % NOISE_CELLS
            total += amplitude * map_coordinates(self._nodes, place, order=1, mode="grid-wrap")
            amplitude *= 0.55
        return total
