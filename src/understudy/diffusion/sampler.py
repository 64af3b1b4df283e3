"""The sampler: Euler steps from noise to data, the same arithmetic in numpy for every runtime."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from understudy.diffusion.schedule import sampling_times

Denoise = Callable[[NDArray[np.float32], float], NDArray[np.float32]]
"""Noisy latents (B, C, h, w) and a time in (0, 1] to an estimate of the clean latents."""


def sample(denoise: Denoise, noise: NDArray[np.float32], n_steps: int, shift: float = 1.0) -> NDArray[np.float32]:
    """Integrate dx/dt = (x - denoise(x, t)) / t from noise at time 1 to data at time 0 with ``n_steps`` Euler steps.

    The last step ends at the last clean estimate itself.
    """
    x = noise
    for now, after in pairwise(sampling_times(n_steps, shift)):
        clean = denoise(x, float(now))
        x = clean + np.float32(after / now) * (x - clean)
    return x
