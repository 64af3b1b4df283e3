"""Understudies that look like somebody else of the collection are found, and strangers are not accused."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.audit.reidentification import Faces
from understudy.audit.resampling import Plan
from understudy.audit.resemblance import effective_people, resemblance, resembling_share

PLAN = Plan(seed=1, n_boot=200, n_permutations=9)


def faces(embedding: np.ndarray) -> Faces:
    return Faces(embedding, np.arange(len(embedding)))


def test_the_nearest_other_person_by_hand() -> None:
    originals = faces(np.array([[1.0, 0], [0, 1], [-1, 0]]))
    found = resemblance(faces(np.array([[1.0, 0], [0.6, 0.8], [0, -1]])), originals)
    # the first is its own original, which does not count: (0, 1) is next, at 0
    assert found.nearest == pytest.approx([0, 0.6, 0])
    assert found.nearest_subject[1] == 0
    assert found.original_nearest == pytest.approx([0, 0, 0])
    assert found.n_people == 3


def test_strangers_resemble_others_as_often_as_people_do() -> None:
    rng = np.random.default_rng(1)
    originals, strangers = faces(rng.normal(size=(400, 16))), faces(rng.normal(size=(400, 16)))
    share = resembling_share(resemblance(strangers, originals), strangers.subjects, PLAN, tail=0.05)
    assert share.low <= 0.05 <= share.high


def test_copies_of_other_people_are_found() -> None:
    rng = np.random.default_rng(2)
    people = rng.normal(size=(200, 16))
    understudies = rng.normal(size=(200, 16))
    understudies[:20] = people[100:120] + 0.05 * rng.normal(size=(20, 16))
    found = resemblance(faces(understudies), faces(people))
    assert found.nearest_subject[:20].tolist() == list(range(100, 120))
    assert (found.exceedance[:20] == 0).all()
    share = resembling_share(found, np.arange(200), PLAN)
    assert share.low > 0.05


def test_too_few_originals_give_no_share() -> None:
    rng = np.random.default_rng(3)
    few = faces(rng.normal(size=(20, 4)))
    assert np.isnan(resembling_share(resemblance(few, few), few.subjects, PLAN, tail=0.01).value)


def test_a_face_that_was_not_found_resembles_nobody() -> None:
    rng = np.random.default_rng(4)
    originals = faces(rng.normal(size=(30, 4)))
    lost = rng.normal(size=(30, 4))
    lost[3] = np.nan
    found = resemblance(faces(lost), originals)
    assert np.isnan(found.nearest[3])
    assert found.nearest_subject[3] == -1


def test_one_person_alone_has_no_other() -> None:
    found = resemblance(faces(np.ones((1, 3))), faces(np.ones((1, 3))))
    assert np.isnan(found.nearest[0])
    assert np.isnan(found.exceedance[0])


def test_effective_people_counts_different_faces() -> None:
    assert effective_people(faces(np.ones((9, 4)))) == pytest.approx(1)
    assert effective_people(faces(np.eye(6))) == pytest.approx(6)
    assert effective_people(faces(np.repeat(np.eye(3), 5, axis=0))) == pytest.approx(3)
    assert np.isnan(effective_people(faces(np.full((2, 3), np.nan))))


def test_effective_people_equals_the_kernels_own_spectrum() -> None:
    x = np.random.default_rng(5).normal(size=(12, 5))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    value = np.linalg.eigvalsh(unit @ unit.T / 12)
    value = value[value > 1e-12]
    assert effective_people(faces(x)) == pytest.approx(np.exp(-(value * np.log(value)).sum()))
