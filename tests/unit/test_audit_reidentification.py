"""Re-identification on embeddings whose truth is known, beside counts written out the long way."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance

from understudy.audit.grouping import group_by
from understudy.audit.reidentification import Faces, search, search_parts, similarity
from understudy.audit.reidentification_table import Attacker, attacker_findings
from understudy.audit.resampling import Plan
from understudy.audit.retrained import ledoit_wolf, retrain, ridge_map, subject_folds, within_whitening
from understudy.audit.table import AuditTable, Status, adjusted_rows
from understudy.audit.verification import equal_error_rate, search_error, verify
from understudy.errors import InvalidInputError

PLAN = Plan(seed=1, n_boot=200, n_permutations=199)


def people(n: int, dim: int, noise: float, seed: int, pictures: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two sets of pictures of n people, and their names."""
    rng = np.random.default_rng(seed)
    subjects = np.repeat(np.arange(n), pictures)
    identity = rng.normal(size=(n, dim))[subjects]
    one, other = (identity + noise * rng.normal(size=identity.shape) for _ in range(2))
    return one, other, subjects


def test_similarity_equals_scipys_distances() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 7, 5))
    assert similarity(a, b) == pytest.approx(1 - scipy.spatial.distance.cdist(a, b, "cosine"))
    assert similarity(a, b, "euclidean") == pytest.approx(-scipy.spatial.distance.cdist(a, b))


def test_pictures_left_as_they_are_are_all_found_again() -> None:
    one, _, subjects = people(30, 16, 0.1, 1)
    faces = Faces(one, subjects)
    found = search(faces, faces, PLAN)
    assert found.rank1.value == 1
    assert found.rank1.low == pytest.approx(0.025 ** (1 / 30))  # Clopper-Pearson on 30 people
    assert found.chance.floor == pytest.approx(1 / 30, abs=0.01)
    assert found.chance.p_value == pytest.approx(1 / 200)


def test_faces_of_other_people_are_found_as_often_as_by_lot() -> None:
    one, _, subjects = people(200, 16, 0.1, 1)
    stranger, _, _ = people(200, 16, 0.1, 2)
    found = search(Faces(stranger, subjects), Faces(one, subjects), PLAN)
    assert found.rank1.value <= 0.03
    assert found.chance.p_value > 0.05
    assert found.cmc[:3].tolist() == sorted(found.cmc[:3].tolist())


def test_rank_and_cmc_by_hand() -> None:
    gallery = Faces(np.array([[1.0, 0], [0, 1], [-1, 0]]), np.array([10, 20, 30]))
    probes = Faces(np.array([[1.0, 0.1], [1, 0.2]]), np.array([10, 20]))
    found = search(probes, gallery, PLAN)  # the second probe is nearest to 10, then to 20, its own
    assert found.hits.tolist() == [1, 0]
    assert found.cmc.tolist() == [0.5, 1, 1]


def test_one_face_for_everybody_is_found_by_lot_only() -> None:
    gallery = Faces(np.ones((8, 3)), np.arange(8))
    found = search(Faces(np.ones((8, 3)), np.arange(8)), gallery, PLAN)
    assert found.rank1.value == pytest.approx(1 / 8)
    assert found.cmc[:4] == pytest.approx([1 / 8, 2 / 8, 3 / 8, 4 / 8])


def test_ranks_equal_a_count_written_out_with_several_pictures_of_each() -> None:
    one, other, subjects = people(20, 6, 0.8, 3, pictures=3)
    found = search(Faces(other, subjects), Faces(one, subjects), PLAN)
    hits = []
    for probe, own in zip(other, subjects, strict=True):
        score = [
            max(1 - scipy.spatial.distance.cosine(probe, one[i]) for i in np.flatnonzero(subjects == s))
            for s in range(20)
        ]
        hits.append(float(np.argmax(score) == own))
    assert found.hits.tolist() == hits


def test_a_face_that_the_attacker_cannot_find_counts_as_not_identified_and_is_said() -> None:
    one, other, subjects = people(20, 16, 0.05, 4)
    other[:5] = np.nan
    found = search(Faces(other, subjects), Faces(one, subjects), PLAN)
    assert found.rank1.value == pytest.approx(15 / 20)
    assert found.not_found.value == pytest.approx(5 / 20)
    assert found.cmc[-1] == pytest.approx(15 / 20)
    tar = verify(Faces(other, subjects), Faces(one, subjects), None, PLAN, far_targets=[0.1])[0].tar
    assert tar.value == pytest.approx(15 / 20)


def test_a_probe_whose_subject_is_not_in_the_gallery_is_left_out_and_counted() -> None:
    one, other, subjects = people(10, 16, 0.05, 5)
    found = search(Faces(other, subjects), Faces(one[:6], subjects[:6]), PLAN)
    assert (found.n, found.n_unmated, found.gallery_size) == (6, 4, 6)
    assert found.rank1.value == 1


