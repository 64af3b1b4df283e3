"""Bootstrap over subjects, and permutation: what a figure does when the people or the labels are drawn again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from understudy.audit.statistics import LEVEL, Interval, clopper_pearson
from understudy.errors import InvalidInputError

N_BOOT = 1000
N_PERMUTATIONS = 999
N_HALVES = 200
_SHELF_BYTES = 16 << 20
"""Room for draws that are kept, and as much for signs: those of one audit of 1,000 people and its groups fit in."""
_BLOCK = 64
"""Draws that are made, or turned into floats, at a time: memory does not grow with the number of draws."""


@dataclass(frozen=True)
class Plan:
    """How a report resamples; every figure of a report uses one plan, so that all of it can be made again."""

    seed: int
    n_boot: int = N_BOOT
    n_permutations: int = N_PERMUTATIONS
    level: float = LEVEL

    def draws(self, n_subjects: int) -> Draws:
        """Bootstrap draws over that many subjects."""
        return _kept_draws(n_subjects, self.n_boot, self.level, self.seed)

    def signs(self, n_subjects: int) -> NDArray[np.int8]:
        """Swaps of paired readings over that many subjects."""
        return _kept_signs(n_subjects, self.n_permutations, self.seed)


@dataclass(frozen=True)
class Draws:
    """How often each subject was drawn in each bootstrap sample: the same draws serve every figure of a report."""

    counts: NDArray[np.generic]  # (n_boot, n_subjects) whole numbers, each row sums to n_subjects
    level: float = LEVEL

    def sums(self, x: NDArray[np.generic]) -> NDArray[np.float64]:
        """Sum over the drawn subjects of what each adds.

        Parameters
        ----------
        x : (n_subjects,) or (n_subjects, K)

        Returns
        -------
        (n_boot,) or (n_boot, K) float64
        """
        return _product(self.counts, x)

    @property
    def n_boot(self) -> int:
        """Number of samples."""
        return len(self.counts)

    @property
    def n_subjects(self) -> int:
        """Number of subjects."""
        return int(self.counts.shape[1])


@dataclass(frozen=True)
class PermutationResult:
    """A statistic beside what it is when the labels mean nothing."""

    observed: float
    floor: float
    """Mean of the statistic under permutation: what chance alone gives."""
    floor_high: float
    """95th percentile of the same."""
    p_value: float
    """Share of permutations at least as large, the observed order counted as one; in [1 / (n + 1), 1]."""


def _product(rows: NDArray[np.generic], x: NDArray[np.generic]) -> NDArray[np.float64]:
    """(R, N) small whole numbers times (N,) or (N, K), as floats, some rows at a time."""
    values = np.asarray(x, np.float64)
    return np.concatenate([rows[i : i + _BLOCK].astype(np.float64) @ values for i in range(0, len(rows), _BLOCK)])


class _Shelf:
    """Arrays that many figures of a report share: made once, and kept while there is room for them."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._kept: OrderedDict[Hashable, NDArray[np.generic]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], NDArray[np.generic]]) -> NDArray[np.generic]:
        """The array of a key; what was asked for longest ago makes room for it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        made.setflags(write=False)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self.room:
                self._kept.popitem(last=False)
        return made


_DRAWS, _SIGNS = _Shelf(_SHELF_BYTES), _Shelf(_SHELF_BYTES)


def _kept_draws(n_subjects: int, n_boot: int, level: float, seed: int) -> Draws:
    """The draws of a report are the same for each of its hundreds of figures: made once for each number of subjects."""

    def make() -> NDArray[np.generic]:
        return draw_subjects(n_subjects, n_boot=n_boot, level=level, seed=seed).counts

    return Draws(_DRAWS.get((n_subjects, n_boot, seed), make), level)


def _kept_signs(n_subjects: int, n_permutations: int, seed: int) -> NDArray[np.int8]:
    def make() -> NDArray[np.generic]:
        return swap_signs(n_subjects, n_permutations=n_permutations, seed=seed)

    return np.asarray(_SIGNS.get((n_subjects, n_permutations, seed), make), np.int8)


def draw_subjects(n_subjects: int, *, n_boot: int = N_BOOT, level: float = LEVEL, seed: int) -> Draws:
    """Draw as many subjects as there are, with replacement, ``n_boot`` times.

    Parameters
    ----------
    n_subjects : int
        1 or more.
    n_boot : int
    level : float
        Of the intervals that will be read off, in (0, 1).
    seed : int
    """
    if n_subjects < 1 or n_boot < 1:
        raise InvalidInputError(f"a bootstrap needs subjects and draws, got {n_subjects} and {n_boot}")
    if not 0 < level < 1:
        raise InvalidInputError(f"level must lie in (0, 1), got {level}")
    rng = np.random.default_rng(seed)
    counts = np.zeros((n_boot, n_subjects), np.uint8)  # of 256 people or more, nobody is drawn 256 times
    for start in range(0, n_boot, _BLOCK):
        n = min(_BLOCK, n_boot - start)
        drawn = rng.integers(0, n_subjects, (n, n_subjects)) + n_subjects * np.arange(n)[:, None]
        counts[start : start + n] = np.bincount(drawn.ravel(), minlength=n * n_subjects).reshape(n, n_subjects)
    return Draws(counts, level)


def percentile_interval(value: float, samples: ArrayLike, level: float = LEVEL) -> Interval:
    """Percentile bootstrap interval; samples in which the statistic was undefined (NaN) are left out.

    Parameters
    ----------
    value : float
        The statistic on the data themselves.
    samples : (n_boot,)
    level : float

    Returns
    -------
    Interval
        NaN bounds where fewer than half of the samples are defined.
    """
    x = np.asarray(samples, np.float64)
    defined = x[np.isfinite(x)]
    if not np.isfinite(value) or len(defined) < max(1, len(x) / 2):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def subject_index(subjects: Sequence[int] | NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Place of each row's subject among the sorted ids, and the number of subjects."""
    ids, index = np.unique(np.asarray(subjects, np.int64), return_inverse=True)
    return index.astype(np.int64), len(ids)


