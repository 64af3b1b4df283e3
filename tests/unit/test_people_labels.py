"""Labels: projection, pose, visibility, boxes and the rules that reject a picture."""

from dataclasses import replace

import numpy as np
import pytest

from understudy.attributes.skin_tone import ita_bin
from understudy.color import ita_deg
from understudy.people.camera import Camera, gaze_rotation, head_pose_deg
from understudy.people.labels import (
    FaceGeometry,
    face_box,
    over_disc,
    picture_labels,
    picture_rejection,
    skin_ita,
    view_rejection,
)
from understudy.people.landmarks import five_from_68, seen_points
from understudy.people.persona import sample_persona
from understudy.people.shape import Head

FRONT = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
"""Right, up and backward of a camera that looks along +y."""


def camera(axes: np.ndarray = FRONT) -> Camera:
    return Camera(axes[2] * 2.0, axes, 2 * np.arctan(0.5), (0.0, 0.0), 100)


def head(rotation: np.ndarray) -> Head:
    none = np.zeros((0, 3))
    return Head(none, none, none, rotation, ((np.zeros(3), 0.015),) * 2)


def turn(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def test_what_the_camera_looks_at_lies_in_the_middle_of_the_picture() -> None:
    pixels, depth = camera().project(np.zeros((1, 3)))
    assert pixels[0].tolist() == pytest.approx([50, 50])
    assert depth[0] == pytest.approx(2)


def test_a_metre_to_the_right_and_up_at_two_metres_is_half_a_frame() -> None:
    """The frame is as wide as the depth, since tan of half the field of view is one half."""
    pixels, _ = camera().project(np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    np.testing.assert_allclose(pixels, [[100, 50], [50, 0]], atol=1e-9)


def test_a_head_that_faces_the_camera_has_no_angles() -> None:
    assert head_pose_deg(head(np.eye(3)), camera()) == pytest.approx((0, 0, 0))


@pytest.mark.parametrize(
    ("axis", "degrees", "expected"),
    [("z", 30, (30, 0, 0)), ("z", -80, (-80, 0, 0)), ("x", -20, (0, 20, 0)), ("y", 15, (0, 0, 15))],
)
def test_pose_is_positive_to_the_right_of_the_picture_up_and_leaning_right(
    axis: str, degrees: float, expected: tuple[float, float, float]
) -> None:
    assert head_pose_deg(head(turn(axis, degrees)), camera()) == pytest.approx(expected, abs=1e-6)


def test_a_nose_points_to_the_side_that_the_yaw_says() -> None:
    rotation = turn("z", 40)
    pixels, _ = camera().project((rotation @ np.array([0, -0.1, 0]))[None])
    assert pixels[0, 0] > 50
    assert head_pose_deg(head(rotation), camera())[0] > 0


def test_eyes_that_look_at_the_camera_point_at_it() -> None:
    gaze = gaze_rotation(head(np.eye(3)), camera(), True, np.random.default_rng(0))
    np.testing.assert_allclose(gaze @ gaze.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(gaze) == pytest.approx(1)
    assert (gaze @ np.array([0, -1.0, 0])) @ camera().axes[2] > np.cos(np.radians(12))


def test_a_point_behind_what_is_seen_is_hidden_and_one_outside_is_not_seen() -> None:
    depth = np.full((10, 10), 1.0)
    points = np.array([[5.0, 5.0], [5.0, 5.0], [20.0, 5.0]])
    assert seen_points(points, np.array([1.001, 1.05, 1.0]), depth).tolist() == [True, False, False]


def test_a_point_on_a_contour_counts_as_seen_where_the_next_pixel_is_empty() -> None:
    depth = np.full((10, 10), 1.0)
    depth[:, 6:] = np.inf
    assert seen_points(np.array([[5.5, 5.0]]), np.array([1.2]), depth).tolist() == [True]


def face_68() -> np.ndarray:
    points = np.zeros((68, 2))
    points[:17] = np.c_[np.linspace(20, 80, 17), 60 + 30 * np.sin(np.linspace(0, np.pi, 17))]
    points[17:27] = np.c_[np.linspace(30, 70, 10), np.full(10, 40)]
    points[27:36] = [50, 60]
    points[36:42], points[42:48] = [38, 48], [62, 48]
    points[48:] = np.c_[np.linspace(40, 60, 20), np.full(20, 75)]
    points[54] = [60, 75]
    return points


def test_the_five_keypoints_are_eyes_nose_and_mouth_corners_from_the_left_of_a_frontal_picture() -> None:
    assert five_from_68(face_68()).tolist() == [[38, 48], [62, 48], [50, 60], [40, 75], [60, 75]]


def test_a_face_box_holds_its_keypoints_and_reaches_over_the_brows() -> None:
    points = face_68()
    x0, y0, x1, y1 = face_box(points)
    assert x0 <= points[:, 0].min()
    assert x1 >= points[:, 0].max()
    assert y1 >= points[:, 1].max()
    assert y0 < 40


def geometry(box: tuple[float, ...] = (10, 10, 90, 95), yaw: float = 0.0) -> FaceGeometry:
    points = face_68()
    seen = np.ones(68, bool)
    return FaceGeometry(np.array(box), five_from_68(points), seen[:5], points, seen, (yaw, 0.0, 0.0))


def test_a_good_view_is_kept() -> None:
    assert view_rejection(geometry(), np.zeros((100, 100)), 100) is None


@pytest.mark.parametrize(("box", "rule"), [((40, 40, 60, 60), "face_too_small"), ((-40, 10, 60, 95), "face_cut_off")])
def test_a_small_or_cut_face_is_rejected_by_its_rule(box: tuple[float, ...], rule: str) -> None:
    assert view_rejection(geometry(box), np.zeros((100, 100)), 100) == rule


def test_hair_over_both_eyes_rejects_and_over_one_does_not() -> None:
    hair = np.zeros((100, 100))
    hair[40:56, 30:46] = 1
    assert view_rejection(geometry(), hair, 100) is None
    hair[40:56, 54:70] = 1
    assert view_rejection(geometry(), hair, 100) == "hair_over_eyes"


def test_in_a_profile_the_far_eye_does_not_count() -> None:
    hair = np.zeros((100, 100))
    hair[40:56, 54:70] = 1
    assert view_rejection(geometry(yaw=-80), hair, 100) == "hair_over_eyes"
    assert view_rejection(geometry(yaw=80), hair, 100) is None


def test_the_mean_over_a_disc_is_the_share_of_it_that_is_covered() -> None:
    mask = np.zeros((40, 40))
    mask[:, 20:] = 1
    assert over_disc(mask, np.array([20.0, 20.0]), 10) == pytest.approx(0.5)
    assert over_disc(mask, np.array([200.0, 20.0]), 10) == 0


@pytest.mark.parametrize(
    ("color", "rule"),
    [
        ((200, 160, 140), None), ((90, 60, 45), None), ((45, 30, 24), None), ((6, 5, 5), "too_dark"),
        ((255, 255, 255), "too_bright"), ((255, 70, 10), "oversaturated"),
    ],
)  # fmt: skip
def test_skin_that_is_dark_bright_or_scarlet_is_rejected_and_dark_skin_is_not(
    color: tuple[int, int, int], rule: str | None
) -> None:
    picture = np.full((10, 10, 3), color, np.uint8)
    assert picture_rejection(picture, np.ones((10, 10))) == rule


def test_the_tone_of_skin_is_measured_where_it_shows() -> None:
    """A covered half of another colour changes nothing."""
    picture = np.full((20, 20, 3), (200, 150, 120), np.uint8)
    picture[10:] = (40, 90, 160)
    face = np.zeros((20, 20))
    face[:10] = 1
    assert skin_ita(picture, face) == pytest.approx(ita_deg(picture[0, 0]))
    assert np.isnan(skin_ita(picture, np.zeros((20, 20))))


def test_under_a_medical_mask_the_expression_is_not_labelled_and_the_rest_is() -> None:
    persona = replace(sample_persona(0, 0), worn="medical_mask", expression="smile", age=31.0, gender=0.9)
    picture = np.full((100, 100, 3), (200, 150, 120), np.uint8)
    row = picture_labels(persona, geometry(yaw=20), picture, np.ones((100, 100)))
    assert (row["expression"], row["expression_name"], row["age_group"]) == (None, "smile", 2)
    assert (row["perceived_gender_expression"], row["yaw_deg"], row["subject"]) == (2, 20, "0-000000")
    bare = picture_labels(replace(persona, worn="none"), geometry(yaw=20), picture, np.ones((100, 100)))
    assert bare["expression"] == 1
    assert bare["skin_tone"] == row["skin_tone"] == ita_bin(float(ita_deg(picture[0, 0])))


def test_in_a_profile_the_tone_is_measured_on_the_skin_and_not_beside_it() -> None:
    persona = replace(sample_persona(0, 0), worn="none")
    picture = np.full((100, 100, 3), (30, 60, 120), np.uint8)
    picture[5:20, 5:20] = (200, 150, 120)
    face = np.zeros((100, 100))
    face[5:20, 5:20] = 1
    row = picture_labels(persona, geometry(yaw=75), picture, face)
    assert row["ita_deg"] == pytest.approx(float(ita_deg(picture[10, 10])), abs=0.01)
