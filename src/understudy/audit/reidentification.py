"""Who is still recognised: closed-set search of anonymised faces among original ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from understudy.audit.resampling import (
    PermutationResult,
    Plan,
    bootstrap_share,
    permutation_result,
    subject_index,
)
from understudy.audit.statistics import Interval
from understudy.errors import InvalidInputError

NAN = float("nan")
MAX_RANK = 50
BLOCK = 1 << 17
"""Comparisons that are held at a time, so that memory does not grow with a collection's square."""


@dataclass(frozen=True)
class Faces:
    """One attacker's embeddings of one folder; a row of NaN is a face that the attacker could not find."""

    embedding: NDArray[np.floating]  # (N, D)
    subjects: NDArray[np.int64]  # (N,)
    metric: Literal["cosine", "euclidean"] = "cosine"

    def __post_init__(self) -> None:
        if self.embedding.ndim != 2 or self.subjects.shape != self.embedding.shape[:1]:
            raise InvalidInputError(
                f"embedding must be (N, D) and subjects (N,), got {self.embedding.shape} and {self.subjects.shape}"
            )

    @property
    def found(self) -> NDArray[np.bool_]:
        """(N,) True where there is an embedding."""
        return np.asarray(np.isfinite(self.embedding).all(axis=1), np.bool_)

    def take(self, rows: NDArray[np.generic]) -> Faces:
        """Some of the rows, by number or mask."""
        return Faces(self.embedding[rows], self.subjects[rows], self.metric)


@dataclass(frozen=True)
class ClosedSet:
    """A search for each probe among the gallery's subjects."""

    hits: NDArray[np.float64]  # (N,) 1 where the nearest subject is the right one; a tie is split; NaN: unmated
    rank1: Interval
    """A probe without a face counts as not identified."""
    cmc: NDArray[np.float64]  # (ranks,) share of probes whose subject is among the nearest 1, 2, ...
    chance: PermutationResult
    """Rank-1 rate when the gallery's names are shuffled."""
    gallery_size: int
    """Subjects in the gallery."""
    not_found: Interval
    """Share of probes in which the attacker found no face."""
    n: int
    """Probes that the rates rest on."""
    n_unmated: int
    """Probes left out since their subject has no embedding in the gallery."""


