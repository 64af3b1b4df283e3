"""Whether an anonymised face passes for its original: rates at thresholds that original impostors set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from understudy.audit.reidentification import Faces, found_blocks, searchable
from understudy.audit.resampling import Draws, Plan, bootstrap_share, percentile_interval
from understudy.audit.statistics import Interval
from understudy.errors import InvalidInputError

NAN = float("nan")
FAR_TARGETS = (1e-2, 1e-3)


@dataclass(frozen=True)
class Verification:
    """Genuine pairs over the threshold that original impostors set."""

    far: float
    threshold: float
    """Accepted is what is more similar; NaN where there are too few impostors for this FAR."""
    tar: Interval
    hits: NDArray[np.float64]  # (N,) share of each probe's genuine pairs that is accepted; NaN: unmated
    n_genuine: int
    n_impostor: int


@dataclass(frozen=True)
class _Pairs:
    """Comparisons with the two subjects of each, as places among all subjects; sorted, most similar first."""

    score: NDArray[np.float64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]


def _pairs(probes: Faces, gallery: Faces, names: NDArray[np.int64], *, genuine: bool) -> _Pairs:
    """All genuine or all impostor comparisons of found faces; a face is never compared with itself."""
    parts: list[tuple[NDArray[np.generic], ...]] = []
    first, second = (np.searchsorted(names, f.subjects) for f in (probes, gallery))
    for rows, scores in found_blocks(probes, gallery):
        wanted = (first[rows][:, None] == second[None]) == genuine
        if probes is gallery:
            wanted &= rows[:, None] < np.arange(len(second))[None]
        i, j = np.nonzero(wanted)
        parts.append((scores[i, j], first[rows][i], second[j]))
    score, a, b = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else (np.zeros(0),) * 3
    order = np.argsort(-score, kind="stable")
    return _Pairs(score[order].astype(np.float64), a[order].astype(np.int64), b[order].astype(np.int64))


def _thresholds(pairs: _Pairs, counts: NDArray[np.float64], far: float) -> NDArray[np.float64]:
    """For each row of subject counts, the score above which at most that share of impostor pairs lies.

    A pair of two people counts as often as both were drawn; the doubles of one person are no pair.
    """
    n = len(pairs.score)
    thresholds = np.full(len(counts), NAN)
    totals = _total_weight(pairs, counts)
    pending = np.flatnonzero(totals * far >= 1)
    reach = min(n, int(n * far * 3) + 100)
    while len(pending):
        first, second, left = pairs.first[:reach], pairs.second[:reach], []
        for i in pending:
            cumulative = np.cumsum(counts[i, first] * counts[i, second])
            place = int(np.searchsorted(cumulative, far * totals[i] + 1e-9, side="right"))
            if place < reach:
                thresholds[i] = pairs.score[place]
            else:
                left.append(i)
        pending, reach = np.array(left, np.int64), min(n, reach * 4)
    return thresholds


def _total_weight(pairs: _Pairs, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of all pairs under each row of subject counts."""
    n_subjects = counts.shape[1]
    cells, number = np.unique(pairs.first * n_subjects + pairs.second, return_counts=True)
    matrix = np.zeros((n_subjects, n_subjects))
    matrix[cells // n_subjects, cells % n_subjects] = number
    return np.asarray(((counts @ matrix) * counts).sum(axis=1), np.float64)


def verify(
    probes: Faces, gallery: Faces, control: Faces | None, plan: Plan, *, far_targets: Sequence[float] = FAR_TARGETS
) -> tuple[Verification, ...]:
    """Share of genuine pairs that pass a threshold set on original impostors.

    Parameters
    ----------
    probes : Faces
        Anonymised faces; a probe without a face counts as not accepted.
    gallery : Faces
        Original faces.
    control : Faces or None
        Further originals: impostors are then control against gallery, else gallery against gallery.
    plan : Plan
        Subjects are drawn again for threshold and rate together.
    far_targets : sequence of float
        In (0, 1).

    Returns
    -------
    tuple of Verification
        One for each target.
    """
    if any(not 0 < far < 1 for far in far_targets):
        raise InvalidInputError(f"a FAR lies in (0, 1), got {list(far_targets)}")
    gallery = searchable(probes, gallery)
    others = gallery if control is None else control
    names = np.unique(np.concatenate([gallery.subjects, others.subjects, probes.subjects]))
    impostors = _pairs(others, gallery, names, genuine=False)
    draws = plan.draws(len(names))
    counts = np.vstack([np.ones(len(names)), draws.counts])
    return tuple(
        _verification(probes, gallery, names, far, _thresholds(impostors, counts, far), len(impostors.score), draws)
        for far in far_targets
    )


def _verification(
    probes: Faces,
    gallery: Faces,
    names: NDArray[np.int64],
    far: float,
    thresholds: NDArray[np.float64],
    n_impostor: int,
    draws: Draws,
) -> Verification:
    per_subject = np.bincount(np.searchsorted(names, gallery.subjects), minlength=len(names))
    subject = np.searchsorted(names, probes.subjects)
    n_pairs = per_subject[subject]  # genuine pairs of each probe, found or not
    accepted = np.zeros(len(subject))
    passed = np.zeros((draws.n_boot, len(names)))  # accepted pairs of each subject at each draw's threshold
    for rows, scores in found_blocks(probes, gallery):
        genuine = probes.subjects[rows][:, None] == gallery.subjects[None]
        i, j = np.nonzero(genuine)
        accepted[rows] = np.bincount(i, scores[i, j] > thresholds[0], minlength=len(rows))
        for k, score in zip(subject[rows][i], scores[i, j], strict=True):
            passed[:, k] += score > thresholds[1:]
    total = np.bincount(subject, n_pairs, minlength=len(names))
    drawn = draws.counts @ total
    samples = np.divide((draws.counts * passed).sum(axis=1), drawn, out=np.full(draws.n_boot, NAN), where=drawn > 0)
    samples[np.isnan(thresholds[1:])] = NAN
    measured = bool(np.isfinite(thresholds[0]) and total.any())
    hits = np.divide(accepted, n_pairs, out=np.full(len(subject), NAN), where=(n_pairs > 0) & measured)
    value = float(accepted.sum() / total.sum()) if measured else NAN
    tar = percentile_interval(value, samples, draws.level)
    if value in {0.0, 1.0}:
        tar = bootstrap_share(hits, subject, draws)
    return Verification(far, float(thresholds[0]), tar, hits, int(total.sum()), n_impostor)


def equal_error_rate(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """Error rate at the threshold where as many genuine pairs fail as impostor pairs pass.

    Parameters
    ----------
    genuine, impostor : (N,), (M,)
        Similarities; -inf stands for a genuine pair whose face was not found.

    Returns
    -------
    float
        The mean of both rates where they are nearest; NaN without pairs. 0.5 is chance, 0 recognises everybody.
    """
    g, m = np.sort(np.asarray(genuine, np.float64)), np.sort(np.asarray(impostor, np.float64))
    if not len(g) or not len(m):
        return NAN
    steps = np.unique(np.concatenate([g[np.isfinite(g)], m, [np.inf]]))
    missed = np.searchsorted(g, steps, side="left") / len(g)  # below the threshold
    passed = 1 - np.searchsorted(m, steps, side="left") / len(m)
    nearest = int(np.argmin(np.abs(missed - passed)))
    return float((missed[nearest] + passed[nearest]) / 2)


def search_error(probes: Faces, gallery: Faces, plan: Plan, *, n_steps: int = 400) -> Interval:
    """Equal error rate of probes against the gallery, genuine against impostor pairs of the same probes.

    Parameters
    ----------
    probes, gallery : Faces
    plan : Plan
        The gallery is held, the probes' subjects are drawn again.
    n_steps : int
        Thresholds on which the draws are read: quantiles of the genuine pairs and of the impostors' upper tail.

    Returns
    -------
    Interval
    """
    gallery = searchable(probes, gallery)
    names = np.unique(np.concatenate([gallery.subjects, probes.subjects]))
    genuine = _pairs(probes, gallery, names, genuine=True)
    impostor = _pairs(probes, gallery, names, genuine=False)
    per_subject = np.bincount(np.searchsorted(names, gallery.subjects), minlength=len(names))
    expected = np.bincount(np.searchsorted(names, probes.subjects), minlength=len(names)) * per_subject
    n_lost = int(expected.sum()) - len(genuine.score)
    value = equal_error_rate(np.append(genuine.score, np.full(n_lost, -np.inf)), impostor.score)
    if not np.isfinite(value) or np.count_nonzero(expected) < 2:
        return Interval(value, NAN, NAN)
    if not len(genuine.score):
        return Interval(value, NAN, NAN)
    half = n_steps // 2
    upper = 1 - np.geomspace(1 / len(impostor.score), 1, half)  # the errors meet in the impostors' upper tail
    steps = np.unique([*np.quantile(genuine.score, np.linspace(0, 1, half)), *np.quantile(impostor.score, upper)])
    counts = plan.draws(len(names)).counts
    accepted = counts @ _at_least(genuine, steps, len(names))
    passed = counts @ _at_least(impostor, steps, len(names))
    n_genuine = counts @ expected
    n_impostor = counts @ np.bincount(impostor.first, minlength=len(names))
    usable = (n_genuine > 0) & (n_impostor > 0)
    missed = 1 - accepted[usable] / n_genuine[usable, None]
    wrong = passed[usable] / n_impostor[usable, None]
    nearest = np.abs(missed - wrong).argmin(axis=1)[:, None]
    samples = (np.take_along_axis(missed, nearest, 1) + np.take_along_axis(wrong, nearest, 1))[:, 0] / 2
    return percentile_interval(value, samples, plan.level)


def _at_least(pairs: _Pairs, steps: NDArray[np.float64], n_subjects: int) -> NDArray[np.float64]:
    """(n_subjects, T) pairs of each probe subject that reach each threshold."""
    reached = np.searchsorted(steps, pairs.score, side="right")  # thresholds that the pair reaches
    cells = np.bincount(pairs.first * (len(steps) + 1) + reached, minlength=n_subjects * (len(steps) + 1))
    table = cells.reshape(n_subjects, len(steps) + 1)
    return np.asarray(table[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:], np.float64)
