"""The closed sets of attributes, and the Monk scale."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from understudy.attributes.bins import CATEGORIES, age_group, bin_of, gender_expression_group
from understudy.attributes.monk import MONK_SRGB, monk_tone
from understudy.color import lab
from understudy.errors import InvalidInputError
from understudy.types import Attributes


def test_every_attribute_that_a_condition_may_carry_has_named_bins_and_no_other() -> None:
    assert set(CATEGORIES) == {field.name for field in dataclasses.fields(Attributes)}


@pytest.mark.parametrize(
    ("years", "group"), [(3, 0), (12.99, 0), (13, 1), (29.9, 1), (30, 2), (45, 3), (59.9, 3), (60, 4), (97, 4)]
)
def test_an_age_on_a_cut_belongs_to_the_older_group(years: float, group: int) -> None:
    assert age_group(years) == group


@pytest.mark.parametrize(("value", "group"), [(0, 0), (0.349, 0), (0.35, 1), (0.65, 1), (0.651, 2), (1, 2)])
def test_the_middle_of_the_gender_scale_is_a_bin_of_its_own(value: float, group: int) -> None:
    assert gender_expression_group(value) == group


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_has_no_bin(value: float) -> None:
    with pytest.raises(InvalidInputError, match="finite"):
        bin_of(value, (0.0,))


def test_each_swatch_of_the_monk_scale_is_its_own_tone() -> None:
    assert [monk_tone(colour) for colour in lab(MONK_SRGB)] == list(range(1, 11))


def test_the_nearest_tone_is_taken() -> None:
    """L* of tones 5 and 6 are 78 and 55: a skin of L* 70 is nearer to 5, one of 60 to 6."""
    assert monk_tone(np.array([70.0, 6.0, 24.0])) == 5
    assert monk_tone(np.array([60.0, 6.0, 24.0])) == 6


def test_a_colour_that_was_not_measured_has_no_tone() -> None:
    with pytest.raises(InvalidInputError, match="finite"):
        monk_tone(np.full(3, np.nan))
