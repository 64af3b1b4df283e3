"""Figures by group: written once, for every metric that is a function of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from understudy.audit.resampling import N_PERMUTATIONS, PermutationResult, permutation_result, subject_index
from understudy.errors import InvalidInputError

T = TypeVar("T")

MINIMUM_N = 10
"""Subjects under which a group's figure is withheld where no other number is given."""
OVERALL = "overall"
"""Name of the group of everybody."""
SEPARATOR = " & "
"""Between the names of an intersection."""


@dataclass(frozen=True)
class Grouping:
    """Which group each row belongs to."""

    attribute: str
    names: tuple[str, ...]
    index: NDArray[np.int64]  # (N,) place in names, -1 = no label

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise InvalidInputError(f"group names must differ, got {list(self.names)}")
        if len(self.index) and (self.index.min() < -1 or self.index.max() >= len(self.names)):
            raise InvalidInputError(
                f"index must lie in -1..{len(self.names) - 1}, got {self.index.min()} to {self.index.max()}"
            )


@dataclass(frozen=True)
class GroupValue(Generic[T]):
    """A metric of one group."""

    name: str
    n: int
    """Rows."""
    n_subjects: int
    value: T | None
    """None where the group has fewer subjects than the minimum."""


def group_by(attribute: str, labels: Sequence[object], order: Sequence[str] = ()) -> Grouping:
    """Group rows by one attribute.

    Parameters
    ----------
    attribute : str
        Such as "skin_tone".
    labels : (N,)
        Anything with a name; None, NaN and the empty string mean "no label".
    order : sequence of str
        Names in the order of the attribute where it has one; names that are not in it follow, sorted.
    """
    names = ["" if label is None or label != label else str(label).strip() for label in labels]
    known = list(order) + sorted(set(names) - set(order) - {""})
    present = [name for name in known if name in set(names)]
    place = {name: i for i, name in enumerate(present)}
    return Grouping(attribute, tuple(present), np.array([place.get(name, -1) for name in names], np.int64))


def intersect(*groupings: Grouping) -> Grouping:
    """Group rows by several attributes at once; only intersections that occur are named.

    Parameters
    ----------
    *groupings : Grouping
        Two or more over the same rows; a row without one of the labels has none.
    """
    if len(groupings) < 2 or len({len(g.index) for g in groupings}) != 1:
        raise InvalidInputError(
            f"an intersection needs two groupings of the same rows, got lengths {[len(g.index) for g in groupings]}"
        )
    parts = np.stack([g.index for g in groupings], axis=1)  # (N, G)
    index = np.full(len(parts), -1, np.int64)
    labelled = (parts >= 0).all(axis=1)
    attribute = SEPARATOR.join(g.attribute for g in groupings)
    if not labelled.any():
        return Grouping(attribute, (), index)
    cells, index[labelled] = np.unique(parts[labelled], axis=0, return_inverse=True)
    names = tuple(SEPARATOR.join(g.names[i] for g, i in zip(groupings, cell, strict=True)) for cell in cells)
    return Grouping(attribute, names, index)


def overall(metric: Callable[[NDArray[np.int64]], T], n: int) -> T:
    """The metric of all rows.

    Parameters
    ----------
    metric : callable
        Takes row numbers.
    n : int
    """
    return metric(np.arange(n))


def by_group(
    metric: Callable[[NDArray[np.int64]], T],
    grouping: Grouping,
    subjects: Sequence[int] | NDArray[np.int64],
    minimum_n: int = MINIMUM_N,
) -> tuple[GroupValue[T], ...]:
    """The metric of each group, in the grouping's order.

    Parameters
    ----------
    metric : callable
        Takes row numbers.
    grouping : Grouping
    subjects : (N,) int
    minimum_n : int
        Groups with fewer subjects are named and counted, and their value is withheld.
    """
    ids = np.asarray(subjects, np.int64)
    if ids.shape != grouping.index.shape:
        raise InvalidInputError(f"subjects must have shape {grouping.index.shape}, got {ids.shape}")
    values = []
    for i, name in enumerate(grouping.names):
        rows = np.flatnonzero(grouping.index == i)
        n_subjects = len(np.unique(ids[rows]))
        value = metric(rows) if n_subjects >= max(minimum_n, 1) else None
        values.append(GroupValue(name, len(rows), n_subjects, value))
    return tuple(values)


