"""Skin tone is read from skin, and the policy's neither from shine nor from the amount of light alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.attributes.skin_tone import (
    ita_bin,
    measure_face_ita,
    measure_face_lab,
    measure_ita,
    measure_tone_deg,
    tone_bin,
    tone_deg,
)
from understudy.color import ita_deg, lab
from understudy.errors import InvalidInputError

SKIN = (198, 150, 120)
BOX = np.array([20.0, 15.0, 80.0, 95.0])
POINTS = np.array([[38.0, 45.0], [62.0, 45.0], [50.0, 60.0], [40.0, 75.0], [60.0, 75.0]])


def _face(skin: tuple[int, int, int] = SKIN) -> NDArray[np.uint8]:
    """Skin with dark eyes and a red mouth on a blue ground."""
    view = np.full((110, 100, 3), (20, 40, 200), np.uint8)
    view[15:95, 20:80] = skin
    for x, y in POINTS[:2].astype(int):
        view[y - 4 : y + 4, x - 6 : x + 6] = 15
    view[72:79, 38:62] = (170, 40, 50)
    return view


def test_reads_the_skin_between_eyes_mouth_and_ground() -> None:
    """The median is the skin's own angle, whatever eyes, mouth and ground look like."""
    measured = measure_ita(_face(), BOX, POINTS, np.ones(5))
    assert measured == pytest.approx(float(ita_deg(np.array(SKIN))), abs=0.01)


def test_the_ground_does_not_count() -> None:
    """Another ground leaves the reading as it is."""
    other = _face()
    other[(other == (20, 40, 200)).all(axis=2)] = (250, 240, 230)
    assert measure_ita(other, BOX, POINTS, np.ones(5)) == measure_ita(_face(), BOX, POINTS, np.ones(5))


def test_a_box_alone_is_enough() -> None:
    """Without keypoints the patches are placed by the box."""
    measured = measure_ita(_face(), BOX, np.zeros((5, 2)), np.zeros(5))
    assert measured == pytest.approx(float(ita_deg(np.array(SKIN))), abs=0.01)


def test_a_mirrored_face_reads_the_same() -> None:
    """Left and right do not matter."""
    mirrored = _face()[:, ::-1]
    points = np.column_stack([100 - POINTS[:, 0], POINTS[:, 1]])[[1, 0, 2, 4, 3]]
    box = np.array([20.0, 15.0, 80.0, 95.0])
    assert measure_ita(mirrored, box, points, np.ones(5)) == pytest.approx(
        measure_ita(_face(), BOX, POINTS, np.ones(5)), abs=1e-9
    )


def test_a_face_outside_the_picture_reads_as_nan() -> None:
    """Where no skin lies in the picture nothing is made up."""
    assert np.isnan(measure_ita(_face(), BOX + 500, POINTS + 500, np.ones(5)))


def test_a_face_of_six_pixels_still_reads() -> None:
    """Patches of a tiny face hold a few pixels at least."""
    view = np.full((12, 12, 3), SKIN, np.uint8)
    assert measure_ita(view, np.array([3, 3, 9, 9]), POINTS * 0.06 + 3, np.ones(5)) == pytest.approx(
        float(ita_deg(np.array(SKIN))), abs=0.01
    )


@pytest.mark.parametrize(("ita", "expected"), [(60, 0), (55, 1), (42, 1), (41, 2), (20, 3), (0, 4), (-30, 5), (-80, 5)])
def test_bins_change_at_the_published_cuts(ita: float, expected: int) -> None:
    """Very light is over 55 degrees, dark is -30 and under."""
    assert ita_bin(ita) == expected


def test_nothing_measured_has_no_bin() -> None:
    """NaN is refused rather than called dark."""
    with pytest.raises(InvalidInputError, match="finite"):
        ita_bin(float("nan"))


def test_a_whole_face_of_one_colour_reads_as_that_colour() -> None:
    """Eyes, mouth and ground do not weigh in."""
    measured = measure_face_lab(_face(), BOX, POINTS, np.ones(5))
    expected = lab(np.array([SKIN], np.uint8))[0]
    np.testing.assert_allclose(measured, expected, atol=0.01)
    angle = measure_tone_deg(_face(), BOX, POINTS, np.ones(5))
    assert angle == pytest.approx(np.degrees(np.arctan2(expected[0] - 35, expected[2])), abs=0.01)


