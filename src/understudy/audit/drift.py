"""What the anonymiser did to an attribute: distributions, transitions and signed drift, net of the null edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from understudy.audit.resampling import (
    PermutationResult,
    Plan,
    bootstrap_mean,
    bootstrap_share,
    percentile_interval,
    score_permutation,
    subject_index,
    swap_permutation,
)
from understudy.audit.statistics import (
    Interval,
    PairedTest,
    paired_t,
    score_test,
    subject_means,
    transition_counts,
    wilcoxon,
)
from understudy.errors import InvalidInputError

NAN = float("nan")
INVALID = -1
"""Code of a reading that an estimator could not make."""
FEW_CHANGES = 50
"""Up to this many subjects whose readings moved, p-values come from permutation: chi-square is too hopeful there."""


@dataclass(frozen=True)
class Readings:
    """One attribute, read on the same faces in each folder; rows are faces."""

    attribute: str
    before: NDArray[np.generic]  # (N,) codes (-1 invalid) or numbers (NaN invalid)
    after: NDArray[np.generic]  # (N,)
    subjects: NDArray[np.int64]  # (N,)
    null: NDArray[np.generic] | None = None  # (N,) of the null edit

    def __post_init__(self) -> None:
        stages = (self.before, self.after, self.subjects) + (() if self.null is None else (self.null,))
        if len({len(s) for s in stages}) != 1 or any(s.ndim != 1 for s in stages):
            raise InvalidInputError(
                f"{self.attribute}: readings must be as many rows in each stage, got {[s.shape for s in stages]}"
            )

    @property
    def reference(self) -> NDArray[np.generic]:
        """The null edit's readings where there are any, else those of before: what after is compared with."""
        return self.before if self.null is None else self.null

    def take(self, rows: NDArray[np.int64]) -> Readings:
        """The same readings of some rows."""
        null = None if self.null is None else self.null[rows]
        return Readings(self.attribute, self.before[rows], self.after[rows], self.subjects[rows], null)


@dataclass(frozen=True)
class CategoricalDrift:
    """Drift of an attribute of categories. Shares are over faces that are valid in every stage."""

    attribute: str
    categories: tuple[str, ...]
    n: int
    n_missing: int
    before: NDArray[np.float64]  # (K,) shares
    after: NDArray[np.float64]  # (K,)
    reference: NDArray[np.float64]  # (K,)
    transitions: NDArray[np.int64]  # (K, K) reference -> after, faces
    js: PermutationResult
    variation: PermutationResult
    margins: PairedTest
    symmetry: PairedTest
    entropy_drift: Interval
    """Bits; under 0: collapse towards a stereotype, over 0: noise."""
    null_entropy_drift: float
    changed: Interval
    """Share of faces whose reading differs between before and after."""
    null_changed: float
    net_changed: Interval
    """Paired: changed by the anonymiser minus changed by the null edit."""
    share_drift: tuple[Interval, ...]
    """After minus reference, for each category."""
    share_p: tuple[float, ...]
    invalid: Interval
    """Share of faces whose reading is invalid after."""
    null_invalid: float
    """The same in the reference."""


@dataclass(frozen=True)
class NumericDrift:
    """Drift of an attribute of numbers, over faces that are valid in every stage."""

    attribute: str
    n: int
    n_missing: int
    mean: Interval
    """Mean of after minus reference, paired."""
    null_mean: float
    """Mean of null minus before: the meter's own."""
    test: PairedTest
    """On one mean for each subject."""
    standardised: float
    """Cohen's d_z over subjects."""
    mean_abs_change: Interval
    """Mean of |after - before|."""
    null_mean_abs_change: float
    variance_ratio: Interval
    """Variance of after over that of the reference; under 1: faces become alike."""
    invalid: Interval
    null_invalid: float


def encode(labels: Sequence[object], categories: Sequence[str]) -> NDArray[np.int64]:
    """Codes of labels among the categories; None, NaN and the empty string are invalid readings.

    Raises
    ------
    InvalidInputError
        For a label that is none of the categories.
    """
    place = {name: i for i, name in enumerate(categories)}
    codes = []
    for label in labels:
        if label is None or label != label or label == "":
            codes.append(INVALID)
        elif str(label) in place:
            codes.append(place[str(label)])
        else:
            raise InvalidInputError(f"label {label!r} is none of {list(categories)}")
    return np.array(codes, np.int64)


def _shares(counts: ArrayLike) -> NDArray[np.float64]:
    """Counts (..., K) as shares; NaN where all are 0."""
    x = np.asarray(counts, np.float64)
    total = x.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(x, total, out=np.full_like(x, np.nan), where=total > 0), np.float64)