def bootstrap_mean(values: ArrayLike, index: NDArray[np.int64], draws: Draws) -> Interval:
    """Mean over rows with an interval over subjects.

    Parameters
    ----------
    values : (N,)
        NaN rows are left out.
    index : (N,) int
        Place of each row's subject in the columns of ``draws``.
    draws : Draws

    Returns
    -------
    Interval
        NaN bounds where fewer than two subjects have a value. Where all values are equal the bounds are equal too:
        for proportions use ``bootstrap_share``.
    """
    x = np.asarray(values, np.float64).reshape(-1)
    _check_index(x, index, draws)
    known = np.isfinite(x)
    if not known.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    sums = np.bincount(index[known], x[known], minlength=draws.n_subjects)
    rows = np.bincount(index[known], minlength=draws.n_subjects)
    value = float(sums.sum() / rows.sum())
    if np.count_nonzero(rows) < 2:
        return Interval(value, float("nan"), float("nan"))
    total, drawn = draws.sums(np.stack([sums, rows], axis=1)).T
    samples = np.divide(total, drawn, out=np.full(draws.n_boot, np.nan), where=drawn > 0)
    return percentile_interval(value, samples, draws.level)


def bootstrap_share(hits: ArrayLike, index: NDArray[np.int64], draws: Draws) -> Interval:
    """Share of rows that hit, with an interval over subjects; Clopper-Pearson on the subjects where it is 0 or 1.

    Parameters
    ----------
    hits : (N,)
        In [0, 1] (a fraction where a tie is split); NaN rows are left out.
    index : (N,) int
    draws : Draws
    """
    x = np.asarray(hits, np.float64).reshape(-1)
    known = np.isfinite(x)
    if ((x[known] < 0) | (x[known] > 1)).any():
        raise InvalidInputError(f"hits must lie in [0, 1], got {x[known].min()} to {x[known].max()}")
    interval = bootstrap_mean(x, index, draws)
    if interval.value in {0.0, 1.0}:
        n = len(np.unique(index[known]))
        return clopper_pearson(n if interval.value else 0, n, draws.level)
    return interval


def bootstrap_statistic(
    statistic: Callable[[NDArray[np.int64]], float], index: NDArray[np.int64], draws: Draws
) -> Interval:
    """Any statistic of rows, computed again on each draw: the general and slow way.

    Parameters
    ----------
    statistic : callable
        Takes row numbers (repeated where a subject was drawn more than once) and returns a number or NaN.
    index : (N,) int
    draws : Draws
    """
    _check_index(index, index, draws)
    order = np.argsort(index, kind="stable")
    samples = [statistic(np.repeat(order, counts[index[order]].astype(np.int64))) for counts in draws.counts]
    return percentile_interval(float(statistic(np.arange(len(index)))), samples, draws.level)


