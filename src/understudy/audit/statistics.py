"""Intervals and paired tests for small tables and samples. Pure; each figure carries its n and its effect size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.stats import rankdata

from understudy.errors import InvalidInputError

LEVEL = 0.95
"""Confidence level where none is given."""
EXACT_WILCOXON_N = 50
"""Up to this many non-zero differences without ties, the signed-rank test counts all sign patterns."""


@dataclass(frozen=True)
class Interval:
    """A figure between two bounds; NaN bounds where the data do not carry an interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """A two-sided test of paired readings."""

    name: str
    statistic: float
    p_value: float
    """1 where nothing differs; NaN where there are no pairs."""
    effect: float
    """Size of the difference on the scale named by ``effect_name``; its sign is that of second minus first."""
    effect_name: str
    n: int
    """Pairs that the test rests on."""


def _check_proportion(n_hits: float, n: float, level: float) -> None:
    if not 0 <= n_hits <= n:
        raise InvalidInputError(f"n_hits must lie in [0, n], got {n_hits} of {n}")
    if not 0 < level < 1:
        raise InvalidInputError(f"level must lie in (0, 1), got {level}")


def clopper_pearson(n_hits: int, n: int, level: float = LEVEL) -> Interval:
    """Exact interval of a proportion; holds its level always and is wide for it.

    Parameters
    ----------
    n_hits, n : int
        Hits among independent trials; n = 0 gives NaN with bounds 0 and 1.
    level : float
        In (0, 1).

    Notes
    -----
    Beta quantiles at (1 - level) / 2: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    _check_proportion(n_hits, n, level)
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    tail = (1 - level) / 2
    low = float(special.betaincinv(n_hits, n - n_hits + 1, tail)) if n_hits else 0.0
    high = float(special.betaincinv(n_hits + 1, n - n_hits, 1 - tail)) if n_hits < n else 1.0
    return Interval(n_hits / n, low, high)


def wilson(n_hits: int, n: int, level: float = LEVEL) -> Interval:
    """Score interval of a proportion: near its level on average, never outside [0, 1].

    Parameters
    ----------
    n_hits, n : int
        Hits among independent trials; n = 0 gives NaN with bounds 0 and 1.
    level : float
        In (0, 1).

    Notes
    -----
    Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    _check_proportion(n_hits, n, level)
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    z = float(special.ndtri((1 + level) / 2))
    share = n_hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Step-down p-values that bound the chance of one false alarm in the whole family.

    Parameters
    ----------
    p_values : (N,)
        NaN marks what could not be tested: it stays NaN and does not count in the family.

    Notes
    -----
    Holm 1979, https://www.jstor.org/stable/4615733.
    """
    p = np.asarray(p_values, np.float64).reshape(-1)
    tested = np.flatnonzero(np.isfinite(p))
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise InvalidInputError(f"p_values must lie in [0, 1], got {p[tested].min()} to {p[tested].max()}")
    adjusted = np.full_like(p, np.nan)
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def transition_counts(first: ArrayLike, second: ArrayLike, n_categories: int) -> NDArray[np.int64]:
    """How often each category became which: rows are the first reading, columns the second.

    Parameters
    ----------
    first, second : (N,) int
        Categories from 0; -1 marks an invalid reading, and its pair is left out.
    n_categories : int

    Returns
    -------
    (n_categories, n_categories) int64
    """
    a, b = np.asarray(first, np.int64).reshape(-1), np.asarray(second, np.int64).reshape(-1)
    if a.shape != b.shape:
        raise InvalidInputError(f"paired readings must be as many, got {len(a)} and {len(b)}")
    for values in (a, b):
        if len(values) and (values.min() < -1 or values.max() >= n_categories):
            raise InvalidInputError(
                f"categories must lie in -1..{n_categories - 1}, got {values.min()} to {values.max()}"
            )
    valid = (a >= 0) & (b >= 0)
    cells = np.bincount(a[valid] * n_categories + b[valid], minlength=n_categories**2)
    return cells.reshape(n_categories, n_categories).astype(np.int64)


def _square(table: ArrayLike) -> NDArray[np.float64]:
    counts = np.asarray(table, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.shape[0] < 2:
        raise InvalidInputError(f"table must be square with 2 categories or more, got shape {counts.shape}")
    if (counts < 0).any():
        raise InvalidInputError(f"table must hold counts, got {counts.min()}")
    return counts


def mcnemar(table: ArrayLike) -> PairedTest:
    """Exact test of whether a yes-or-no reading moved more often one way than the other.

    Parameters
    ----------
    table : (2, 2) counts
        Rows: first reading (no, yes); columns: second.

    Returns
    -------
    PairedTest
        ``effect`` is the change of the share of yes, second minus first.

    Notes
    -----
    Binomial on the discordant pairs: McNemar 1947, doi:10.1007/BF02295996.
    """
    counts = _square(table)
    if counts.shape != (2, 2):
        raise InvalidInputError(f"McNemar's table is (2, 2), got {counts.shape}: use bowker or stuart_maxwell")
    up, down, n = counts[0, 1], counts[1, 0], counts.sum()
    p = min(1.0, 2 * float(special.bdtr(min(up, down), int(up + down), 0.5))) if up + down else 1.0
    effect = float((up - down) / n) if n else float("nan")
    return PairedTest("mcnemar", float(min(up, down)), p if n else float("nan"), effect, "change of share", int(n))


def bowker(table: ArrayLike) -> PairedTest:
    """Test of symmetry: whether any pair of categories is crossed more often one way than the other.

    Parameters
    ----------
    table : (K, K) counts

    Returns
    -------
    PairedTest
        ``effect`` is the share of pairs in excess on one side of the diagonal, summed over category pairs, in [0, 1].

    Notes
    -----
    Chi-square with one degree of freedom for each pair of categories that occurs: Bowker 1948,
    doi:10.1080/01621459.1948.10483284.
    """
    counts = _square(table)
    upper = np.triu_indices(len(counts), 1)
    one_way, other_way = counts[upper], counts.T[upper]
    crossed = one_way + other_way
    seen = crossed > 0
    n = counts.sum()
    gap = np.abs(one_way - other_way)[seen]
    statistic = float((gap**2 / crossed[seen]).sum())
    p = float(special.chdtrc(seen.sum(), statistic)) if seen.any() else 1.0
    effect = float(gap.sum() / n) if n else float("nan")
    return PairedTest("bowker", statistic, p if n else float("nan"), effect, "one-sided excess", int(n))


def score_test(contributions: ArrayLike) -> tuple[float, int, float]:
    """Test of whether independent people's contributions sum to zero more closely than to anything else.

    Parameters
    ----------
    contributions : (n_subjects, K)
        What each person adds to each of K excesses, such as category counts after minus before.

    Returns
    -------
    statistic, degrees of freedom, p-value
        The p-value is 1 where nobody contributes anything.

    Notes
    -----
    d' V^+ d with d the sum and V the sum of outer products, chi-square with the rank of V. With one picture for each
    person this is Stuart-Maxwell (K categories) and Bowker (K pairs of categories); with several it allows for their
    dependence, as in Durkalski et al. 2003, doi:10.1002/sim.1438.
    """
    rows = np.asarray(contributions, np.float64)
    return _chi_square(rows.sum(axis=0), rows.T @ rows)


def _chi_square(excess: NDArray[np.float64], covariance: NDArray[np.float64]) -> tuple[float, int, float]:
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True)) if covariance.any() else 0
    if rank == 0:
        return 0.0, 0, 1.0
    statistic = float(excess @ np.linalg.pinv(covariance, rcond=1e-10, hermitian=True) @ excess)
    return statistic, rank, float(special.chdtrc(rank, max(statistic, 0.0)))


def stuart_maxwell(table: ArrayLike) -> PairedTest:
    """Test of marginal homogeneity: whether the distribution of the categories moved.

    Parameters
    ----------
    table : (K, K) counts

    Returns
    -------
    PairedTest
        ``effect`` is the total variation between the two margins, in [0, 1].

    Notes
    -----
    Stuart 1955, doi:10.1093/biomet/42.3-4.412; categories that never change count no degree of freedom.
    """
    counts = _square(table)
    n = counts.sum()
    excess = counts.sum(axis=0) - counts.sum(axis=1)
    crossed = counts + counts.T
    np.fill_diagonal(crossed, 0)
    statistic, _, p = _chi_square(excess, np.diag(crossed.sum(axis=1)) - crossed)
    effect = float(np.abs(excess).sum() / (2 * n)) if n else float("nan")
    return PairedTest("stuart_maxwell", statistic, p if n else float("nan"), effect, "total variation", int(n))


def _differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Second minus first, without pairs that hold a NaN."""
    a, b = np.asarray(first, np.float64).reshape(-1), np.asarray(second, np.float64).reshape(-1)
    if a.shape != b.shape:
        raise InvalidInputError(f"paired readings must be as many, got {len(a)} and {len(b)}")
    d = b - a
    return np.asarray(d[np.isfinite(d)], np.float64)


