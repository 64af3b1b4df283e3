"""The sampler: Euler steps along the learnt velocity, the same arithmetic in numpy for every runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.schedule import sampling_times

Velocity = Callable[[NDArray[np.float32], float], NDArray[np.float32]]
"""Noisy latents (B, C, h, w) and a time in [0, 1] to the velocity dx/dt."""


def sample(velocity: Velocity, noise: NDArray[np.float32], n_steps: int, shift: float = 1.0) -> NDArray[np.float32]:
    """Integrate dx/dt = velocity(x, t) from noise at time 1 to data at time 0 with ``n_steps`` Euler steps."""
    times = sampling_times(n_steps, shift)
    x = noise
    for now, after in zip(times[:-1], times[1:], strict=True):
        x = x + np.float32(after - now) * velocity(x, float(now))
    return x