def half_sample_interval(
    statistic: Callable[[NDArray[np.bool_]], float],
    value: float,
    index: NDArray[np.int64],
    n_subjects: int,
    plan: Plan,
    n_draws: int = N_HALVES,
) -> Interval:
    """Interval from halves of the people, its width scaled to all of them, around the value on everybody.

    For distances between collections: a bootstrap would draw people twice and so shrink the covariances.

    Parameters
    ----------
    statistic : callable
        Takes a mask of rows and returns a number or NaN.
    value : float
        The statistic on all rows.
    index : (N,) int
        Place of each row's subject.
    n_subjects : int
    plan : Plan
    n_draws : int
    """
    rng = np.random.default_rng(plan.seed)
    samples = []
    for _ in range(n_draws):
        chosen = np.zeros(n_subjects, np.bool_)
        chosen[rng.permutation(n_subjects)[: n_subjects // 2]] = True
        samples.append(statistic(chosen[index]))
    known = np.array(samples)[np.isfinite(samples)]
    if len(known) < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known - known.mean(), [(1 - plan.level) / 2, (1 + plan.level) / 2])
    return Interval(value, value + float(low), value + float(high))


def _check_index(x: NDArray[np.generic], index: NDArray[np.int64], draws: Draws) -> None:
    if index.shape != x.shape:
        raise InvalidInputError(f"index must have shape {x.shape}, got {index.shape}")
    if len(index) and (index.min() < 0 or index.max() >= draws.n_subjects):
        raise InvalidInputError(f"index must lie in 0..{draws.n_subjects - 1}, got {index.min()} to {index.max()}")


def swap_signs(n_subjects: int, *, n_permutations: int = N_PERMUTATIONS, seed: int) -> NDArray[np.int8]:
    """(n_permutations, n_subjects) of -1 (this subject's two readings change places) and 1."""
    rng = np.random.default_rng(seed)
    signs = np.empty((n_permutations, n_subjects), np.int8)
    for start in range(0, n_permutations, _BLOCK):
        part = signs[start : start + _BLOCK]
        part[:] = 2 * rng.integers(0, 2, part.shape) - 1
    return signs


def permutation_result(observed: float, permuted: ArrayLike) -> PermutationResult:
    """Place an observed statistic among permuted ones; large values speak against chance.

    Parameters
    ----------
    observed : float
    permuted : (n_permutations,)

    Notes
    -----
    The observed order counts as one permutation, so that p is never 0: Phipson and Smyth 2010,
    doi:10.2202/1544-6115.1585.
    """
    x = np.asarray(permuted, np.float64)
    if not len(x):
        raise InvalidInputError("a permutation test needs permutations, got none")
    if not np.isfinite(observed):
        return PermutationResult(observed, float("nan"), float("nan"), float("nan"))
    at_least = np.count_nonzero(x >= observed - 1e-12 * max(1.0, abs(observed)))
    return PermutationResult(observed, float(x.mean()), float(np.quantile(x, 0.95)), (1 + at_least) / (1 + len(x)))


def swap_permutation(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    signs: NDArray[np.int8],
) -> PermutationResult:
    """Permutation test of two readings of the same subjects: each subject's readings may change places.

    Parameters
    ----------
    first, second : (n_subjects, K)
        What each subject adds to the two sums, such as one-hot category counts.
    statistic : callable
        Takes two arrays (P, K) of sums and returns (P,) values.
    signs : (n_permutations, n_subjects)
        From ``swap_signs``.
    """
    if first.shape != second.shape or signs.shape[1:] != first.shape[:1]:
        raise InvalidInputError(f"readings and signs must agree, got {first.shape}, {second.shape} and {signs.shape}")
    total = (first + second).sum(axis=0)
    gap = _product(signs, second - first)  # (P, K)
    permuted = statistic((total - gap) / 2, (total + gap) / 2)
    observed = statistic(first.sum(axis=0)[None], second.sum(axis=0)[None])[0]
    return permutation_result(float(observed), permuted)


def score_permutation(contributions: NDArray[np.float64], signs: NDArray[np.int8]) -> PermutationResult:
    """Permutation test of ``statistics.score_test``'s statistic: each subject's contribution may turn its sign.

    Parameters
    ----------
    contributions : (n_subjects, K)
    signs : (n_permutations, n_subjects)
        From ``swap_signs``.
    """
    inverse = np.linalg.pinv(contributions.T @ contributions, rcond=1e-10, hermitian=True)

    def statistic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(((sums @ inverse) * sums).sum(axis=1), np.float64)

    observed = statistic(contributions.sum(axis=0)[None])[0]
    return permutation_result(float(observed), statistic(_product(signs, contributions)))
