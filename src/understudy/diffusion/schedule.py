"""Rectified flow: straight lines from noise (time 1) to data (time 0). Liu et al. 2022, arXiv:2209.03003."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError


def sampling_times(n_steps: int, shift: float = 1.0) -> NDArray[np.float64]:
    """Times from 1 to 0, n_steps + 1 of them.

    Parameters
    ----------
    n_steps : int
    shift : float
        t' = shift t / (1 + (shift - 1) t): over 1 spends more steps near the noise.
        Esser et al. 2024, arXiv:2403.03206.
    """
    if n_steps < 1 or shift <= 0:
        raise InvalidInputError(f"n_steps must be 1 or more and shift over 0, got {n_steps} and {shift}")
    time = np.linspace(1, 0, n_steps + 1)
    return np.asarray(shift * time / (1 + (shift - 1) * time), np.float64)
