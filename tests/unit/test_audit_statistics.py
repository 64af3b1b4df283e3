"""Intervals and paired tests equal statsmodels and scipy on the same tables, and counts made by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.contingency_tables import SquareTable
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from understudy.audit.statistics import (
    bowker,
    clopper_pearson,
    holm,
    mcnemar,
    paired_t,
    stuart_maxwell,
    subject_means,
    transition_counts,
    wilcoxon,
    wilson,
)
from understudy.errors import InvalidInputError

PROPORTIONS = [(0, 1), (0, 20), (1, 20), (7, 20), (20, 20), (3, 1000), (999, 1000)]


@pytest.mark.parametrize(("n_hits", "n"), PROPORTIONS)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_clopper_pearson_equals_statsmodels(n_hits: int, n: int, level: float) -> None:
    low, high = proportion_confint(n_hits, n, 1 - level, method="beta")
    ours = clopper_pearson(n_hits, n, level)
    assert (ours.low, ours.high) == pytest.approx((np.nan_to_num(low), high), abs=1e-12)


def test_clopper_pearson_of_no_hits_is_the_rule_known_by_hand() -> None:
    assert clopper_pearson(0, 10).high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert clopper_pearson(10, 10).low == pytest.approx(0.025 ** (1 / 10))


@pytest.mark.parametrize(("n_hits", "n"), PROPORTIONS)
def test_wilson_equals_statsmodels(n_hits: int, n: int) -> None:
    ours = wilson(n_hits, n)
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(n_hits, n, 0.05, method="wilson"), abs=1e-12)


@pytest.mark.parametrize("interval", [clopper_pearson, wilson])
def test_a_proportion_of_nothing_says_nothing(interval: object) -> None:
    ours = interval(0, 0)  # type: ignore[operator]
    assert np.isnan(ours.value)
    assert (ours.low, ours.high) == (0, 1)


@pytest.mark.parametrize("interval", [clopper_pearson, wilson])
def test_hits_and_misses_mirror_each_other(interval: object) -> None:
    hits, misses = interval(3, 17), interval(14, 17)  # type: ignore[operator]
    assert (hits.low, hits.high) == pytest.approx((1 - misses.high, 1 - misses.low))


def test_more_hits_than_trials_are_refused_with_both_numbers() -> None:
    with pytest.raises(InvalidInputError, match="5 of 4"):
        clopper_pearson(5, 4)


def test_holm_equals_statsmodels_on_random_families() -> None:
    rng = np.random.default_rng(1)
    for n in (1, 2, 7, 40):
        p = rng.random(n) ** 3
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_by_hand_with_one_that_could_not_be_tested() -> None:
    # 0.01 x 3, then 0.02 x 2, then max(0.03 x 1, 0.04); the NaN is no member of the family
    adjusted = holm([0.03, np.nan, 0.01, 0.02])
    assert adjusted[[2, 3, 0]] == pytest.approx([0.03, 0.04, 0.04])
    assert np.isnan(adjusted[1])


def test_holm_does_not_depend_on_the_order() -> None:
    p = np.array([0.2, 0.001, 0.04, 0.04, 0.9])
    order = np.array([3, 0, 4, 2, 1])
    assert holm(p[order]) == pytest.approx(holm(p)[order])


def test_transitions_by_hand_leave_out_pairs_with_an_invalid_reading() -> None:
    table = transition_counts([0, 0, 1, 2, -1, 1], [0, 1, 1, 0, 2, -1], 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("table", [[[30, 5], [12, 40]], [[3, 0], [6, 1]], [[0, 9], [9, 0]], [[400, 130], [90, 500]]])
def test_mcnemar_equals_statsmodels(table: list[list[int]]) -> None:
    assert mcnemar(table).p_value == pytest.approx(statsmodels_mcnemar(np.array(table), exact=True).pvalue)


def test_mcnemar_by_hand() -> None:
    result = mcnemar([[10, 5], [0, 5]])
    assert result.p_value == pytest.approx(2 / 2**5)
    assert result.effect == pytest.approx(5 / 20)
    assert mcnemar([[4, 0], [0, 6]]).p_value == 1


@pytest.mark.parametrize("test", [mcnemar, bowker, stuart_maxwell])
def test_swapping_before_and_after_keeps_the_p_value(test: object) -> None:
    table = np.array([[10, 7], [2, 9]])
    assert test(table).p_value == pytest.approx(test(table.T).p_value)  # type: ignore[operator]


@pytest.mark.parametrize("test", [mcnemar, bowker, stuart_maxwell])
def test_no_change_is_p_one_and_no_data_is_nan(test: object) -> None:
    same, empty = test([[3, 0], [0, 4]]), test([[0, 0], [0, 0]])  # type: ignore[operator]
    assert (same.p_value, same.effect) == (1, 0)
    assert np.isnan(empty.p_value)


def random_table(seed: int, k: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 40, (k, k))


@pytest.mark.parametrize("k", [2, 3, 6])
def test_bowker_equals_statsmodels(k: int) -> None:
    table = random_table(k, k)
    theirs = SquareTable(table, shift_zeros=False).symmetry()
    assert (bowker(table).statistic, bowker(table).p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_bowker_counts_no_degree_of_freedom_for_a_pair_that_never_occurs() -> None:
    # only 0 -> 1 (9) and 1 -> 0 (1) occur: (9 - 1)^2 / 10 = 6.4 on 1 degree of freedom
    result = bowker([[5, 9, 0], [1, 5, 0], [0, 0, 5]])
    assert result.statistic == pytest.approx(6.4)
    assert result.p_value == pytest.approx(scipy.stats.chi2.sf(6.4, 1))
    assert result.effect == pytest.approx(8 / 25)


@pytest.mark.parametrize("k", [2, 3, 6])
def test_stuart_maxwell_equals_statsmodels(k: int) -> None:
    table = random_table(10 + k, k)
    theirs = SquareTable(table, shift_zeros=False).homogeneity("stuart_maxwell")
    ours = stuart_maxwell(table)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_a_category_that_never_changes_does_not_alter_stuart_maxwell() -> None:
    table = random_table(3, 3)
    wider = np.zeros((4, 4), int)
    wider[:3, :3] = table
    wider[3, 3] = 50
    assert stuart_maxwell(wider).p_value == pytest.approx(stuart_maxwell(table).p_value)


def test_a_ring_of_equal_moves_is_asymmetric_and_leaves_the_margins() -> None:
    ring = np.array([[5, 30, 0], [0, 5, 30], [30, 0, 5]])
    assert bowker(ring).p_value < 1e-10
    assert stuart_maxwell(ring).p_value == pytest.approx(1)
    assert stuart_maxwell(ring).effect == 0


def test_stuart_maxwell_of_two_categories_is_the_plain_mcnemar_chi_square() -> None:
    assert stuart_maxwell([[30, 5], [12, 40]]).statistic == pytest.approx((12 - 5) ** 2 / 17)


def pairs(seed: int, n: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.normal(0, 1, n).round(decimals)
    return first, (first + rng.normal(0.3, 1, n)).round(decimals)


@pytest.mark.parametrize("n", [1, 5, 12, 50])
def test_wilcoxon_without_ties_equals_scipys_exact_test(n: int) -> None:
    first, second = pairs(n, n, 9)
    theirs = scipy.stats.wilcoxon(first, second, method="exact")
    ours = wilcoxon(first, second)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


@pytest.mark.parametrize("n", [30, 200])
def test_wilcoxon_with_ties_and_zeros_equals_scipys_normal_test(n: int) -> None:
    first, second = pairs(n, n, 1)
    theirs = scipy.stats.wilcoxon(first, second, method="approx", correction=False)
    ours = wilcoxon(first, second)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_wilcoxon_of_six_differences_equals_all_64_sign_patterns() -> None:
    d = np.array([1.5, -0.4, 2.0, 3.1, -0.9, 0.7])
    ranks = scipy.stats.rankdata(np.abs(d))
    observed = abs(ranks @ np.sign(d))
    patterns = [abs(ranks @ np.array(signs)) for signs in itertools.product((-1, 1), repeat=6)]
    assert wilcoxon(np.zeros(6), d).p_value == pytest.approx(np.mean(np.array(patterns) >= observed - 1e-9))


def test_wilcoxons_effect_is_plus_one_where_all_rise_and_minus_one_where_all_fall() -> None:
    assert wilcoxon([1, 2, 3], [2, 4, 6]).effect == 1
    assert wilcoxon([2, 4, 6], [1, 2, 3]).effect == -1


def test_pairs_with_nan_and_equal_pairs_are_left_out_by_wilcoxon() -> None:
    result = wilcoxon([0.0, 1, np.nan, 5], [0.0, 2, 3, 7])
    assert result.n == 2
    assert wilcoxon([1.0, 2], [1.0, 2]).p_value == 1
    assert np.isnan(wilcoxon([np.nan], [1.0]).p_value)


@pytest.mark.parametrize("n", [2, 9, 100])
def test_paired_t_equals_scipy(n: int) -> None:
    first, second = pairs(n, n, 9)
    theirs = scipy.stats.ttest_rel(second, first)
    ours = paired_t(first, second)
    assert (ours.statistic, ours.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_paired_t_effect_by_hand() -> None:
    assert paired_t([0, 0, 0], [1.0, 2, 3]).effect == pytest.approx(2)  # mean 2, deviation 1


def test_paired_t_of_equal_differences_is_certain_and_of_one_pair_is_unknown() -> None:
    assert paired_t([0.1, 0.2, 0.7], [0.3, 0.4, 0.9]).p_value == 0
    assert paired_t([1.0, 2], [1.0, 2]).p_value == 1
    assert np.isnan(paired_t([1.0], [2.0]).p_value)


def test_subject_means_by_hand_skip_missing_readings() -> None:
    means = subject_means([1.0, 3.0, np.nan, 5.0, np.nan], [7, 7, 7, 2, 9])
    assert means[:2] == pytest.approx([5, 2])  # ids 2, 7, 9
    assert np.isnan(means[2])


def test_readings_that_do_not_pair_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="got 2 and 3"):
        wilcoxon([1, 2], [1, 2, 3])
    with pytest.raises(InvalidInputError, match=r"-1\.\.1"):
        transition_counts([0], [2], 2)
