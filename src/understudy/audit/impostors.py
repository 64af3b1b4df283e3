"""Comparisons of different people, which grow with the square of a collection: gone through, never held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audit.reidentification import Faces, found_blocks
from understudy.errors import InvalidInputError

SAMPLE = 1 << 16
"""Comparisons of a sample at most."""
TAIL = 0.03
"""Share of all in the upper tail that thresholds are exact in."""
N_BINS = 4096


@dataclass(frozen=True)
class Pairs:
    """Comparisons with the two subjects of each, as places among all subjects; sorted, most similar first."""

    score: NDArray[np.float64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]


class Impostors:
    """All comparisons of found faces of different people; a face is never compared with itself.

    Parameters
    ----------
    probes, gallery : Faces
        May be one object: each two faces are compared once then. All faces of the gallery must be found.
    names : (S,) int
        All subjects, sorted.
    """

    def __init__(self, probes: Faces, gallery: Faces, names: NDArray[np.int64]) -> None:
        self._probes, self._gallery, self.names = probes, gallery, names
        self._first, self._second = (np.searchsorted(names, f.subjects) for f in (probes, gallery))
        self._n_first = np.bincount(self._first[probes.found], minlength=len(names))
        self._n_second = np.bincount(self._second, minlength=len(names))
        self.n_of_probe = self._n_first * (self._n_second.sum() - self._n_second)
        """(S,) how many the probes of each subject take part in."""
        self._nearest: Pairs | None = None
        self.n = int(self.weight(np.ones(len(names))))
        """How many there are."""

    def weight(self, counts: NDArray[np.generic]) -> float:
        """How many there are where each subject counts as often as it was drawn; doubles of one are no pair.

        Parameters
        ----------
        counts : (S,)
        """
        times = np.asarray(counts, np.float64)
        own = float((times**2 * self._n_first * self._n_second).sum())
        everybody = float(times @ self._n_first) * float(times @ self._n_second)
        return (everybody - own) / (2 if self._probes is self._gallery else 1)

    def scores(self) -> Iterator[NDArray[np.float64]]:
        """Similarities, block by block, always in the same order."""
        for scores, wanted, _ in self._blocks():
            yield scores[wanted]

    def per_subject(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Similarities and the probe's subject of each, block by block."""
        for scores, wanted, rows in self._blocks():
            yield scores[wanted], np.repeat(self._first[rows], wanted.sum(axis=1))

    def nearest(self, n: int) -> Pairs:
        """The most similar ones, at least ``n`` of them or all; of equal ones, those that come first."""
        n = min(n, self.n)
        if self._nearest is None or len(self._nearest.score) < n:
            self._nearest = self._most_similar(n)
        return self._nearest

    def sample(self) -> NDArray[np.float64]:
        """Every k-th similarity, sorted upwards: all of them where there are few."""
        step, at, kept = max(1, -(-self.n // SAMPLE)), 0, []
        for scores in self.scores():
            kept.append(scores[-at % step :: step])
            at += len(scores)
        return np.sort(np.concatenate(kept)) if kept else np.zeros(0)

    def thresholds(self, fars: NDArray[np.float64]) -> NDArray[np.float64]:
        """Similarities over which those shares of all lie; exact in the upper tail, from a sample below it.

        Parameters
        ----------
        fars : (T,) in (0, 1]
        """
        if not self.n:
            raise InvalidInputError("a threshold needs two people or more, and their faces")
        tail = self.nearest(min(self.n, int(self.n * TAIL) + 1)).score
        place = np.minimum((fars * self.n + 1e-9).astype(np.int64), self.n - 1)
        sample = self.sample() if (place >= len(tail)).any() else tail
        below = np.quantile(sample, 1 - np.asarray(fars), method="lower")
        exact = tail[np.minimum(place, len(tail) - 1)]
        return np.asarray(np.where(fars >= 1, -np.inf, np.where(place < len(tail), exact, below)), np.float64)

    def _blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]]:
        for rows, scores in found_blocks(self._probes, self._gallery):
            wanted = self._first[rows][:, None] != self._second[None]
            if self._probes is self._gallery:
                wanted &= rows[:, None] < np.arange(len(self._second))[None]
            yield scores, wanted, rows

    def _most_similar(self, n: int) -> Pairs:
        score, first, second = np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
        for scores, wanted, rows in self._blocks():
            if len(score) == n and n:
                wanted &= scores > score.min()  # an equal one comes later, so it stays out
            i, j = np.nonzero(wanted)
            score = np.concatenate([score, scores[i, j]])
            first = np.concatenate([first, self._first[rows][i]])
            second = np.concatenate([second, self._second[j]])
            if len(score) > n:
                kept = np.sort(np.argsort(-score, kind="stable")[:n])
                score, first, second = score[kept], first[kept], second[kept]
        order = np.argsort(-score, kind="stable")
        return Pairs(score[order], first[order], second[order])


def error_rate(genuine: NDArray[np.float64], impostors: Impostors) -> float:
    """Error rate where as many genuine pairs fail as impostor pairs pass: ``equal_error_rate`` without holding them.

    A histogram finds where the two rates cross, and only the similarities there are looked at one by one.

    Parameters
    ----------
    genuine : (N,)
        -inf stands for a pair whose face was not found.
    impostors : Impostors
    """
    if not len(genuine) or not impostors.n:
        return float("nan")
    g = np.sort(genuine)
    low = min(float(scores.min()) for scores in impostors.scores() if len(scores))
    high = max(float(scores.max()) for scores in impostors.scores() if len(scores))
    edges = np.linspace(low, high, N_BINS + 1)
    edges[-1] = high  # the sum of steps may fall short of it
    counts = np.zeros(N_BINS + 2, np.int64)
    for scores in impostors.scores():
        counts += np.bincount(np.searchsorted(edges, scores, side="right"), minlength=N_BINS + 2)
    passed = counts[::-1].cumsum()[::-1][1:]  # at least as similar as each edge
    gap = np.searchsorted(g, edges, side="left") / len(g) - passed / impostors.n
    k = int(np.flatnonzero(gap <= 0)[-1]) if (gap <= 0).any() else 0
    first = edges[k]
    last = edges[k + 1] if k < N_BINS else np.inf
    inside = np.sort(np.concatenate([s[(s >= first) & (s <= last)] for s in impostors.scores()]))
    beyond = sum(int((s > last).sum()) for s in impostors.scores())
    steps = np.unique([first, *g[(g >= first) & (g <= last)], *inside, *_next(g, last), np.inf])
    missed = np.searchsorted(g, steps, side="left") / len(g)
    over = np.where(steps > last, 0, len(inside) - np.searchsorted(inside, steps, side="left")) + np.where(
        np.isinf(steps), 0, beyond
    )
    rate = 1 - (impostors.n - over) / impostors.n  # rounded as by ``equal_error_rate``, so that ties fall alike
    nearest = int(np.argmin(np.abs(missed - rate)))
    return float((missed[nearest] + rate[nearest]) / 2)


def _next(values: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    """The first of sorted values over another."""
    return values[values > at][:1]
