"""Seeds and noise that depend on the run, the picture, the region and the attempt, and on nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def region_seed(run_seed: int, digest: bytes, region: int, attempt: int) -> int:
    """Seed of one attempt at one region of one picture.

    Parameters
    ----------
    run_seed : int
        Seed of the run, 0 or more.
    digest : bytes
        SHA-256 of the source file's bytes; the first 8 bytes are used.
    region, attempt : int
        Index of the region in the stable order of ``Detections``, and of the attempt, from 0.

    Returns
    -------
    int
        Unsigned 64-bit seed.
    """
    words = [run_seed, int.from_bytes(digest[:8], "big"), region, attempt]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def standard_normal(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Float32 standard normal noise from numpy's Philox generator, the same for every runtime."""
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape, dtype=np.float32)
