"""Faces that are still the original: unchanged pixels, or an embedding as near as two pictures of one person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from understudy.audit.resampling import Plan, bootstrap_share, subject_index
from understudy.audit.statistics import Interval
from understudy.errors import InvalidInputError

NAN = float("nan")
CHANGE_LIMIT = 3.0
"""Mean absolute difference under which a face counts as unchanged, in grey levels, where no null edit says more."""
NULL_QUANTILE = 0.99


@dataclass(frozen=True)
class ResidualFaces:
    """Faces before that are still there after, by either reading."""

    unchanged: NDArray[np.bool_]  # (N,) pixels in the box are the original's but for a re-encoding
    recognised: NDArray[np.bool_]  # (N,) the embedding passes for the original's
    residual: NDArray[np.bool_]  # (N,) either
    share: Interval
    """Share of faces that are residual."""
    unreadable: int
    """Faces without an embedding after, judged by their pixels alone."""


def box_change(before: NDArray[np.uint8], after: NDArray[np.uint8], xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean absolute difference between two pictures in each box.

    Parameters
    ----------
    before, after : (H, W, 3) uint8 sRGB
        Of one size.
    xyxy : (N, 4) px
        In ``before``; the middle of each box is read (a quarter is cut from each side): face and no background.

    Returns
    -------
    (N,) float64
        Grey levels, 0 to 255; NaN for a box that lies outside the picture.
    """
    if before.shape != after.shape or before.ndim != 3 or before.dtype != np.uint8 or after.dtype != np.uint8:
        raise InvalidInputError(
            f"before and after must be (H, W, 3) uint8 of one size, got {before.shape} and {after.shape}"
        )
    height, width = before.shape[:2]
    changes = []
    for x0, y0, x1, y1 in np.asarray(xyxy, np.float64).reshape(-1, 4):
        cut_x, cut_y = (x1 - x0) / 4, (y1 - y0) / 4
        left, right = (int(np.clip(v, 0, width)) for v in (np.floor(x0 + cut_x), np.ceil(x1 - cut_x)))
        top, bottom = (int(np.clip(v, 0, height)) for v in (np.floor(y0 + cut_y), np.ceil(y1 - cut_y)))
        a, b = (image[top:bottom, left:right].astype(np.int16) for image in (before, after))
        changes.append(float(np.abs(a - b).mean()) if a.size else NAN)
    return np.array(changes, np.float64)


def change_limit(null_change: ArrayLike, least: float = CHANGE_LIMIT) -> float:
    """Change that the null edit's faces reach at most, but for one in a hundred; never under ``least``.

    Parameters
    ----------
    null_change : (N,)
        From ``box_change`` of before and null edit; NaN is left out.
    least : float
    """
    x = np.asarray(null_change, np.float64)
    known = x[np.isfinite(x)]
    return max(least, float(np.quantile(known, NULL_QUANTILE))) if len(known) else least


def residual_faces(
    change: ArrayLike,
    similarity: ArrayLike,
    subjects: NDArray[np.int64],
    plan: Plan,
    *,
    change_at_most: float = CHANGE_LIMIT,
    similarity_over: float,
) -> ResidualFaces:
    """Faces that are still the original.

    Parameters
    ----------
    change : (N,)
        From ``box_change``; NaN where a face cannot be compared.
    similarity : (N,)
        Between the embeddings of the face before and of what a second detector finds in its place after; NaN without.
    subjects : (N,) int
    plan : Plan
    change_at_most : float
        From ``change_limit`` where there is a null edit.
    similarity_over : float
        Threshold of ``verification.verify`` at a low FAR, which original impostors set.
    """
    moved, near = np.asarray(change, np.float64), np.asarray(similarity, np.float64)
    if moved.shape != near.shape or moved.shape != subjects.shape:
        raise InvalidInputError(
            f"change, similarity and subjects must be as many, got {moved.shape}, {near.shape}, {subjects.shape}"
        )
    if not np.isfinite(similarity_over) and np.isfinite(near).any():
        raise InvalidInputError("similarity_over must be a number: with too few impostors there is no threshold")
    unchanged, recognised = moved <= change_at_most, near > similarity_over  # NaN compares as False
    residual = unchanged | recognised
    judged = np.isfinite(moved) | np.isfinite(near)
    share = Interval(NAN, NAN, NAN)
    if len(subjects):
        index, n_subjects = subject_index(subjects)
        share = bootstrap_share(np.where(judged, residual, NAN), index, plan.draws(n_subjects))
    return ResidualFaces(unchanged, recognised, residual, share, int(np.isnan(near).sum()))
