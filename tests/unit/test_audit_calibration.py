"""A drift read with shrinkage is brought back to the units of labels."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.audit.calibration import calibrated_drift
from understudy.audit.resampling import Plan
from understudy.errors import InvalidInputError

PLAN = Plan(seed=0, n_boot=400)


def test_without_noise_slope_and_drift_are_exact() -> None:
    age = np.array([20.0, 30, 45, 70])
    read = 25 + 0.4 * age
    found = calibrated_drift(age, read, read + 2, read, np.arange(4), PLAN)
    assert found.slope.value == pytest.approx(0.4)
    assert found.drift.value == pytest.approx(5)
    assert found.n == 4


def test_the_slope_is_numpy_s_and_the_interval_covers_what_was_planted() -> None:
    rng = np.random.default_rng(1)
    age = rng.uniform(20, 80, 200)
    read = 30 + 0.35 * age + rng.normal(0, 8, 200)
    after = read + 0.35 * 5 + rng.normal(0, 2, 200)
    found = calibrated_drift(age, read, after, read, np.arange(200), PLAN)
    assert found.slope.value == pytest.approx(np.polyfit(age, read, 1)[0])
    assert found.drift.low < 5 < found.drift.high
    assert found.drift.low > 3
    assert found.drift.high < 7


def test_people_with_two_pictures_are_drawn_as_one() -> None:
    rng = np.random.default_rng(2)
    age, subjects = np.repeat(rng.uniform(20, 80, 40), 2), np.repeat(np.arange(40), 2)
    read = 0.5 * age + np.repeat(rng.normal(0, 5, 40), 2)
    after = read + np.repeat(rng.normal(2, 2, 40), 2)
    twice = calibrated_drift(age, read, after, read, subjects, PLAN)
    once = calibrated_drift(age[::2], read[::2], after[::2], read[::2], subjects[::2], PLAN)
    assert twice.drift.low == pytest.approx(once.drift.low)
    assert twice.drift.high == pytest.approx(once.drift.high)


def test_readings_that_do_not_follow_the_labels_give_no_calibrated_drift() -> None:
    rng = np.random.default_rng(3)
    age, read = rng.uniform(20, 80, 30), rng.normal(40, 5, 30)
    found = calibrated_drift(age, read, read + 2, read, np.arange(30), PLAN)
    assert found.slope.low < 0 < found.slope.high
    assert np.isnan(found.drift.value)


def test_unknown_labels_are_left_out_and_one_age_alone_gives_nothing() -> None:
    age = np.array([20.0, np.nan, 40, 60, 80])
    read = np.arange(5.0)
    assert calibrated_drift(age, read, read, read, np.arange(5), PLAN).n == 4
    assert np.isnan(calibrated_drift(np.full(5, 30.0), read, read, read, np.arange(5), PLAN).slope.value)
    with pytest.raises(InvalidInputError, match="must be"):
        calibrated_drift(age[:3], read, read, read, np.arange(5), PLAN)
