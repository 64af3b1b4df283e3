"""Drift of attributes: distances beside scipy, planted changes found at their size, and nothing found in nothing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats

from understudy.audit.drift import (
    INVALID,
    CategoricalDrift,
    Readings,
    categorical_drift,
    encode,
    entropy,
    js_distance,
    numeric_drift,
    total_variation,
)
from understudy.audit.drift_table import (
    categorical_findings,
    categorical_findings_by_group,
    numeric_findings,
    numeric_findings_by_group,
)
from understudy.audit.grouping import group_by
from understudy.audit.resampling import Plan
from understudy.audit.statistics import bowker, paired_t, stuart_maxwell
from understudy.audit.table import AuditTable, Status, adjusted_rows
from understudy.errors import InvalidInputError

PLAN = Plan(seed=1, n_boot=300, n_permutations=199)
TONES = ("very_light", "light", "intermediate", "tan", "brown", "dark")


def noisy(codes: np.ndarray, rng: np.random.Generator, share: float = 0.1) -> np.ndarray:
    """A second reading: a share of the codes moves to a neighbour, as often up as down."""
    step = np.where(rng.random(len(codes)) < share, rng.choice([-1, 1], len(codes)), 0)
    return np.clip(codes + step, 0, len(TONES) - 1)


def tones(n: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, len(TONES), n), rng


def drift_of(before: np.ndarray, after: np.ndarray, null: np.ndarray | None = None) -> CategoricalDrift:
    return categorical_drift(Readings("skin_tone", before, after, np.arange(len(before)), null), TONES, PLAN)


def test_labels_become_codes_and_what_was_not_read_is_invalid() -> None:
    assert encode(["b", None, "a", float("nan"), ""], ["a", "b"]).tolist() == [1, -1, 0, -1, -1]
    with pytest.raises(InvalidInputError, match="'c'"):
        encode(["c"], ["a", "b"])


def test_the_distances_equal_scipys_on_random_distributions() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((20, 5)), rng.integers(0, 9, (20, 5)) + 1
    js = [scipy.spatial.distance.jensenshannon(p, q, base=2) for p, q in zip(a, b, strict=True)]
    assert js_distance(a, b) == pytest.approx(js)
    assert entropy(b) == pytest.approx(scipy.stats.entropy(b, base=2, axis=1))


def test_the_distances_by_hand() -> None:
    assert total_variation([3, 1], [1, 3]) == pytest.approx(0.5)
    assert js_distance([1, 0], [0, 5]) == pytest.approx(1)
    assert entropy([1, 1, 1, 1]) == pytest.approx(2)
    assert entropy([7, 0]) == 0


def test_equal_folders_have_no_drift_at_all() -> None:
    codes, _ = tones(60, 1)
    drift = drift_of(codes, codes, codes)
    assert (drift.js.observed, drift.variation.observed, drift.entropy_drift.value) == (0, 0, 0)
    assert (drift.margins.p_value, drift.symmetry.p_value, drift.js.p_value) == (1, 1, 1)
    assert drift.changed.low == 0
    assert drift.changed.high == pytest.approx(1 - 0.025 ** (1 / 60))


def test_the_tests_are_stuart_maxwell_and_bowker_where_each_person_has_one_picture() -> None:
    before, rng = tones(400, 2)
    after = noisy(before, rng, 0.5)
    drift = drift_of(before, after)
    assert drift.margins.p_value == pytest.approx(stuart_maxwell(drift.transitions).p_value)
    assert drift.symmetry.p_value == pytest.approx(bowker(drift.transitions).p_value)
    assert drift.margins.effect == pytest.approx(stuart_maxwell(drift.transitions).effect)
    assert drift.symmetry.effect == pytest.approx(bowker(drift.transitions).effect)


def test_ten_percent_lightened_by_two_bins_are_found_at_their_size() -> None:
    before, rng = tones(800, 3)
    before = np.maximum(before, 2)
    lightened = rng.random(800) < 0.1
    null, after = noisy(before, rng), np.where(lightened, before - 2, noisy(before, rng))
    drift = drift_of(before, after, null)
    assert drift.margins.p_value < 0.001
    numeric = numeric_drift(Readings("skin_tone_bin", before * 1.0, after * 1.0, np.arange(800), null * 1.0), PLAN)
    assert numeric.mean.low <= -2 * lightened.mean() <= numeric.mean.high
    assert numeric.mean.high < 0
    # 90 % of the lightened would not have changed, and all of them did
    assert drift.net_changed.low <= 0.9 * lightened.mean() <= drift.net_changed.high


def test_two_independent_null_edits_are_flagged_no_more_often_than_they_say() -> None:
    plan = Plan(seed=2, n_boot=2, n_permutations=99)
    rejected = {"margins": 0, "symmetry": 0, "js": 0, "mean": 0}
    for repeat in range(200):
        true, rng = tones(120, 1000 + repeat)
        a, b = noisy(true, rng, 0.3), noisy(true, rng, 0.3)
        drift = categorical_drift(Readings("tone", true, a, np.arange(120), b), TONES, plan)
        rejected["margins"] += drift.margins.p_value <= 0.05
        rejected["symmetry"] += drift.symmetry.p_value <= 0.05
        rejected["js"] += drift.js.p_value <= 0.05
        x, y = rng.normal(size=(2, 120)) + true
        rejected["mean"] += numeric_drift(Readings("age", true * 1.0, x, np.arange(120), y), plan).test.p_value <= 0.05
    assert {name: n for name, n in rejected.items() if n > 16} == {}


def test_a_meter_that_flips_by_itself_is_not_drift_of_the_anonymiser() -> None:
    before, rng = tones(2000, 5)
    null, after = noisy(before, rng, 0.4), noisy(before, rng, 0.4)
    drift = drift_of(before, after, null)
    assert drift.changed.value > 0.25
    assert drift.null_changed == pytest.approx(drift.changed.value, abs=0.05)
    assert drift.net_changed.low < 0 < drift.net_changed.high


def test_collapse_lowers_entropy_and_noise_raises_it() -> None:
    before, rng = tones(300, 6)
    peaked = np.where(rng.random(300) < 0.8, 2, before)
    assert drift_of(before, peaked).entropy_drift.high < 0
    assert drift_of(peaked, before).entropy_drift.low > 0


def test_swapping_before_and_after_turns_the_signs_and_keeps_the_distances() -> None:
    before, rng = tones(200, 7)
    after = np.minimum(noisy(before, rng, 0.4), 4)
    there, back = drift_of(before, after), drift_of(after, before)
    assert there.js.observed == pytest.approx(back.js.observed)
    assert there.margins.p_value == pytest.approx(back.margins.p_value)
    assert there.entropy_drift.value == pytest.approx(-back.entropy_drift.value)
    assert (there.transitions == back.transitions.T).all()
    for forth, turned in zip(there.share_drift, back.share_drift, strict=True):
        assert forth.value == pytest.approx(-turned.value)


def test_renaming_the_categories_changes_no_distance() -> None:
    before, rng = tones(200, 8)
    after = noisy(before, rng, 0.5)
    order = np.array([3, 0, 5, 1, 4, 2])
    assert drift_of(order[before], order[after]).js.observed == pytest.approx(drift_of(before, after).js.observed)


def test_invalid_readings_are_counted_and_leave_the_rest() -> None:
    before = np.array([0, 1, 2, 3, 3])
    after = np.array([0, INVALID, 2, 3, INVALID])
    drift = drift_of(before, after, before)
    assert (drift.n, drift.n_missing) == (3, 2)
    assert drift.invalid.value == pytest.approx(0.4)
    assert drift.null_invalid == 0
    assert drift.js.observed == 0


def test_fifty_pictures_of_five_people_are_five_people() -> None:
    subjects = np.repeat(np.arange(5), 50)
    before = np.zeros(250, np.int64)
    after = np.where(subjects < 2, 1, 0)  # two of five people read otherwise, in all their pictures
    clustered = categorical_drift(Readings("tone", before, after, subjects), TONES, PLAN)
    naive = drift_of(before, after)
    assert naive.margins.p_value < 0.001
    assert clustered.margins.p_value > 0.2  # by hand: two of two moved the same way, p = 1/2


def test_nothing_valid_is_said_and_not_a_crash() -> None:
    nothing = np.full(4, INVALID)
    drift = drift_of(nothing, nothing)
    assert drift.n == 0
    assert np.isnan([drift.js.observed, drift.margins.p_value, drift.changed.value]).all()
    statuses = {f.row.metric: f.row.status for f in categorical_findings(drift)}
    assert statuses["js_distance"] is Status.NOT_MEASURED
    assert statuses["invalid_share"] is Status.OK
    empty = numeric_drift(Readings("age", *(np.zeros(0) for _ in range(2)), np.zeros(0, np.int64)), PLAN)
    assert empty.n == 0


def ages(n: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return rng.normal(40, 12, n), rng


def test_five_years_added_are_found_at_their_size_net_of_the_meter() -> None:
    before, rng = ages(300, 1)
    null = before + 1 + rng.normal(0, 3, 300)  # the re-encode alone makes everybody a year older
    after = before + 6 + rng.normal(0, 3, 300)
    drift = numeric_drift(Readings("perceived_age", before, after, np.arange(300), null), PLAN)
    assert drift.mean.low <= 5 <= drift.mean.high
    assert drift.null_mean == pytest.approx(1, abs=0.6)
    assert drift.test.p_value < 1e-10
    assert drift.standardised == pytest.approx(paired_t(null, after).effect)


def test_collapse_to_the_mean_face_shows_in_the_variance_and_not_in_the_mean() -> None:
    before, _ = ages(400, 2)
    after = 40 + (before - before.mean()) / 2
    drift = numeric_drift(Readings("perceived_age", before, after, np.arange(400)), PLAN)
    assert drift.variance_ratio.value == pytest.approx(0.25)
    assert drift.variance_ratio.high < 0.3


def test_the_variance_ratio_does_not_depend_on_the_origin_or_the_unit() -> None:
    before, rng = ages(50, 3)
    after = before * 1.2 + rng.normal(size=50)
    one = numeric_drift(Readings("a", before, after, np.arange(50)), PLAN).variance_ratio
    other = numeric_drift(Readings("a", before * 7 + 1e6, after * 7 + 1e6, np.arange(50)), PLAN).variance_ratio
    assert other.value == pytest.approx(one.value)
    assert one.value == pytest.approx(np.var(after) / np.var(before))


def test_readings_of_unequal_length_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="perceived_age"):
        Readings("perceived_age", np.zeros(3), np.zeros(2), np.arange(3))


def test_the_rows_of_all_groups_make_a_table_and_a_group_of_three_is_named_without_a_figure() -> None:
    before, rng = tones(203, 9)
    after = noisy(before, rng, 0.2)
    group = group_by("pronoun", ["she"] * 100 + ["he"] * 100 + ["they"] * 3)
    readings = Readings("skin_tone", before, after, np.arange(203))
    findings = categorical_findings_by_group(readings, TONES, [group], PLAN)
    numeric = Readings("ita", -before * 1.0, -after * 1.0, np.arange(203))
    findings += numeric_findings_by_group(numeric, [group], PLAN, unit="deg")
    table = AuditTable(adjusted_rows(findings))
    few = table.get("total_variation", "skin_tone", "pronoun=they")
    assert few is not None
    assert (few.status, few.n) == (Status.TOO_FEW, 3)
    she = table.get("mean_drift", "ita", "pronoun=she")
    assert she is not None
    assert she.n == 100
    raw = {(f.row.metric, f.row.attribute, f.row.group): f.p_value for f in findings}
    for row in table.rows:
        p = raw[(row.metric, row.attribute, row.group)]
        assert np.isnan(p) or row.p_adjusted >= p - 1e-12


def test_an_estimator_that_selected_the_understudies_is_marked_in_each_row() -> None:
    before, rng = ages(20, 4)
    drift = numeric_drift(Readings("age", before, before + rng.normal(size=20), np.arange(20)), PLAN)
    assert {f.row.status for f in numeric_findings(drift, unit="year", status=Status.SELECTED)} == {Status.SELECTED}
