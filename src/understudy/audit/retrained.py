"""An attacker that has learned from anonymised pictures of people it knows, tried on people it does not know."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.audit.reidentification import Faces
from understudy.errors import InvalidInputError

Head = Literal["ridge", "metric"]
"""What a retrained attacker learns."""
N_FOLDS = 5
RIDGE_GRID = tuple(10.0**k for k in range(-4, 4))
"""Ridge penalties over the mean variance of a feature."""


def subject_folds(subjects: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """(N,) fold of each row; all rows of a subject lie in one."""
    names, place = np.unique(subjects, return_inverse=True)
    if len(names) < n_folds or n_folds < 2:
        raise InvalidInputError(f"{n_folds} folds need as many subjects and 2 at least, got {len(names)} subjects")
    fold = np.random.default_rng(seed).permutation(len(names)) % n_folds
    return fold[place].astype(np.int64)


def ridge_map(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Linear map from anonymised to original embeddings, its penalty by generalised cross-validation.

    Parameters
    ----------
    x, y : (N, D), (N, E)
        Paired rows.

    Returns
    -------
    matrix (D, E), mean of x (D,), mean of y (E,)

    Notes
    -----
    Golub, Heath and Wahba 1979, doi:10.1080/00401706.1979.10489751.
    """
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    left, scale, right = np.linalg.svd(x - x_mean, full_matrices=False)
    kept = scale > 1e-10 * max(float(scale.max(initial=0)), 1e-300)
    left, scale, right = left[:, kept], scale[kept], right[kept]
    target = left.T @ (y - y_mean)
    rest = float(((y - y_mean) ** 2).sum() - (target**2).sum())
    unit = float((scale**2).mean()) if len(scale) else 1.0
    best, best_loss = RIDGE_GRID[-1], np.inf
    for penalty in RIDGE_GRID:
        shrink = scale**2 / (scale**2 + penalty * unit)
        freedom = len(x) - 1 - float(shrink.sum())
        loss = (rest + float((((1 - shrink)[:, None] * target) ** 2).sum())) / max(freedom, 1e-3) ** 2
        if loss < best_loss:
            best, best_loss = penalty, loss
    weight = scale / (scale**2 + best * unit)
    return right.T @ (weight[:, None] * target), x_mean, y_mean


def within_whitening(gap: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix that makes all directions equally unsteady between the two pictures of a person: LDA's metric.

    Parameters
    ----------
    gap : (N, D)
        Differences between a person's two pictures, less their mean.

    Notes
    -----
    Inverse square root of the within-person covariance, shrunk after Ledoit and Wolf 2004,
    doi:10.1016/S0047-259X(03)00096-4.
    """
    covariance = gap.T @ gap / len(gap)
    scale = float(np.trace(covariance)) / len(covariance)
    share = ledoit_wolf(gap)
    value, vector = np.linalg.eigh((1 - share) * covariance + share * scale * np.eye(len(covariance)))
    inverse = 1 / np.sqrt(np.maximum(value, 1e-6 * max(scale, 1e-300)))
    return np.asarray(vector * inverse @ vector.T, np.float64)


def ledoit_wolf(x: NDArray[np.float64]) -> float:
    """Weight of equal variances that brings the covariance of centred rows nearest to the true one, in [0, 1]."""
    n, dim = x.shape
    covariance = x.T @ x / n
    scale = float(np.trace(covariance)) / dim
    spread = float(((covariance - scale * np.eye(dim)) ** 2).sum())
    noise = (float(((x**2).sum(axis=1) ** 2).sum()) / n - float((covariance**2).sum())) / n
    return float(np.clip(noise / spread, 0, 1)) if spread > 0 else 1.0


def _pair_rows(probes: Faces, gallery: Faces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each found probe beside the mean original of its subject."""
    names, place = np.unique(gallery.subjects, return_inverse=True)
    mean = np.zeros((len(names), gallery.embedding.shape[1]))
    np.add.at(mean, place, gallery.embedding)
    mean /= np.bincount(place)[:, None]
    own = np.searchsorted(names, probes.subjects).clip(0, len(names) - 1)
    known = probes.found & (names[own] == probes.subjects)
    return np.asarray(probes.embedding[known], np.float64), mean[own[known]]


def retrain(
    probes: Faces, gallery: Faces, head: Head, *, n_folds: int = N_FOLDS, seed: int
) -> list[tuple[Faces, Faces]]:
    """Probes and gallery as a retrained attacker sees them, fold by fold.

    In each fold the head learns from the anonymised and original pictures of the other folds' people; the people of the
    fold are new to it. All people stay in the gallery.

    Parameters
    ----------
    probes, gallery : Faces
        Anonymised and original faces of the same attacker.
    head : "ridge" or "metric"
        A linear map from anonymised to original embeddings, or the metric in which a person's two pictures are close.
    n_folds, seed : int

    Returns
    -------
    list of (probes, gallery)
        One pair for each fold; all probes of a fold's people, found or not.
    """
    if head not in ("ridge", "metric"):
        raise InvalidInputError(f"head must be 'ridge' or 'metric', got {head!r}")
    known = gallery.take(gallery.found)
    fold = subject_folds(probes.subjects, n_folds, seed)
    scale = _row_norm if gallery.metric == "cosine" else lambda v: v
    parts = []
    for k in range(n_folds):
        x, y = (scale(v) for v in _pair_rows(probes.take(fold != k), known))
        if len(x) < 2:
            raise InvalidInputError(f"fold {k}: a head needs two pairs or more to learn from, got {len(x)}")
        new = probes.take(fold == k)
        probe, original = scale(np.asarray(new.embedding, np.float64)), scale(np.asarray(known.embedding, np.float64))
        if head == "ridge":
            matrix, x_mean, y_mean = ridge_map(x, y)
            probe, original = (probe - x_mean) @ matrix, original - y_mean
        else:
            x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
            white = within_whitening((x - x_mean) - (y - y_mean))
            probe, original = (probe - x_mean) @ white, (original - y_mean) @ white
        parts.append((Faces(probe, new.subjects), Faces(original, known.subjects)))
    return parts


def _row_norm(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1; NaN stays NaN."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1), np.float64)
