"""sRGB to CIELAB and ITA, against values that are known from elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from understudy.color import ita_deg, lab
from understudy.errors import InvalidInputError


def test_white_is_the_top_of_the_scale() -> None:
    """D65 white has L* = 100 and no colour."""
    np.testing.assert_allclose(lab(np.array([255, 255, 255])), [100, 0, 0], atol=1e-3)


def test_pure_red_has_its_textbook_values() -> None:
    """sRGB red is L* 53.24, a* 80.09, b* 67.20 under D65."""
    np.testing.assert_allclose(lab(np.array([255, 0, 0])), [53.24, 80.09, 67.20], atol=0.01)


def test_agrees_with_opencv_on_random_colours() -> None:
    """A second implementation, OpenCV's float conversion, gives the same CIELAB."""
    rgb = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    theirs = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    np.testing.assert_allclose(lab(rgb), theirs, atol=0.35)


def test_light_skin_has_a_larger_angle_than_dark_skin() -> None:
    """ITA orders skin from dark to light."""
    dark, tan, light = ita_deg(np.array([[70, 45, 35], [180, 130, 95], [240, 210, 190]]))
    assert dark < tan < light


def test_angle_is_zero_at_middle_lightness() -> None:
    """ITA = arctan((L* - 50) / b*): where L* is 50 it is 0, checked by hand from CIELAB itself."""
    value = lab(np.array([150, 110, 80]))
    assert ita_deg(np.array([150, 110, 80])) == pytest.approx(np.degrees(np.arctan((value[0] - 50) / value[2])))


def test_two_channels_are_refused() -> None:
    """A picture that is not RGB is refused with its shape."""
    with pytest.raises(InvalidInputError, match=r"\(4, 2\)"):
        lab(np.zeros((4, 2), np.uint8))
