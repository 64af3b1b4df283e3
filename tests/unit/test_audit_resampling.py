"""Bootstrap over subjects and permutation floors, beside slow second ways and hand counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from understudy.audit.resampling import (
    Draws,
    bootstrap_mean,
    bootstrap_share,
    bootstrap_statistic,
    draw_subjects,
    percentile_interval,
    permutation_result,
    subject_index,
    swap_permutation,
    swap_signs,
)
from understudy.audit.statistics import clopper_pearson
from understudy.errors import InvalidInputError


def test_every_draw_holds_as_many_subjects_as_there_are() -> None:
    draws = draw_subjects(7, n_boot=50, seed=1)
    assert draws.counts.shape == (50, 7)
    assert (draws.counts.sum(axis=1) == 7).all()


def test_one_seed_gives_one_set_of_draws() -> None:
    assert (draw_subjects(9, n_boot=5, seed=3).counts == draw_subjects(9, n_boot=5, seed=3).counts).all()
    assert (draw_subjects(9, n_boot=5, seed=3).counts != draw_subjects(9, n_boot=5, seed=4).counts).any()


def test_the_percentile_interval_by_hand() -> None:
    interval = percentile_interval(50, np.arange(101.0), 0.9)
    assert (interval.low, interval.high) == pytest.approx((5, 95))


def test_an_interval_needs_half_of_its_samples() -> None:
    assert np.isnan(percentile_interval(1, [1, np.nan, np.nan], 0.9).low)
    assert percentile_interval(1, [1, 1, np.nan], 0.9).low == 1


def test_the_fast_mean_equals_the_statistic_computed_on_repeated_rows() -> None:
    rng = np.random.default_rng(2)
    subjects = rng.integers(0, 12, 60)
    values = rng.normal(size=60)
    values[::7] = np.nan
    index, n_subjects = subject_index(subjects)
    draws = draw_subjects(n_subjects, n_boot=200, seed=5)
    slow = bootstrap_statistic(lambda rows: float(np.nanmean(values[rows])), index, draws)
    fast = bootstrap_mean(values, index, draws)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high))


def test_with_one_row_a_subject_the_interval_is_that_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(3).gamma(2, size=80)
    index, n = subject_index(np.arange(80))
    ours = bootstrap_mean(values, index, draw_subjects(n, n_boot=8000, seed=1))
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=8000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_many_pictures_of_few_people_make_the_interval_wide() -> None:
    person = np.random.default_rng(4).normal(size=10)
    values = np.repeat(person, 50)
    wide_index, n = subject_index(np.repeat(np.arange(10), 50))
    narrow_index, m = subject_index(np.arange(500))
    wide = bootstrap_mean(values, wide_index, draw_subjects(n, seed=1))
    narrow = bootstrap_mean(values, narrow_index, draw_subjects(m, seed=1))
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    index, n = subject_index(np.repeat(np.arange(40), 2))
    draws = draw_subjects(n, n_boot=400, level=0.9, seed=1)
    covered = 0
    for _ in range(300):
        values = np.repeat(rng.normal(size=40), 2) + rng.normal(size=80)
        interval = bootstrap_mean(values, index, draws)
        covered += interval.low <= 0 <= interval.high
    # a percentile interval of 40 subjects is a little narrow; 300 trials leave 0.017 of error
    assert 0.83 <= covered / 300 <= 0.95


def test_a_share_of_zero_or_one_takes_the_exact_interval_of_its_subjects() -> None:
    index, n = subject_index([0, 0, 1, 2, 3])
    draws = draw_subjects(n, n_boot=50, seed=1)
    assert bootstrap_share([0, 0, 0, 0, 0], index, draws) == clopper_pearson(0, 4)
    assert bootstrap_share([1, 1, 1, 1, np.nan], index, draws) == clopper_pearson(3, 3)


def test_a_mean_over_one_subject_has_no_interval() -> None:
    interval = bootstrap_mean([1.0, 2.0], np.array([0, 0]), draw_subjects(1, n_boot=20, seed=1))
    assert interval.value == 1.5
    assert np.isnan(interval.low)


def test_nothing_known_is_nan_throughout() -> None:
    interval = bootstrap_mean([np.nan, np.nan], np.array([0, 1]), draw_subjects(2, n_boot=20, seed=1))
    assert np.isnan([interval.value, interval.low, interval.high]).all()


def test_rows_of_a_subject_come_together_in_the_general_bootstrap() -> None:
    draws = Draws(np.array([[2.0, 0, 1]]))
    seen: list[list[int]] = []

    def keep(rows: np.ndarray) -> float:
        seen.append(rows.tolist())
        return 0.0

    bootstrap_statistic(keep, np.array([2, 0, 1, 0]), draws)
    assert sorted(seen[0]) == [0, 1, 1, 3, 3]


def test_the_permutation_p_value_by_hand() -> None:
    result = permutation_result(3.0, [1.0, 2.0, 3.0, 4.0])
    assert result.p_value == pytest.approx(3 / 5)  # two of four at least as large, and the observed one
    assert result.floor == 2.5


def total_variation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a - b).sum(axis=1) / (2 * a.sum(axis=1))


def test_swapping_subjects_equals_all_sign_patterns_written_out() -> None:
    first, second = np.eye(3)[[0, 0, 1, 2]], np.eye(3)[[1, 1, 1, 0]]
    signs = np.array(list(itertools.product((-1, 1), repeat=4)))
    ours = swap_permutation(first, second, total_variation, signs)
    values = []
    for pattern in signs:
        kept = pattern[:, None] > 0
        a, b = np.where(kept, first, second).sum(axis=0), np.where(kept, second, first).sum(axis=0)
        values.append(np.abs(a - b).sum() / 8)
    assert ours.floor == pytest.approx(np.mean(values))
    assert ours.observed == pytest.approx(0.5)
    assert ours.p_value == pytest.approx((1 + np.sum(np.array(values) >= 0.5 - 1e-9)) / 17)


def test_readings_that_never_differ_are_no_evidence() -> None:
    same = np.eye(2)[[0, 1, 0]]
    result = swap_permutation(same, same, total_variation, swap_signs(3, n_permutations=20, seed=1))
    assert (result.observed, result.floor, result.p_value) == (0, 0, 1)


def test_under_the_null_the_permutation_test_rejects_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    signs = swap_signs(60, n_permutations=199, seed=1)
    rejected = 0
    for _ in range(200):
        base = rng.integers(0, 4, 60)
        first, second = (np.where(rng.random(60) < 0.3, rng.integers(0, 4, 60), base) for _ in range(2))
        rejected += swap_permutation(np.eye(4)[first], np.eye(4)[second], total_variation, signs).p_value <= 0.05
    assert rejected <= 18  # 10 expected; P(more than 18) = 0.006 with independent draws


def test_an_index_outside_the_draws_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"0\.\.1"):
        bootstrap_mean([1.0, 2.0], np.array([0, 2]), draw_subjects(2, n_boot=3, seed=1))
    with pytest.raises(InvalidInputError, match="got 0 and"):
        draw_subjects(0, seed=1)