def difference(values: ArrayLike, overall_value: float | None = None) -> float:
    """Largest gap between groups, or between a group and everybody.

    Parameters
    ----------
    values : (G,)
        One figure for each group; NaN is left out.
    overall_value : float, optional
        With it, the largest absolute gap to it.

    Returns
    -------
    float
        0 or more; NaN where there is nothing to compare. Biased upward in small groups: see ``group_gap``.
    """
    x = _known(values)
    if overall_value is not None:
        return float(np.abs(x - overall_value).max()) if len(x) else float("nan")
    return float(x.max() - x.min()) if len(x) > 1 else float("nan")


def ratio(values: ArrayLike, overall_value: float | None = None) -> float:
    """Smallest ratio between groups, or between a group and everybody, folded to at most 1.

    Parameters
    ----------
    values : (G,)
        One figure of 0 or more for each group; NaN is left out.
    overall_value : float, optional
        With it, the smallest ratio to it.

    Returns
    -------
    float
        In [0, 1]; 1 where all are 0; NaN where there is nothing to compare.
    """
    x = _known(values)
    if (x < 0).any() or (overall_value is not None and overall_value < 0):
        raise InvalidInputError(f"a ratio needs figures of 0 or more, got {x.min()}")
    if overall_value is None:
        return _folded(float(x.min()), float(x.max())) if len(x) > 1 else float("nan")
    return min((_folded(float(v), overall_value) for v in x), default=float("nan"))


def _known(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, np.float64).reshape(-1)
    return x[np.isfinite(x)]


def _folded(a: float, b: float) -> float:
    return min(a, b) / max(a, b) if max(a, b) > 0 else 1.0


def group_gap(
    values: ArrayLike,
    grouping: Grouping,
    subjects: Sequence[int] | NDArray[np.int64],
    *,
    minimum_n: int = MINIMUM_N,
    statistic: Literal["difference", "ratio"] = "difference",
    n_permutations: int = N_PERMUTATIONS,
    seed: int,
) -> PermutationResult:
    """Gap between the groups' means beside the gap that shuffled group labels give.

    Parameters
    ----------
    values : (N,)
        NaN rows are left out.
    grouping : Grouping
        A subject counts with its most frequent label; subjects without one are left out.
    subjects : (N,) int
    minimum_n : int
        Groups with fewer subjects that have a value do not take part.
    statistic : "difference" or "ratio"
        ``ratio`` is turned into 1 - ratio, so that large speaks for a gap in both.
    n_permutations, seed : int
        Labels are shuffled over subjects, not over rows.

    Returns
    -------
    PermutationResult
        NaN where fewer than two groups are large enough.
    """
    x = np.asarray(values, np.float64).reshape(-1)
    place, n_subjects = subject_index(subjects)
    known = np.isfinite(x)
    sums = np.bincount(place[known], x[known], minlength=n_subjects)
    rows = np.bincount(place[known], minlength=n_subjects)
    label = _subject_labels(grouping, place, n_subjects)
    label[rows == 0] = -1
    sizes = np.bincount(label[label >= 0], minlength=len(grouping.names))
    large = np.flatnonzero(sizes >= max(minimum_n, 1))
    if len(large) < 2:
        return PermutationResult(float("nan"), float("nan"), float("nan"), float("nan"))
    taking_part = np.isin(label, large)
    sums, rows, label = sums[taking_part], rows[taking_part], np.searchsorted(large, label[taking_part])
    measure = difference if statistic == "difference" else lambda v: 1 - ratio(v)

    def gap(labels: NDArray[np.int64]) -> float:
        return float(measure(np.bincount(labels, sums) / np.bincount(labels, rows)))

    rng = np.random.default_rng(seed)
    return permutation_result(gap(label), [gap(rng.permutation(label)) for _ in range(n_permutations)])


def _subject_labels(grouping: Grouping, place: NDArray[np.int64], n_subjects: int) -> NDArray[np.int64]:
    """Most frequent label of each subject, the first of equally frequent ones; -1 without any."""
    votes = np.zeros((n_subjects, max(len(grouping.names), 1)), np.int64)
    labelled = grouping.index >= 0
    np.add.at(votes, (place[labelled], grouping.index[labelled]), 1)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)
