"""Drift in the units of labels: an estimator that reads with shrinkage says less than happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audit.resampling import Plan, percentile_interval, subject_index
from understudy.audit.statistics import Interval
from understudy.errors import InvalidInputError

NAN = float("nan")


@dataclass(frozen=True)
class Calibrated:
    """A drift divided by how much the reading moves where the label moves by 1."""

    slope: Interval
    """Of readings before on labels, over people: 1 reads as labelled, under 1 shrinks."""
    drift: Interval
    n: int


def calibrated_drift(
    labels: NDArray[np.floating],
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    reference: NDArray[np.floating],
    subjects: NDArray[np.int64],
    plan: Plan,
) -> Calibrated:
    """Mean drift of a numeric reading in the units of its labels.

    Parameters
    ----------
    labels : (N,)
        What people said of each face before; NaN = nothing.
    before, after, reference : (N,)
        Readings; the reference is the null edit, or before.
    subjects : (N,) int
    plan : Plan
        People are drawn again for slope and drift together.

    Returns
    -------
    Calibrated
        The drift is NaN where the slope's interval holds 0: the estimator does not tell these people apart then.

    Notes
    -----
    Least squares of readings on labels, so that what an estimator adds at random does not shrink the slope. The slope
    is that between people, and a change within a face may read otherwise.
    """
    arrays = [np.asarray(a, np.float64) for a in (labels, before, after, reference)]
    if any(a.shape != subjects.shape for a in arrays):
        raise InvalidInputError(f"labels and readings must be {subjects.shape}, got {[a.shape for a in arrays]}")
    known = np.logical_and.reduce([np.isfinite(a) for a in arrays])
    x, y, late, early = (a[known] for a in arrays)
    index, n_subjects = subject_index(subjects[known])
    if n_subjects < 3 or np.ptp(x) == 0:
        nothing = Interval(NAN, NAN, NAN)
        return Calibrated(nothing, nothing, len(x))
    x = x - x.mean()  # the moments below lose nothing to a large mean
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, late - early], axis=1)  # (n, 6)
    per_subject = np.stack([np.bincount(index, column, minlength=n_subjects) for column in terms.T], axis=1)
    sums = np.concatenate([per_subject.sum(axis=0)[None], plan.draws(n_subjects).sums(per_subject)])  # (1 + B, 6)
    n, sx, sy, sxx, sxy, shift = sums.T
    spread = n * sxx - sx**2
    slope = np.divide(n * sxy - sx * sy, spread, out=np.full(len(n), NAN), where=spread > 1e-12 * sxx[0] * n)
    slopes = percentile_interval(float(slope[0]), slope[1:], plan.level)
    if not (slopes.low > 0 or slopes.high < 0):
        return Calibrated(slopes, Interval(NAN, NAN, NAN), len(x))
    drift = np.divide(shift / n, slope, out=np.full(len(n), NAN), where=slope != 0)
    return Calibrated(slopes, percentile_interval(float(drift[0]), drift[1:], plan.level), len(x))
