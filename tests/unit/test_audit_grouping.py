"""Grouping equals fairlearn where fairlearn has it, and hand counts where it has not."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.audit.grouping import Grouping, by_group, difference, group_by, group_gap, intersect, overall, ratio
from understudy.errors import InvalidInputError


def test_rows_without_a_label_belong_to_no_group() -> None:
    grouping = group_by("tone", ["b", None, "a", float("nan"), "", " a "])
    assert grouping.names == ("a", "b")
    assert grouping.index.tolist() == [1, -1, 0, -1, -1, 0]


def test_groups_keep_the_order_of_the_attribute() -> None:
    grouping = group_by("age", ["old", "young", "other", "old"], order=["young", "middle", "old"])
    assert grouping.names == ("young", "old", "other")


def test_an_intersection_names_only_what_occurs() -> None:
    tone = group_by("tone", ["dark", "light", "dark", None])
    age = group_by("age", ["old", "old", "young", "old"])
    both = intersect(tone, age)
    assert both.attribute == "tone & age"
    assert both.names == ("dark & old", "dark & young", "light & old")
    assert both.index.tolist() == [0, 2, 1, -1]


def test_an_intersection_without_any_labelled_row_is_empty() -> None:
    nothing = intersect(group_by("a", ["x", None]), group_by("b", [None, "y"]))
    assert nothing.names == ()
    assert nothing.index.tolist() == [-1, -1]


def test_a_group_of_too_few_people_is_counted_and_its_figure_withheld() -> None:
    values = np.array([1.0, 2, 3, 10, 20, 30, 40])
    grouping = group_by("tone", ["a", "a", "a", "b", "b", "b", "b"])
    # group b has four pictures of two people
    found = by_group(lambda rows: float(values[rows].mean()), grouping, [1, 2, 3, 4, 4, 5, 5], minimum_n=3)
    assert [(g.name, g.n, g.n_subjects, g.value) for g in found] == [("a", 3, 3, 2.0), ("b", 4, 2, None)]


@pytest.mark.slow
def test_figures_by_group_equal_fairlearn() -> None:
    metrics = pytest.importorskip("fairlearn.metrics", reason="fairlearn is a test oracle only")
    rng = np.random.default_rng(1)
    hit, truth = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    tone, age = rng.choice(["a", "b", "c"], 300), rng.choice(["x", "y"], 300)
    frame = metrics.MetricFrame(
        metrics=lambda t, h: float(np.mean(h)),
        y_true=truth,
        y_pred=hit,
        sensitive_features={"tone": tone, "age": age},
    )
    grouping = intersect(group_by("tone", tone.tolist()), group_by("age", age.tolist()))

    def rate(rows: np.ndarray) -> float:
        return float(hit[rows].mean())

    ours = {g.name: g.value for g in by_group(rate, grouping, np.arange(300), minimum_n=1)}
    theirs = {" & ".join(key): value for key, value in frame.by_group.items()}
    assert ours == pytest.approx(theirs)
    values, everybody = list(ours.values()), overall(rate, 300)
    assert everybody == pytest.approx(frame.overall)
    assert difference(values) == pytest.approx(frame.difference(method="between_groups"))
    assert difference(values, everybody) == pytest.approx(frame.difference(method="to_overall"))
    assert ratio(values) == pytest.approx(frame.ratio(method="between_groups"))
    assert ratio(values, everybody) == pytest.approx(frame.ratio(method="to_overall"))


def test_difference_and_ratio_by_hand() -> None:
    assert difference([0.2, np.nan, 0.5]) == pytest.approx(0.3)
    assert difference([0.2, 0.5], 0.4) == pytest.approx(0.2)
    assert ratio([0.2, 0.5]) == pytest.approx(0.4)
    assert ratio([0.2, 0.5], 0.4) == pytest.approx(0.5)
    assert ratio([0.0, 0.0]) == 1


def test_one_group_has_nothing_to_differ_from() -> None:
    assert np.isnan(difference([0.3]))
    assert np.isnan(ratio([0.3, np.nan]))


def test_a_ratio_of_signed_figures_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="0 or more"):
        ratio([-0.1, 0.2])


def test_swapping_groups_leaves_the_gap() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=60)
    index = np.repeat([0, 1, 2], 20)
    one = group_gap(values, Grouping("a", ("x", "y", "z"), index), np.arange(60), n_permutations=20, seed=1)
    other = group_gap(values, Grouping("a", ("x", "y", "z"), 2 - index), np.arange(60), n_permutations=20, seed=1)
    assert one.observed == pytest.approx(other.observed)


def test_a_gap_of_equal_groups_sits_at_its_floor_and_a_planted_one_above() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=200)
    grouping = group_by("tone", ["a", "b"] * 100)
    nothing = group_gap(values, grouping, np.arange(200), n_permutations=199, seed=1)
    planted = group_gap(values + np.tile([0.0, 1.0], 100), grouping, np.arange(200), n_permutations=199, seed=1)
    assert nothing.p_value > 0.05
    assert nothing.floor > 0
    assert planted.p_value == pytest.approx(1 / 200)
    assert planted.observed > planted.floor_high


def test_labels_are_shuffled_over_people_not_over_pictures() -> None:
    # two of eight people have 1 in all 100 pictures, and both are in group a: C(4,2)/C(8,2) x 2 of all ways
    values = np.repeat([1.0, 1, 0, 0, 0, 0, 0, 0], 100)
    grouping = group_by("tone", ["a"] * 400 + ["b"] * 400)
    gap = group_gap(values, grouping, np.repeat(np.arange(8), 100), minimum_n=2, n_permutations=1999, seed=1)
    assert gap.observed == pytest.approx(0.5)
    assert gap.p_value == pytest.approx(2 * 6 / 28, abs=0.04)


def test_one_large_group_gives_no_gap() -> None:
    grouping = group_by("tone", ["a"] * 12 + ["b"] * 3)
    assert np.isnan(group_gap(np.ones(15), grouping, np.arange(15), minimum_n=10, seed=1).observed)


def test_the_gap_of_shares_as_a_ratio() -> None:
    values = np.array([1.0, 1, 1, 1, 0, 0, 1, 0])
    grouping = group_by("tone", ["a"] * 4 + ["b"] * 4)
    gap = group_gap(values, grouping, np.arange(8), minimum_n=2, statistic="ratio", n_permutations=9, seed=1)
    assert gap.observed == pytest.approx(0.75)