@pytest.mark.parametrize(("lightness", "b", "expected"), [(55, 20, 45.0), (35, 20, 0.0), (15, 20, -45.0)])
def test_the_tone_angle_is_seen_from_a_lightness_of_35(lightness: float, b: float, expected: float) -> None:
    """20 over, on and 20 under the pivot, at a yellowness of 20."""
    assert tone_deg(lightness, b) == pytest.approx(expected)


@pytest.mark.parametrize(("angle", "expected"), [(70, 0), (65.8, 1), (50, 2), (48.7, 3), (37.6, 4), (9.5, 5), (-60, 5)])
def test_tone_bins_change_at_their_cuts(angle: float, expected: int) -> None:
    """Very light is over 65.8 degrees, dark is 9.5 and under."""
    assert tone_bin(angle) == expected


def test_no_tone_has_no_bin() -> None:
    """NaN is refused rather than called dark."""
    with pytest.raises(InvalidInputError, match="finite"):
        tone_bin(float("nan"))


def test_skin_under_white_light_has_the_same_bin_in_both_measures() -> None:
    """From the lightest to the darkest of ten skins, so that the bins keep their names."""
    skins = [
        *((240, 212, 196), (233, 200, 180), (226, 187, 162), (215, 170, 140), (198, 149, 116)),
        *((172, 123, 90), (142, 97, 69), (112, 75, 54), (84, 57, 43), (60, 41, 33)),
    ]
    values = lab(np.array(skins, np.uint8))
    by_tone = [tone_bin(tone_deg(lightness, b)) for lightness, _, b in values]
    assert by_tone == [ita_bin(float(v)) for v in ita_deg(np.array(skins))] == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5]


def test_more_light_moves_the_tone_of_brown_skin_by_fewer_bins_than_its_ita() -> None:
    """2.5 times the light (linear) takes the ITA from brown to intermediate, the tone no further than tan."""
    brown, lit = (142, 97, 69), (215, 149, 108)
    (l0, _, b0), (l1, _, b1) = lab(np.array([brown, lit], np.uint8))
    assert [ita_bin(float(v)) for v in ita_deg(np.array([brown, lit]))] == [4, 2]
    assert [tone_bin(tone_deg(l0, b0)), tone_bin(tone_deg(l1, b1))] == [4, 3]


def test_a_shining_dark_face_is_not_read_as_a_light_one() -> None:
    """Highlights on both cheekbones and the forehead make patches read very light; the tone stays the skin's."""
    dark = (110, 75, 60)
    face = _face(dark)
    ys, xs = np.mgrid[0:110, 0:100] + 0.5
    for x, y in ((39, 61.5), (61, 61.5), (50, 28.5)):
        face[(xs - x) ** 2 + (ys - y) ** 2 <= 5.3**2] = (225, 205, 190)
    given = (BOX, POINTS, np.ones(5))
    assert ita_bin(measure_ita(face, *given)) == 0
    lightness, _, b = lab(np.array(dark, np.uint8))
    assert measure_tone_deg(face, *given) == pytest.approx(tone_deg(lightness, b), abs=0.5)
    assert measure_face_ita(face, *given) == pytest.approx(float(ita_deg(np.array(dark))), abs=0.5)


def test_a_tone_without_keypoints_is_read_by_the_box() -> None:
    """As ITA is."""
    angle = measure_tone_deg(_face(), BOX, np.zeros((5, 2)), np.zeros(5))
    assert angle == pytest.approx(measure_tone_deg(_face(), BOX, POINTS, np.ones(5)), abs=0.01)


def test_a_whole_face_outside_the_picture_reads_as_nan() -> None:
    """As the patches do."""
    assert np.isnan(measure_face_lab(_face(), BOX + 500, POINTS + 500, np.ones(5))).all()
    assert np.isnan(measure_tone_deg(_face(), BOX + 500, POINTS + 500, np.ones(5)))
