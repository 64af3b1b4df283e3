"""Whether an understudy looks like another real person of the collection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.audit.reidentification import Faces, found_blocks, searchable
from understudy.audit.resampling import Plan, bootstrap_share, subject_index
from understudy.audit.statistics import Interval

NAN = float("nan")


@dataclass(frozen=True)
class Resemblance:
    """The most similar *other* person of each understudy, beside the most similar other person of each original."""

    nearest: NDArray[np.float64]  # (N,) similarity; NaN where the attacker found no face
    nearest_subject: NDArray[np.int64]  # (N,) who it is; -1 without a face
    original_nearest: NDArray[np.float64]  # (M,) the same for each original: what living people look like to each other
    exceedance: NDArray[np.float64]  # (N,) share of originals whose nearest other person is at least as near
    n_people: int
    """People in the gallery."""


def resemblance(understudies: Faces, originals: Faces) -> Resemblance:
    """Nearest other person of every understudy, and of every original for comparison.

    The own original is left out: how near that one is, is re-identification. A nearest of many is near by chance alone,
    so the yardstick is the nearest other original of each original, with the same number to choose from.

    Parameters
    ----------
    understudies : Faces
        Each with the subject whom it stands in for.
    originals : Faces
        Originals of two people or more.

    Returns
    -------
    Resemblance
    """
    gallery = searchable(understudies, originals)
    nearest, who = _nearest_other(understudies, gallery)
    among_people, _ = _nearest_other(gallery, gallery)
    yardstick = np.sort(among_people[np.isfinite(among_people)])
    found = np.isfinite(nearest)
    exceedance = np.full(len(nearest), NAN)
    if len(yardstick):
        below = np.searchsorted(yardstick, nearest[found], side="left")
        exceedance[found] = 1 - below / len(yardstick)
    return Resemblance(nearest, who, among_people, exceedance, len(np.unique(gallery.subjects)))


def _nearest_other(probes: Faces, gallery: Faces) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    nearest = np.full(len(probes.subjects), NAN)
    who = np.full(len(probes.subjects), -1, np.int64)
    for rows, scores in found_blocks(probes, gallery):
        scores = np.where(probes.subjects[rows][:, None] == gallery.subjects[None], -np.inf, scores)
        best = scores.argmax(axis=1)
        value = scores[np.arange(len(rows)), best]
        alone = ~np.isfinite(value)  # nobody else is in the gallery
        nearest[rows] = np.where(alone, NAN, value)
        who[rows] = np.where(alone, -1, gallery.subjects[best])
    return nearest, who


def resembling_share(found: Resemblance, subjects: NDArray[np.int64], plan: Plan, *, tail: float = 0.01) -> Interval:
    """Share of understudies nearer to another person than that upper tail of originals is to theirs.

    Parameters
    ----------
    found : Resemblance
    subjects : (N,) int
        Of the understudies.
    plan : Plan
    tail : float
        Where understudies are strangers, this share is expected. With fewer than 1 / tail originals it cannot be
        told from "nearer than any", and the share is NaN.
    """
    n_originals = int(np.isfinite(found.original_nearest).sum())
    if n_originals * tail < 1 or not len(subjects):
        return Interval(NAN, NAN, NAN)
    index, n_subjects = subject_index(subjects)
    hits = np.where(np.isfinite(found.exceedance), found.exceedance <= tail, NAN)
    return bootstrap_share(hits, index, plan.draws(n_subjects))


def effective_people(understudies: Faces) -> float:
    """How many different faces the understudies amount to: the exponential entropy of their embeddings' spectrum.

    Parameters
    ----------
    understudies : Faces

    Returns
    -------
    float
        Between 1 (one face for everybody) and the number of understudies or of dimensions; NaN for none.

    Notes
    -----
    The Vendi score with the cosine as kernel: Friedman and Dieng 2023, arXiv:2210.02410. Rows are not centred: one face
    many times over is 1.
    """
    x = np.asarray(understudies.embedding[understudies.found], np.float64)
    if not len(x):
        return NAN
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(length > 0, length, 1)
    share = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    share = share[share > 1e-12] / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
