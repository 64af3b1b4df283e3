"""Whether an anonymised face passes for its original: rates at thresholds that original impostors set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from understudy.audit.impostors import Impostors, Pairs, error_rate
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


def _genuine(probes: Faces, gallery: Faces, names: NDArray[np.int64]) -> Pairs:
    """All genuine comparisons of found faces, most similar first."""
    parts: list[tuple[NDArray[np.generic], ...]] = []
    first, second = (np.searchsorted(names, f.subjects) for f in (probes, gallery))
    for rows, scores in found_blocks(probes, gallery):
        i, j = np.nonzero(first[rows][:, None] == second[None])
        parts.append((scores[i, j], first[rows][i], second[j]))
    score, a, b = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else (np.zeros(0),) * 3
    order = np.argsort(-score, kind="stable")
    return Pairs(score[order].astype(np.float64), a[order].astype(np.int64), b[order].astype(np.int64))


def _thresholds(impostors: Impostors, draws: Draws, far: float) -> NDArray[np.float64]:
    """For everybody and for each draw, the score above which at most that share of impostor pairs lies.

    A pair of two people counts as often as both were drawn; the doubles of one person are no pair.
    """
    rows = [np.ones(draws.n_subjects, np.int64), *draws.counts]
    thresholds = np.full(len(rows), NAN)
    totals = np.array([impostors.weight(counts) for counts in rows])
    pending = np.flatnonzero(totals * far >= 1)
    reach = min(impostors.n, int(impostors.n * far * 3) + 100)
    while len(pending):
        pairs, left = impostors.nearest(reach), []
        for i in pending:
            counts = rows[i].astype(np.int64)
            cumulative = np.cumsum(counts[pairs.first] * counts[pairs.second])
            place = int(np.searchsorted(cumulative, far * totals[i] + 1e-9, side="right"))
            if place < len(cumulative):
                thresholds[i] = pairs.score[place]
            elif len(cumulative) < impostors.n:
                left.append(i)
        pending, reach = np.array(left, np.int64), min(impostors.n, reach * 4)
    return thresholds


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
    impostors, draws = Impostors(others, gallery, names), plan.draws(len(names))
    by_far = {far: _thresholds(impostors, draws, far) for far in sorted(far_targets, reverse=True)}
    return tuple(_verification(probes, gallery, names, far, by_far[far], impostors.n, draws) for far in far_targets)


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
    for rows, scores in found_blocks(probes, gallery):
        i, j = np.nonzero(probes.subjects[rows][:, None] == gallery.subjects[None])
        accepted[rows] = np.bincount(i, scores[i, j] > thresholds[0], minlength=len(rows))
    genuine = _genuine(probes, gallery, names)
    passed = [
        counts[genuine.first[: _over(genuine, t)]].sum() for counts, t in zip(draws.counts, thresholds[1:], strict=True)
    ]
    total = np.bincount(subject, n_pairs, minlength=len(names))
    drawn = draws.sums(total)
    samples = np.divide(np.array(passed, np.float64), drawn, out=np.full(draws.n_boot, NAN), where=drawn > 0)
    samples[np.isnan(thresholds[1:])] = NAN
    measured = bool(np.isfinite(thresholds[0]) and total.any())
    hits = np.divide(accepted, n_pairs, out=np.full(len(subject), NAN), where=(n_pairs > 0) & measured)
    value = float(accepted.sum() / total.sum()) if measured else NAN
    tar = percentile_interval(value, samples, draws.level)
    if value in {0.0, 1.0}:
        tar = bootstrap_share(hits, subject, draws)
    return Verification(far, float(thresholds[0]), tar, hits, int(total.sum()), n_impostor)


def _over(pairs: Pairs, threshold: float) -> int:
    """How many pairs are more similar; none where the threshold is NaN."""
    return int(np.searchsorted(-pairs.score, -threshold, side="left")) if np.isfinite(threshold) else 0


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
    genuine, impostors = _genuine(probes, gallery, names), Impostors(probes, gallery, names)
    per_subject = np.bincount(np.searchsorted(names, gallery.subjects), minlength=len(names))
    expected = np.bincount(np.searchsorted(names, probes.subjects), minlength=len(names)) * per_subject
    n_lost = int(expected.sum()) - len(genuine.score)
    value = error_rate(np.append(genuine.score, np.full(n_lost, -np.inf)), impostors)
    if not np.isfinite(value) or np.count_nonzero(expected) < 2:
        return Interval(value, NAN, NAN)
    if not len(genuine.score):
        return Interval(value, NAN, NAN)
    half = n_steps // 2
    tail = np.geomspace(1 / impostors.n, 1, half)[:-1]  # the errors meet in the impostors' upper tail
    steps = np.unique([*np.quantile(genuine.score, np.linspace(0, 1, half)), *impostors.thresholds(tail)])
    draws = plan.draws(len(names))
    accepted = draws.sums(_at_least([(genuine.score, genuine.first)], steps, len(names)))
    passed = draws.sums(_at_least(impostors.per_subject(), steps, len(names)))
    n_genuine = draws.sums(expected)
    n_impostor = draws.sums(impostors.n_of_probe)
    usable = (n_genuine > 0) & (n_impostor > 0)
    missed = 1 - accepted[usable] / n_genuine[usable, None]
    wrong = passed[usable] / n_impostor[usable, None]
    nearest = np.abs(missed - wrong).argmin(axis=1)[:, None]
    samples = (np.take_along_axis(missed, nearest, 1) + np.take_along_axis(wrong, nearest, 1))[:, 0] / 2
    return percentile_interval(value, samples, plan.level)


def _at_least(
    parts: Iterable[tuple[NDArray[np.float64], NDArray[np.int64]]], steps: NDArray[np.float64], n_subjects: int
) -> NDArray[np.float64]:
    """(n_subjects, T) pairs of each probe subject that reach each threshold, from scores and probe subjects."""
    width = len(steps) + 1
    cells = np.zeros(n_subjects * width, np.int64)
    for score, subject in parts:
        reached = np.searchsorted(steps, score, side="right")  # thresholds that the pair reaches
        np.add.at(cells, subject * width + reached, 1)
    table = cells.reshape(n_subjects, width)
    return np.asarray(table[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:], np.float64)