def entropy(counts: ArrayLike) -> NDArray[np.float64]:
    """Shannon entropy of distributions in bits.

    Parameters
    ----------
    counts : (..., K)
        Counts or shares.
    """
    p = _shares(counts)
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)
    return np.asarray(-(p * logs).sum(axis=-1) + 0.0, np.float64)


def total_variation(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Half the summed absolute difference of two distributions, in [0, 1].

    Parameters
    ----------
    a, b : (..., K)
        Counts or shares.
    """
    return np.asarray(np.abs(_shares(a) - _shares(b)).sum(axis=-1) / 2, np.float64)


def js_distance(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Square root of the Jensen-Shannon divergence, base 2, in [0, 1].

    Parameters
    ----------
    a, b : (..., K)
        Counts or shares.

    Notes
    -----
    Lin 1991, doi:10.1109/18.61115; a metric by Endres and Schindelin 2003, doi:10.1109/TIT.2003.813506.
    """
    p, q = _shares(a), _shares(b)
    divergence = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    return np.asarray(np.sqrt(np.clip(divergence, 0, 1)), np.float64)


def _invalid_share(valid: NDArray[np.bool_], subjects: NDArray[np.int64], plan: Plan) -> Interval:
    if not len(subjects):
        return Interval(NAN, NAN, NAN)
    index, n_subjects = subject_index(subjects)
    return bootstrap_share(~valid, index, plan.draws(n_subjects))


def _subject_counts(codes: NDArray[np.int64], index: NDArray[np.int64], n_subjects: int, k: int) -> NDArray[np.float64]:
    """(n_subjects, K) faces of each subject in each category."""
    cells = np.bincount(index * k + codes, minlength=n_subjects * k)
    return cells.reshape(n_subjects, k).astype(np.float64)


def _crossings(
    first: NDArray[np.int64], second: NDArray[np.int64], index: NDArray[np.int64], n_subjects: int, k: int
) -> NDArray[np.float64]:
    """(n_subjects, K (K - 1) / 2) net moves of each subject between each pair of categories that occurs."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    moved = low != high
    pair, column = np.unique(low[moved] * k + high[moved], return_inverse=True)
    net = np.zeros((n_subjects, len(pair)))
    np.add.at(net, (index[moved], column), np.sign(second - first)[moved])
    return net


def categorical_drift(readings: Readings, categories: Sequence[str], plan: Plan) -> CategoricalDrift:
    """Drift of an attribute of categories.

    Parameters
    ----------
    readings : Readings
        Codes from ``encode``.
    categories : sequence of str
        Two or more.
    plan : Plan
    """
    k = len(categories)
    if k < 2:
        raise InvalidInputError(f"{readings.attribute}: drift needs two categories or more, got {list(categories)}")
    stages = [np.asarray(s, np.int64) for s in (readings.before, readings.after, readings.reference)]
    valid = np.logical_and.reduce([s >= 0 for s in stages])
    before, after, reference = (s[valid] for s in stages)
    table = transition_counts(reference, after, k)
    n = int(valid.sum())
    index, n_subjects = subject_index(readings.subjects[valid])
    b, a, r = (_subject_counts(s, index, n_subjects, k) for s in (before, after, reference))
    signs = plan.signs(n_subjects)
    moves = _crossings(reference, after, index, n_subjects, k)
    changed, null_changed = before != after, before != reference
    invalid = _invalid_share(stages[1] >= 0, readings.subjects, plan)
    null_invalid = float(np.mean(stages[2] < 0)) if len(stages[2]) else NAN
    variation_effect = float(total_variation(r.sum(axis=0), a.sum(axis=0)))
    excess = float(np.abs(moves.sum(axis=0)).sum() / n) if n else NAN
    return CategoricalDrift(
        attribute=readings.attribute,
        categories=tuple(categories),
        n=n,
        n_missing=len(valid) - n,
        before=_shares(b.sum(axis=0)),
        after=_shares(a.sum(axis=0)),
        reference=_shares(r.sum(axis=0)),
        transitions=table,
        js=swap_permutation(r, a, js_distance, signs),
        variation=swap_permutation(r, a, total_variation, signs),
        margins=_paired_test("stuart_maxwell", a - r, signs, variation_effect, "total variation", n),
        symmetry=_paired_test("bowker", moves, signs, excess, "one-sided excess", n),
        entropy_drift=_entropy_drift(r, a, plan),
        null_entropy_drift=float(entropy(r.sum(axis=0)) - entropy(b.sum(axis=0))) if readings.null is not None else NAN,
        changed=_mean(changed, index, n_subjects, plan, share=True),
        null_changed=float(null_changed.mean()) if n and readings.null is not None else NAN,
        net_changed=_mean(changed.astype(float) - null_changed, index, n_subjects, plan),
        share_drift=tuple(_mean((after == c) * 1.0 - (reference == c), index, n_subjects, plan) for c in range(k)),
        share_p=tuple(_paired_test("", (a - r)[:, [c]], signs, NAN, "", n).p_value for c in range(k)),
        invalid=invalid,
        null_invalid=null_invalid,
    )


def _paired_test(
    name: str, contributions: NDArray[np.float64], signs: NDArray[np.int8], effect: float, effect_name: str, n: int
) -> PairedTest:
    """Score test over subjects, by permutation where few of them moved."""
    statistic, _, p = score_test(contributions)
    n_moved = int(contributions.any(axis=1).sum())
    if 0 < n_moved <= FEW_CHANGES:
        p = score_permutation(contributions, signs).p_value
    return PairedTest(name, statistic, p if n else NAN, effect, effect_name, n)


def _mean(
    values: NDArray[np.generic], index: NDArray[np.int64], n_subjects: int, plan: Plan, *, share: bool = False
) -> Interval:
    if n_subjects == 0:
        return Interval(NAN, NAN, NAN)
    draws = plan.draws(n_subjects)
    return bootstrap_share(values, index, draws) if share else bootstrap_mean(values, index, draws)


def _entropy_drift(reference: NDArray[np.float64], after: NDArray[np.float64], plan: Plan) -> Interval:
    if not len(after):
        return Interval(NAN, NAN, NAN)
    draws = plan.draws(len(after))
    value = float(entropy(after.sum(axis=0)) - entropy(reference.sum(axis=0)))
    samples = entropy(draws.sums(after)) - entropy(draws.sums(reference))
    return percentile_interval(value, samples, plan.level) if len(after) > 1 else Interval(value, NAN, NAN)


def numeric_drift(readings: Readings, plan: Plan, *, test: Literal["wilcoxon", "t"] = "t") -> NumericDrift:
    """Drift of an attribute of numbers.

    Parameters
    ----------
    readings : Readings
        Numbers, NaN where invalid.
    plan : Plan
    test : "wilcoxon" or "t"
        Of one mean difference for each subject against zero. Ranks hardly see a large change of a few people, which
        moves the mean that is reported: the t test is the default.
    """
    tests = {"wilcoxon": wilcoxon, "t": paired_t}
    if test not in tests:
        raise InvalidInputError(f"test must be one of {list(tests)}, got {test!r}")
    stages = [np.asarray(s, np.float64) for s in (readings.before, readings.after, readings.reference)]
    valid = np.logical_and.reduce([np.isfinite(s) for s in stages])
    before, after, reference = (s[valid] for s in stages)
    n = int(valid.sum())
    subjects = readings.subjects[valid]
    index, n_subjects = subject_index(subjects)
    per_subject = subject_means(after - reference, subjects)
    zero = np.zeros_like(per_subject)
    has_null = readings.null is not None and n > 0
    return NumericDrift(
        attribute=readings.attribute,
        n=n,
        n_missing=len(valid) - n,
        mean=_mean(after - reference, index, n_subjects, plan),
        null_mean=float((reference - before).mean()) if has_null else NAN,
        test=tests[test](zero, per_subject),
        standardised=paired_t(zero, per_subject).effect,
        mean_abs_change=_mean(np.abs(after - before), index, n_subjects, plan),
        null_mean_abs_change=float(np.abs(reference - before).mean()) if has_null else NAN,
        variance_ratio=_variance_ratio(reference, after, index, n_subjects, plan),
        invalid=_invalid_share(np.isfinite(stages[1]), readings.subjects, plan),
        null_invalid=float(np.mean(~np.isfinite(stages[2]))) if len(stages[2]) else NAN,
    )


def _variance_ratio(
    reference: NDArray[np.float64], after: NDArray[np.float64], index: NDArray[np.int64], n_subjects: int, plan: Plan
) -> Interval:
    """Variance of after over variance of the reference, rows pooled, interval over subjects."""
    if n_subjects < 2:
        return Interval(NAN, NAN, NAN)
    draws = plan.draws(n_subjects)

    def sums(x: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Over everybody, then over each draw."""
        per_subject = np.bincount(index, x, minlength=n_subjects)
        return np.concatenate([[per_subject.sum()], draws.sums(per_subject)])

    rows = sums(None)

    def variance(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = x - x.mean()  # the moments below lose nothing to a large mean
        first, second = sums(x) / rows, sums(x**2) / rows
        return np.asarray(np.maximum(second - first**2, 0), np.float64)

    low = variance(reference)
    ratios = np.divide(variance(after), low, out=np.full(len(low), np.nan), where=low > 1e-12 * max(low[0], 1e-300))
    return percentile_interval(float(ratios[0]), ratios[1:], plan.level)
