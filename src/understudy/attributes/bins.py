"""The closed sets of coarse attributes, and how a number becomes a bin. Every attribute is *perceived*."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.attributes.head_pose import N_HEAD_POSES
from understudy.attributes.skin_tone import N_SKIN_TONES
from understudy.errors import InvalidInputError

AGE_CUTS_YEARS = (13.0, 30.0, 45.0, 60.0)
"""A child, a young adult, then fifteen years each; the last one is open."""
AGE_GROUPS = ("under 13", "13 to 29", "30 to 44", "45 to 59", "60 and over")
EXPRESSIONS = ("neutral", "smile, mouth closed", "smile, teeth shown", "other")
GENDER_CUTS = (0.35, 0.65)
"""On the scale from 0 (masculine) to 1 (feminine)."""
GENDER_EXPRESSIONS = ("masculine", "between", "feminine")
SKIN_TONES = ("very light", "light", "intermediate", "tan", "brown", "dark")
GLASSES = ("no glasses", "glasses")
BEARDS = ("no beard", "beard")
HEAD_POSES = ("far right", "right", "frontal", "left", "far left")
"""Where the subject turns, from the subject's own view."""

CATEGORIES: dict[str, tuple[str, ...]] = {
    "skin_tone": SKIN_TONES,
    "head_pose": HEAD_POSES,
    "age_group": AGE_GROUPS,
    "expression": EXPRESSIONS,
    "perceived_gender_expression": GENDER_EXPRESSIONS,
    "glasses": GLASSES,
    "beard": BEARDS,
}
"""The name of every bin, by the attribute's name in ``Attributes``."""
N_CATEGORIES = {name: len(bins) for name, bins in CATEGORIES.items()}

if N_CATEGORIES["skin_tone"] != N_SKIN_TONES or N_CATEGORIES["head_pose"] != N_HEAD_POSES:
    raise InvalidInputError("bins.py names other bins than skin_tone.py and head_pose.py measure")


def bin_of(value: float, cuts: Sequence[float]) -> int:
    """Index of the interval that holds a value; a value on a cut belongs to the upper interval.

    Parameters
    ----------
    value : float
        Finite.
    cuts : sequence of float
        Ascending.
    """
    if value != value or value in (float("inf"), float("-inf")):
        raise InvalidInputError(f"a value must be finite to have a bin, got {value}")
    return sum(value >= cut for cut in cuts)


def age_group(years: float) -> int:
    """Bin of a perceived age, 0 (under 13) to 4 (60 and over)."""
    return bin_of(years, AGE_CUTS_YEARS)


def gender_expression_group(femininity: float) -> int:
    """Bin of a perceived gender expression in [0, 1]: 0 masculine (under .35), 1 between, 2 feminine (over .65)."""
    return 2 if femininity > GENDER_CUTS[1] else bin_of(femininity, GENDER_CUTS[:1])