def _signed_rank_tail(rank_sum: float, n: int) -> float:
    """Exact P(W <= rank_sum) of the signed-rank sum of n untied ranks."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1
    for rank in range(1, n + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    return float(ways[: int(rank_sum) + 1].sum() / 2.0**n)


def wilcoxon(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Signed-rank test of whether paired differences are symmetric about zero.

    Parameters
    ----------
    first, second : (N,)
        Pairs with a NaN and differences of zero are left out.

    Returns
    -------
    PairedTest
        ``effect`` is the matched-pairs rank-biserial correlation, -1 to 1.

    Notes
    -----
    Exact without ties up to 50 differences, else normal with the correction for ties: Wilcoxon 1945,
    doi:10.2307/3001968; effect: Kerby 2014, doi:10.2466/11.IT.3.1.
    """
    every = _differences(first, second)
    d = every[every != 0]
    n = len(d)
    if n == 0:
        p = 1.0 if len(every) else float("nan")
        return PairedTest("wilcoxon", 0.0, p, 0.0 if len(every) else float("nan"), "rank biserial", len(every))
    ranks = np.asarray(rankdata(np.abs(d)), np.float64)
    up, total = float(ranks[d > 0].sum()), n * (n + 1) / 2
    smaller = min(up, total - up)
    _, ties = np.unique(ranks, return_counts=True)
    if n <= EXACT_WILCOXON_N and (ties == 1).all():
        p = min(1.0, 2 * _signed_rank_tail(smaller, n))
    else:
        variance = n * (n + 1) * (2 * n + 1) / 24 - float((ties**3 - ties).sum()) / 48
        p = 2 * float(special.ndtr((smaller - total / 2) / np.sqrt(variance)))
    return PairedTest("wilcoxon", smaller, min(p, 1.0), (2 * up - total) / total, "rank biserial", n)