def similarity(a: NDArray[np.floating], b: NDArray[np.floating], metric: str = "cosine") -> NDArray[np.float64]:
    """How alike embeddings are: cosine, or the Euclidean distance with its sign turned.

    Parameters
    ----------
    a : (N, D)
    b : (M, D)
    metric : "cosine" or "euclidean"

    Returns
    -------
    (N, M) float64
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if metric == "cosine":
        return np.asarray(_unit(x) @ _unit(y).T, np.float64)
    if metric == "euclidean":
        square = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
        return np.asarray(-np.sqrt(np.maximum(square, 0)), np.float64)
    raise InvalidInputError(f"metric must be 'cosine' or 'euclidean', got {metric!r}")


def _unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1), np.float64)


def found_blocks(probes: Faces, gallery: Faces) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Rows of found probes and their similarity to the gallery, block by block."""
    rows = np.flatnonzero(probes.found)
    height = max(1, BLOCK // max(len(gallery.subjects), 1))
    for start in range(0, len(rows), height):
        part = rows[start : start + height]
        yield part, similarity(probes.embedding[part], gallery.embedding, gallery.metric)


def searchable(probes: Faces, gallery: Faces) -> Faces:
    """The gallery without faces that the attacker could not find."""
    if probes.metric != gallery.metric or probes.embedding.shape[1] != gallery.embedding.shape[1]:
        raise InvalidInputError(
            f"probes and gallery must come from one attacker, got {probes.metric} {probes.embedding.shape[1]} "
            f"and {gallery.metric} {gallery.embedding.shape[1]}"
        )
    kept = gallery.take(gallery.found)
    if not len(kept.subjects):
        raise InvalidInputError("the attacker found no face at all in the gallery: nobody can be searched for")
    return kept


def search(probes: Faces, gallery: Faces, plan: Plan, *, max_rank: int = MAX_RANK) -> ClosedSet:
    """Closed-set identification of probes in a gallery.

    Parameters
    ----------
    probes : Faces
        Anonymised faces; for the raw control, other originals of the same people.
    gallery : Faces
        Original faces, one or more of each subject; a subject is as near as its nearest face.
    plan : Plan
        The gallery is held, the probes' subjects are drawn again.
    max_rank : int
        Length of the CMC.

    Returns
    -------
    ClosedSet
    """
    return search_parts([(probes, gallery)], plan, max_rank=max_rank)


def search_parts(parts: Sequence[tuple[Faces, Faces]], plan: Plan, *, max_rank: int = MAX_RANK) -> ClosedSet:
    """Closed-set identification where each part of the probes has its own view of one gallery, as after cross-fitting.

    Parameters
    ----------
    parts : sequence of (probes, gallery)
        The galleries hold the same subjects; rows of the result are those of the probes, part after part.
    plan : Plan
    max_rank : int
    """
    if not parts:
        raise InvalidInputError("a search needs probes, got no part")
    ranked = [_rank(probes, searchable(probes, gallery)) for probes, gallery in parts]
    n_gallery = ranked[0].n_gallery
    nearer, tied, nearest, own, mated = (
        np.concatenate([getattr(r, name) for r in ranked]) for name in ("nearer", "tied", "nearest", "own", "mated")
    )
    subjects = np.concatenate([probes.subjects for probes, _ in parts])
    found = np.concatenate([probes.found for probes, _ in parts])
    ranks = np.arange(1, min(max_rank, n_gallery) + 1)
    within = np.clip((ranks - nearer[:, None]) / (tied[:, None] + 1), 0, 1)  # a tie is drawn by lot
    hits = np.where(mated, within[:, 0], NAN)
    observed = float(hits[mated].mean()) if mated.any() else NAN
    return ClosedSet(
        hits=hits,
        rank1=_share(hits, subjects, plan),
        cmc=within[mated].mean(axis=0) if mated.any() else np.full(len(ranks), NAN),
        chance=_shuffled_names(nearest[mated], own[mated], observed, n_gallery, plan),
        gallery_size=n_gallery,
        not_found=_share(~found, subjects, plan),
        n=int(mated.sum()),
        n_unmated=int((~mated).sum()),
    )


@dataclass(frozen=True)
class _Ranked:
    """Where each probe's own subject lies among the gallery's."""

    nearer: NDArray[np.int64]  # (N,) subjects that are nearer than the own
    tied: NDArray[np.int64]  # (N,) other subjects at the same distance
    nearest: NDArray[np.int64]  # (N,) place of the nearest subject, -1 without a face
    own: NDArray[np.int64]  # (N,) place of the own subject
    mated: NDArray[np.bool_]  # (N,) the own subject is in the gallery
    n_gallery: int


def _rank(probes: Faces, gallery: Faces) -> _Ranked:
    place, n_gallery = subject_index(gallery.subjects)
    names = np.unique(gallery.subjects)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(n_gallery))
    own = np.searchsorted(names, probes.subjects).clip(0, n_gallery - 1)
    nearer, tied = np.full(len(own), max(n_gallery, MAX_RANK)), np.zeros(len(own), np.int64)
    nearest = np.full(len(own), -1)
    for rows, scores in found_blocks(probes, gallery):
        by_subject = np.maximum.reduceat(scores[:, order], starts, axis=1)  # (P, S)
        true = by_subject[np.arange(len(rows)), own[rows]][:, None]
        nearer[rows] = (by_subject > true).sum(axis=1)
        tied[rows] = (by_subject == true).sum(axis=1) - 1
        nearest[rows] = by_subject.argmax(axis=1)
    return _Ranked(nearer, tied, nearest, own, names[own] == probes.subjects, n_gallery)


def _share(hits: ArrayLike, subjects: NDArray[np.int64], plan: Plan) -> Interval:
    if not len(subjects):
        return Interval(NAN, NAN, NAN)
    index, n_subjects = subject_index(subjects)
    return bootstrap_share(hits, index, plan.draws(n_subjects))


def _shuffled_names(
    nearest: NDArray[np.int64], own: NDArray[np.int64], observed: float, n_gallery: int, plan: Plan
) -> PermutationResult:
    """Rank-1 rate where the names of the gallery are shuffled."""
    rng = np.random.default_rng(plan.seed)
    shuffled = [
        float(np.mean(nearest == rng.permutation(n_gallery)[own])) if len(own) else NAN
        for _ in range(plan.n_permutations)
    ]
    return permutation_result(observed, shuffled)
