"""Comparisons of different people are gone through block by block, and tell the same as if all were held."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.audit import impostors as module
from understudy.audit import reidentification
from understudy.audit.impostors import Impostors, error_rate
from understudy.audit.reidentification import Faces, similarity
from understudy.audit.resampling import Plan
from understudy.audit.verification import equal_error_rate
from understudy.errors import InvalidInputError


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few probes a block, so that every figure is put together from several."""
    monkeypatch.setattr(reidentification, "BLOCK", 200)


def faces(seed: int, n: int = 40, n_subjects: int = 25) -> Faces:
    rng = np.random.default_rng(seed)
    return Faces(np.round(rng.normal(size=(n, 5)), 1), rng.integers(0, n_subjects, n))


def pairs_of(probes: Faces, gallery: Faces) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """All comparisons of different people, held at once."""
    scores = similarity(probes.embedding, gallery.embedding)
    wanted = probes.subjects[:, None] != gallery.subjects[None]
    if probes is gallery:
        wanted &= np.arange(len(scores))[:, None] < np.arange(len(scores))[None]
    i, j = np.nonzero(wanted)
    return scores[i, j], probes.subjects[i], gallery.subjects[j]


def both(seed: int, *, same: bool) -> tuple[Faces, Faces, NDArray[np.int64]]:
    gallery = faces(seed)
    probes = gallery if same else faces(seed + 100)
    return probes, gallery, np.unique(np.concatenate([probes.subjects, gallery.subjects]))


@pytest.mark.parametrize("same", [True, False])
def test_how_many_there_are_is_what_one_counts_however_often_each_person_was_drawn(*, same: bool) -> None:
    probes, gallery, names = both(1, same=same)
    _, first, second = pairs_of(probes, gallery)
    impostors = Impostors(probes, gallery, names)
    assert impostors.n == len(first)
    for counts in Plan(3, n_boot=5).draws(len(names)).counts:
        times = dict(zip(names.tolist(), counts.tolist(), strict=True))
        wanted = sum(times[a] * times[b] for a, b in zip(first.tolist(), second.tolist(), strict=True))
        assert impostors.weight(counts) == wanted


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("n", [1, 7, 100, 10**6])
def test_the_most_similar_are_the_first_of_all_sorted_and_ties_stay_in_order(n: int, *, same: bool) -> None:
    probes, gallery, names = both(2, same=same)
    scores, first, second = pairs_of(probes, gallery)
    order = np.argsort(-scores.round(12), kind="stable")[:n]
    found = Impostors(probes, gallery, names).nearest(n)
    np.testing.assert_allclose(found.score, scores[order])
    assert sorted(zip(names[found.first], names[found.second], found.score.round(9), strict=True)) == sorted(
        zip(first[order], second[order], scores[order].round(9), strict=True)
    )


def test_a_face_that_was_not_found_is_compared_with_nobody() -> None:
    gallery, probes = faces(3), faces(4)
    lost = probes.embedding.copy()
    lost[:30] = np.nan
    names = np.unique(np.concatenate([probes.subjects, gallery.subjects]))
    impostors = Impostors(Faces(lost, probes.subjects), gallery, names)
    kept = pairs_of(probes.take(np.arange(30, 40)), gallery)[0]
    assert impostors.n == len(kept) == impostors.n_of_probe.sum()
    np.testing.assert_allclose(np.sort(np.concatenate(list(impostors.scores()))), np.sort(kept))


def test_thresholds_are_quantiles_of_all_and_everything_passes_a_far_of_one() -> None:
    probes, gallery, names = both(5, same=False)
    scores = np.sort(pairs_of(probes, gallery)[0])[::-1]
    fars = np.array([1 / len(scores), 0.01, 0.02, 0.3, 0.9, 1.0])
    found = Impostors(probes, gallery, names).thresholds(fars)
    assert found[-1] == -np.inf
    for far, threshold in zip(fars[:3], found[:3], strict=True):  # in the upper tail: exact
        assert threshold == pytest.approx(scores[int(far * len(scores) + 1e-9)])
    for far, threshold in zip(fars[3:5], found[3:5], strict=True):
        assert (scores > threshold).mean() == pytest.approx(far, abs=0.005)


def test_nobody_to_compare_with_gives_no_threshold() -> None:
    alone = Faces(np.ones((3, 2)), np.zeros(3, np.int64))
    with pytest.raises(InvalidInputError, match="two people or more"):
        Impostors(alone, alone, np.array([0])).thresholds(np.array([0.5]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [-9.0, 0.0, 0.4, 9.0])
@pytest.mark.parametrize("lost", [0, 3, 40])
def test_the_error_rate_is_that_of_all_comparisons_held_at_once(
    seed: int, shift: float, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "N_BINS", 7)  # so that a bin holds many
    probes, gallery, names = both(seed, same=False)
    genuine = np.random.default_rng(seed).normal(shift, 0.4, 40).round(1)
    genuine[:lost] = -np.inf
    scores = pairs_of(probes, gallery)[0]
    found = error_rate(genuine, Impostors(probes, gallery, names))
    assert found == pytest.approx(equal_error_rate(genuine, scores), abs=1e-12)
