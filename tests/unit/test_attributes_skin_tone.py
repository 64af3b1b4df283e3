"""Skin tone is read from cheeks and forehead only."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.attributes.skin_tone import SHINE_DEG, ita_bin, measure_face_lab, measure_ita, measure_matte_ita
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
    """Eyes, mouth and ground do not weigh in; and where nothing shines the patches have the last word."""
    measured = measure_face_lab(_face(), BOX, POINTS, np.ones(5))
    np.testing.assert_allclose(measured, lab(np.array([SKIN], np.uint8))[0], atol=0.01)
    assert measure_matte_ita(_face(), BOX, POINTS, np.ones(5)) == measure_ita(_face(), BOX, POINTS, np.ones(5))


def test_a_shining_dark_face_is_not_read_as_a_light_one() -> None:
    """Highlights on both cheekbones and the forehead count for no more than SHINE_DEG over the face."""
    dark = (110, 75, 60)
    face = _face(dark)
    ys, xs = np.mgrid[0:110, 0:100] + 0.5
    for x, y in ((39, 61.5), (61, 61.5), (50, 28.5)):
        face[(xs - x) ** 2 + (ys - y) ** 2 <= 5.3**2] = (225, 205, 190)
    given = (BOX, POINTS, np.ones(5))
    assert ita_bin(measure_ita(face, *given)) == 0
    expected = float(ita_deg(np.array(dark))) + SHINE_DEG
    assert measure_matte_ita(face, *given) == pytest.approx(expected, abs=0.5)


def test_a_whole_face_outside_the_picture_reads_as_nan() -> None:
    """As the patches do."""
    assert np.isnan(measure_face_lab(_face(), BOX + 500, POINTS + 500, np.ones(5))).all()
    assert np.isnan(measure_matte_ita(_face(), BOX + 500, POINTS + 500, np.ones(5)))