def test_an_attacker_blind_in_the_gallery_is_an_error_that_says_so() -> None:
    blind = Faces(np.full((3, 4), np.nan), np.arange(3))
    with pytest.raises(InvalidInputError, match="no face at all"):
        search(blind, blind, PLAN)


def test_the_threshold_lets_pass_at_most_its_share_of_impostors() -> None:
    one, other, subjects = people(40, 8, 0.5, 6)
    pair = verify(Faces(other, subjects), Faces(one, subjects), None, PLAN, far_targets=[0.01])[0]
    scores = similarity(one, one)[np.triu_indices(40, 1)]
    assert pair.n_impostor == 780
    assert (scores > pair.threshold).sum() == 7  # 1 % of 780 is 7.8
    assert pair.tar.value == pytest.approx(np.mean(np.diag(similarity(other, one)) > pair.threshold))


def test_with_a_control_the_impostors_are_control_against_gallery() -> None:
    one, other, subjects = people(30, 8, 0.5, 7)
    pair = verify(Faces(other, subjects), Faces(one, subjects), Faces(other, subjects), PLAN, far_targets=[0.05])[0]
    scores = similarity(other, one)[~np.eye(30, dtype=bool)]
    assert pair.n_impostor == 870
    assert (scores > pair.threshold).sum() == 43  # 5 % of 870 is 43.5


def test_too_few_impostors_for_a_far_give_no_figure() -> None:
    one, other, subjects = people(10, 8, 0.5, 8)
    pair = verify(Faces(other, subjects), Faces(one, subjects), None, PLAN, far_targets=[1e-3])[0]  # 45 impostors
    assert np.isnan([pair.threshold, pair.tar.value, pair.tar.low]).all()


def test_the_bootstrap_of_tar_equals_resampled_people_written_out() -> None:
    """A person who is drawn twice is two rows of the gallery, and their two rows are no impostors of each other."""
    one, other, subjects = people(25, 8, 0.9, 9)
    plan = Plan(seed=3, n_boot=60, n_permutations=9)
    pair = verify(Faces(other, subjects), Faces(one, subjects), None, plan, far_targets=[0.05])[0]
    cross, own = similarity(one, one), np.diag(similarity(other, one))
    samples = []
    for counts in plan.draws(25).counts.astype(int):
        drawn = np.repeat(np.arange(25), counts)
        impostors = [cross[a, b] for i, a in enumerate(drawn) for b in drawn[i + 1 :] if a != b]
        ordered = np.sort(impostors)[::-1]
        threshold = ordered[int(np.floor(0.05 * len(ordered) + 1e-9))]
        samples.append(np.mean(own[drawn] > threshold))
    assert (pair.tar.low, pair.tar.high) == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])))


def test_the_equal_error_rate_by_hand() -> None:
    assert equal_error_rate([2.0, 3], [0.0, 1]) == 0
    assert equal_error_rate([0.0, 1], [2.0, 3]) == 1
    # one of four genuine pairs lies under one of four impostors
    assert equal_error_rate([1.0, 3, 4, 5], [-1.0, 0, 0.5, 2]) == pytest.approx(0.25)
    assert np.isnan(equal_error_rate([], [1.0]))


def test_the_equal_error_rate_of_equal_distributions_is_one_half() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 4000))
    assert equal_error_rate(a, b) == pytest.approx(0.5, abs=0.02)


def test_the_equal_error_rate_of_two_gaussians_is_their_overlap() -> None:
    rng = np.random.default_rng(2)
    genuine, impostor = rng.normal(2, 1, 20000), rng.normal(0, 1, 20000)
    assert equal_error_rate(genuine, impostor) == pytest.approx(0.1587, abs=0.006)  # Phi(-1)


def test_the_error_of_a_search_has_an_interval_around_it_and_lost_faces_raise_it() -> None:
    one, other, subjects = people(60, 8, 0.8, 10)
    error = search_error(Faces(other, subjects), Faces(one, subjects), PLAN)
    cross = similarity(other, one)
    assert error.value == pytest.approx(equal_error_rate(np.diag(cross), cross[~np.eye(60, dtype=bool)]))
    assert error.low <= error.value <= error.high
    near = search_error(Faces(one + 0.1 * (other - one), subjects), Faces(one, subjects), PLAN)
    assert near.low <= near.value <= near.high
    lost = other.copy()
    lost[::2] = np.nan
    assert search_error(Faces(lost, subjects), Faces(one, subjects), PLAN).value > error.value + 0.1