def paired_t(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Student's test of whether the mean of paired differences is zero.

    Parameters
    ----------
    first, second : (N,)
        Pairs with a NaN are left out; fewer than two pairs give NaN.

    Returns
    -------
    PairedTest
        ``effect`` is Cohen's d_z, the mean over the standard deviation of the differences.
    """
    d = _differences(first, second)
    n = len(d)
    if n < 2:
        return PairedTest("paired_t", float("nan"), float("nan"), float("nan"), "Cohen's d_z", n)
    mean, deviation = float(d.mean()), float(d.std(ddof=1))
    if deviation <= 1e-12 * max(abs(mean), float(np.abs(d).max())):
        certain = mean != 0
        infinite = float(np.copysign(np.inf, mean)) if certain else 0.0
        return PairedTest("paired_t", infinite, 0.0 if certain else 1.0, infinite, "Cohen's d_z", n)
    t = mean / deviation * float(np.sqrt(n))
    return PairedTest("paired_t", t, 2 * float(special.stdtr(n - 1, -abs(t))), mean / deviation, "Cohen's d_z", n)


def subject_means(values: ArrayLike, subjects: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
    """One mean for each subject, in the order of their ids, so that a test on them sees independent rows.

    Parameters
    ----------
    values : (N,) or (N, K)
        NaN rows are left out of their subject's mean; a subject without any is NaN.
    subjects : (N,) int
    """
    x = np.asarray(values, np.float64)
    ids, index = np.unique(np.asarray(subjects, np.int64), return_inverse=True)
    if len(index) != len(x):
        raise InvalidInputError(f"values and subjects must be as many, got {len(x)} and {len(index)}")
    known = np.isfinite(x)
    sums, counts = np.zeros((len(ids), *x.shape[1:])), np.zeros((len(ids), *x.shape[1:]))
    np.add.at(sums, index, np.where(known, x, 0))
    np.add.at(counts, index, known)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
