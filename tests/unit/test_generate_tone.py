"""An understudy is held to the skin tone bin that its condition carries, and to nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.attributes.skin_tone import TONE_LAB, measure_tone_deg, tone_bin
from understudy.color import lab
from understudy.generate.tone import LARGEST_CHROMA, SKIN_HUE_DEG, hold_skin_hue, hold_skin_tone, toned
from understudy.types import Attributes, Condition, Crop

MASK = np.zeros((64, 64), np.bool_)
MASK[8:56, 12:52] = True
POINTS = np.array([[24, 26], [40, 26], [32, 34], [26, 42], [38, 42]], np.float32)
BOX = np.array([12, 8, 52, 56], np.float64)


def condition(skin_tone: int | None) -> Condition:
    crop = Crop(np.full((64, 64, 3), 90, np.uint8), MASK.copy(), np.eye(2, 3))
    return Condition(crop, POINTS, np.ones(5, np.float32), Attributes(skin_tone=skin_tone))


def face(*rgb: int) -> NDArray[np.uint8]:
    return np.full((64, 64, 3), rgb, np.uint8)


def tone_of(pixels: NDArray[np.uint8]) -> int:
    return tone_bin(measure_tone_deg(pixels, BOX, POINTS, np.ones(5, np.float32)))


LIGHT, BROWN = face(224, 188, 164), face(150, 105, 80)


@pytest.mark.parametrize("wanted", [2, 3, 4])
def test_a_face_that_came_too_light_is_darkened_into_its_bin(wanted: int) -> None:
    assert tone_of(LIGHT) < 2
    assert tone_of(hold_skin_tone(LIGHT, condition(wanted))) == wanted


@pytest.mark.parametrize("wanted", [1, 2, 3])
def test_a_face_that_came_too_dark_is_lightened_into_its_bin(wanted: int) -> None:
    assert tone_of(BROWN) == 4
    assert tone_of(hold_skin_tone(BROWN, condition(wanted))) == wanted


def test_a_face_in_its_bin_stays_as_it_is() -> None:
    assert (hold_skin_tone(BROWN, condition(4)) == BROWN).all()


def test_a_policy_that_carries_no_tone_changes_nothing() -> None:
    assert (hold_skin_tone(BROWN, condition(None)) == BROWN).all()


def test_pixels_outside_the_mask_are_never_touched() -> None:
    held = hold_skin_tone(LIGHT, condition(4))
    assert (held[~MASK] == LIGHT[~MASK]).all()
    assert (held[MASK] != LIGHT[MASK]).any()


def test_where_no_skin_can_be_measured_nothing_changes() -> None:
    blue = face(10, 20, 200)
    assert (hold_skin_tone(blue, condition(1)) == blue).all()


def test_a_bin_out_of_reach_is_approached_as_far_as_the_limit_allows() -> None:
    before = measure_tone_deg(LIGHT, BOX, POINTS, np.ones(5, np.float32))
    after = measure_tone_deg(hold_skin_tone(LIGHT, condition(5)), BOX, POINTS, np.ones(5, np.float32))
    assert after < before - 40


def colour_of(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Hue angle in degrees and chroma of the skin."""
    _, a, b = np.median(lab(pixels[24:40, 24:40].reshape(-1, 3)), axis=0)
    return float(np.degrees(np.arctan2(b, a))), float(np.hypot(a, b))


GREENISH = face(170, 165, 110)


def test_a_face_that_a_lawn_has_tinted_gets_a_hue_that_skin_has() -> None:
    assert colour_of(GREENISH)[0] > 90
    held = hold_skin_hue(GREENISH, condition(None))
    assert colour_of(held)[0] == pytest.approx(SKIN_HUE_DEG[1], abs=2)
    np.testing.assert_array_equal(held[~MASK], GREENISH[~MASK])


def test_a_hue_that_skin_has_stays_and_so_does_what_is_no_skin() -> None:
    np.testing.assert_array_equal(hold_skin_hue(BROWN, condition(None)), BROWN)
    blue = face(40, 60, 200)
    np.testing.assert_array_equal(hold_skin_hue(blue, condition(None)), blue)


def test_a_face_as_orange_as_its_hair_is_calmed() -> None:
    orange = face(225, 120, 60)
    assert colour_of(orange)[1] > LARGEST_CHROMA + 10
    assert colour_of(hold_skin_hue(orange, condition(None)))[1] == pytest.approx(LARGEST_CHROMA, abs=2)


@pytest.mark.parametrize("wanted", [1, 2, 3, 4])
def test_a_reference_is_toned_into_the_bin_that_is_wanted(wanted: int) -> None:
    made = toned(face(190, 145, 120), POINTS, np.ones(5, np.float32), wanted)
    assert abs(tone_of(made) - wanted) <= (wanted == 4)  # brown lies beyond the largest change


def test_a_reference_gets_the_red_of_its_bin_and_its_lips_no_more_than_that() -> None:
    """a* of skin reaches the bin's; what is redder than skin moves by as much, grey takes on a quarter of it."""
    picture = face(190, 150, 125)
    picture[60:64, 44:52] = (190, 100, 95)
    picture[0:2, 0:2] = 120
    made = toned(picture, POINTS, np.ones(5, np.float32), 2)
    skin, goal = lab(picture[50, 48]), TONE_LAB[2]
    assert abs(lab(made[50, 48])[1] - goal[1]) < 1
    rise = lab(made[62, 48])[1] - lab(picture[62, 48])[1]
    assert abs(rise - (goal[1] - skin[1])) < 1.5
    np.testing.assert_allclose(lab(made[0, 0])[1:], 0.25 * np.array(goal[1:]), atol=0.6)
    picture[60:64, 44:52] = (60, 140, 90)  # a green eye
    greener = lab(toned(picture, POINTS, np.ones(5, np.float32), 2)[62, 48])[1] - lab(picture[62, 48])[1]
    assert greener > 0


def test_a_reference_keeps_its_tone_where_none_is_wanted_or_no_keypoint_is_known() -> None:
    for wanted, shown in ((None, np.ones(5)), (4, np.zeros(5))):
        np.testing.assert_array_equal(toned(LIGHT, POINTS, shown, wanted), LIGHT)


def test_a_light_face_that_is_turned_darker_becomes_more_yellow_too() -> None:
    """As skin does: lightness falls and b* rises, so that the face does not turn grey."""
    held = hold_skin_tone(LIGHT, condition(3))
    before, after = (lab(pixels[32, 32]) for pixels in (LIGHT, held))
    assert after[0] < before[0]
    assert after[2] > before[2]