def rotation(dim: int, seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    return q


def retrained_rank1(probe: np.ndarray, gallery: np.ndarray, subjects: np.ndarray, head: str) -> float:
    parts = retrain(Faces(probe, subjects), Faces(gallery, subjects), head, seed=1)  # type: ignore[arg-type]
    return search_parts(parts, PLAN).rank1.value


def test_a_secret_rotation_fools_the_plain_attacker_and_not_the_retrained_one() -> None:
    one, other, subjects = people(200, 12, 0.2, 11)
    hidden = other @ rotation(12, 5)
    assert search(Faces(hidden, subjects), Faces(one, subjects), PLAN).rank1.value < 0.1
    assert retrained_rank1(hidden, one, subjects, "ridge") > 0.8


def test_a_loud_nuisance_hides_from_the_plain_attacker_and_not_from_the_metric_head() -> None:
    one, other, subjects = people(200, 24, 0.2, 12)
    nuisance = np.random.default_rng(6).normal(size=(200, 12)) * 4
    other[:, :12] += nuisance
    plain = search(Faces(other, subjects), Faces(one, subjects), PLAN).rank1.value
    assert plain < 0.2
    assert retrained_rank1(other, one, subjects, "metric") > max(2 * plain, 0.35)


def test_where_the_plain_attacker_finds_everybody_the_metric_head_does_too() -> None:
    one, other, subjects = people(200, 24, 0.3, 16)
    assert retrained_rank1(other, one, subjects, "metric") > 0.97


@pytest.mark.parametrize("head", ["ridge", "metric"])
def test_where_nothing_of_the_person_travels_retraining_finds_nothing(head: str) -> None:
    one, _, subjects = people(200, 12, 0.2, 13)
    stranger, _, _ = people(200, 12, 0.2, 14)
    assert retrained_rank1(stranger, one, subjects, head) <= 0.03  # 6 of 200; chance is 1 of 200


def test_the_ridge_map_with_little_noise_is_the_true_map() -> None:
    rng = np.random.default_rng(7)
    x, truth = rng.normal(size=(200, 5)), rng.normal(size=(5, 4))
    matrix, x_mean, y_mean = ridge_map(x, x @ truth + 3 + 1e-4 * rng.normal(size=(200, 4)))
    assert matrix == pytest.approx(truth, abs=1e-2)
    assert (x.mean(axis=0) - x_mean) == pytest.approx(0)
    assert y_mean == pytest.approx(x_mean @ truth + 3, abs=1e-3)


def test_the_metric_makes_all_directions_equally_unsteady() -> None:
    gap = np.random.default_rng(8).normal(size=(4000, 3)) * [0.5, 1, 4]
    white = within_whitening(gap - gap.mean(axis=0))
    assert np.cov((gap @ white).T) == pytest.approx(np.eye(3), abs=0.06)


def test_the_shrinkage_equals_its_definition_written_out() -> None:
    x = np.random.default_rng(9).normal(size=(40, 6)) * [1, 1, 2, 2, 3, 5]
    x -= x.mean(axis=0)
    covariance = x.T @ x / 40
    target = np.trace(covariance) / 6 * np.eye(6)
    noise = np.mean([np.sum((np.outer(row, row) - covariance) ** 2) for row in x]) / 40
    assert ledoit_wolf(x) == pytest.approx(noise / np.sum((covariance - target) ** 2))


def test_no_person_is_both_learned_from_and_searched_for() -> None:
    subjects = np.repeat(np.arange(11), 3)
    fold = subject_folds(subjects, 4, seed=1)
    assert all(len(set(fold[subjects == s])) == 1 for s in range(11))
    assert set(fold) == {0, 1, 2, 3}
    with pytest.raises(InvalidInputError, match="got 3 subjects"):
        subject_folds(np.arange(3), 4, seed=1)


def attacker(selected: bool = False) -> Attacker:
    one, other, subjects = people(60, 16, 0.3, 15)
    rng = np.random.default_rng(8)
    after = rng.normal(size=one.shape)
    after[:20] = one[:20] + 0.05 * rng.normal(size=(20, 16))  # the first twenty were only blurred
    return Attacker("tiny", Faces(one, subjects), Faces(after, subjects), Faces(other, subjects), selected)


def test_the_group_that_was_only_blurred_is_named_by_its_rate() -> None:
    group = group_by("tone", ["a"] * 20 + ["b"] * 37 + ["c"] * 3)
    table = AuditTable(adjusted_rows(attacker_findings(attacker(), [group], PLAN)))
    rates = {name: table.get("rank1_rate", "tiny", f"tone={name}") for name in "abc"}
    assert rates["a"] is not None
    assert rates["b"] is not None
    assert rates["c"] is not None
    assert rates["a"].ci_low > rates["b"].ci_high
    assert (rates["c"].status, rates["c"].n) == (Status.TOO_FEW, 3)
    raw = table.get("raw_rank1_rate", "tiny")
    assert raw is not None
    assert raw.value > 0.9
    assert {"tiny+ridge", "tiny+metric"} <= {row.attribute for row in table.rows}
    assert table.get("tar_at_far_1e-2", "tiny", "tone=a") is not None


def test_every_row_of_an_attacker_that_was_the_guard_is_marked() -> None:
    findings = attacker_findings(attacker(selected=True), [], PLAN)
    assert {f.row.status for f in findings} == {Status.SELECTED}
