"""How far two collections of feature vectors lie from each other: Frechet distance and kernel distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError

NAN = float("nan")
N_SUBSETS = 100
SUBSET_SIZE = 1000


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of an unbiased squared distance over subsets."""

    mean: float
    sd: float
    subset_size: int


def _features(name: str, x: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.asarray(x, np.float64)
    if values.ndim != 2:
        raise InvalidInputError(f"{name} must be (N, D), got {values.shape}")
    return values[np.isfinite(values).all(axis=1)]


def frechet_distance(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Squared Frechet distance between normal distributions fitted to two sets of features.

    Parameters
    ----------
    x, y : (N, D), (M, D)
        Rows with NaN are left out.

    Returns
    -------
    float
        0 or more; NaN with fewer than two rows in a set. It grows as samples get smaller: compare equal sizes only.

    Notes
    -----
    Dowson and Landau 1982, doi:10.1016/0047-259X(82)90077-X; Heusel et al. 2017, arXiv:1706.08500. The trace of the
    square root of a product of covariances is the sum of the singular values of the product of centred data matrices.
    """
    a, b = _features("x", x), _features("y", y)
    if a.shape[1:] != b.shape[1:]:
        raise InvalidInputError(f"features must have one length, got {a.shape[1]} and {b.shape[1]}")
    if min(len(a), len(b)) < 2:
        return NAN
    shift = float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum())
    first, second = ((v - v.mean(axis=0)) / np.sqrt(len(v) - 1) for v in (a, b))
    cross = np.linalg.svd(_root(first) @ _root(second).T, compute_uv=False).sum()
    return max(shift + float((first**2).sum() + (second**2).sum() - 2 * cross), 0.0)


def _root(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, D) or smaller R with R^T R = X^T X: as many rows as needed, not as many as faces."""
    return np.asarray(np.linalg.qr(centred, mode="r"), np.float64) if len(centred) > centred.shape[1] else centred


def kernel_distance(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    *,
    n_subsets: int = N_SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int,
) -> KernelDistance:
    """Squared maximum mean discrepancy with a cubic polynomial kernel, over random subsets: KID for its features.

    Parameters
    ----------
    x, y : (N, D), (M, D)
        Rows with NaN are left out.
    n_subsets, subset_size, seed : int
        Subsets are no larger than the smaller set.

    Notes
    -----
    Binkowski et al. 2018, arXiv:1801.01401: kernel (x.y / D + 1) ** 3, unbiased estimate.
    """
    a, b = _features("x", x), _features("y", y)
    m = min(subset_size, len(a), len(b))
    if m < 2:
        return KernelDistance(NAN, NAN, m)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(n_subsets):
        u = a[rng.choice(len(a), m, replace=False)]
        v = b[rng.choice(len(b), m, replace=False)]
        uu, vv, uv = ((p @ q.T / a.shape[1] + 1) ** 3 for p, q in ((u, u), (v, v), (u, v)))
        within = (uu.sum() - np.trace(uu) + vv.sum() - np.trace(vv)) / (m * (m - 1))
        values.append(float(within - 2 * uv.mean()))
    return KernelDistance(float(np.mean(values)), float(np.std(values)), m)
