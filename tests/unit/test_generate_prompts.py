from __future__ import annotations

import numpy as np
import pytest

from understudy.attributes.bins import N_CATEGORIES
from understudy.errors import InvalidInputError
from understudy.generate.pose_picture import openpose_points, pose_picture
from understudy.generate.prompts import WORDS, PromptTemplate
from understudy.types import Attributes, Condition, Crop

FACE = np.array([[20, 22], [44, 22], [32, 34], [23, 46], [41, 46]], np.float32)
COCO = np.array([[10 + 3 * i, 20 + 2 * i] for i in range(17)], np.float32)


def condition(points: np.ndarray | None = FACE, shown: np.ndarray | None = None, level: int = 90) -> Condition:
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    visible = None if points is None else np.ones(len(points), np.float32) if shown is None else shown
    return Condition(Crop(np.full((64, 64, 3), level, np.uint8), mask, np.eye(2, 3)), points, visible)


# prompts


def test_every_attribute_has_a_word_for_every_bin() -> None:
    assert {name: len(words) for name, words in WORDS.items()} == N_CATEGORIES


def test_fragments_that_name_what_is_not_carried_are_left_out() -> None:
    template = PromptTemplate(["photo", "{age_group}", "{skin_tone} skin", "{expression}"])
    assert template(Attributes()) == "photo"
    assert template(Attributes(skin_tone=4, age_group=0)) == "photo, child, brown skin"


def test_a_bin_without_a_word_says_nothing() -> None:
    assert PromptTemplate(["a", "{expression}"])(Attributes(expression=3)) == "a"


def test_a_fragment_may_name_several_attributes_and_needs_all_of_them() -> None:
    template = PromptTemplate(["{age_group}, {perceived_gender_expression}"])
    assert template(Attributes(age_group=4)) == ""
    assert template(Attributes(age_group=4, perceived_gender_expression=1)) == "elderly adult, androgynous"


def test_words_can_be_replaced_for_whole_attributes() -> None:
    template = PromptTemplate(["{expression}"], words={"expression": ["calm", "smiling", "laughing", "odd"]})
    assert template(Attributes(expression=3)) == "odd"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fragments": ["{iris}"]}, "names 'iris'"),
        ({"fragments": ["{age_group"]}, "cannot be read"),
        ({"fragments": [], "words": {"expression": ["a"]}}, "needs 4 words"),
        ({"fragments": [], "words": {"iris": ["a"]}}, "is no attribute"),
    ],
)
def test_templates_that_cannot_work_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        PromptTemplate(**arguments)


@pytest.mark.parametrize("name", N_CATEGORIES)
def test_a_bin_outside_its_closed_set_cannot_be_carried_and_every_bin_in_it_has_words(name: str) -> None:
    n = N_CATEGORIES[name]
    for wrong in (-1, n):
        with pytest.raises(InvalidInputError, match=f"{name} must be None or from 0 to {n - 1}, got {wrong}"):
            Attributes(**{name: wrong})
    for value in range(n):
        assert isinstance(PromptTemplate(["{" + name + "}"])(Attributes(**{name: value})), str)


# the pose picture


def test_the_picture_is_drawn_from_the_keypoints_and_from_nothing_else() -> None:
    drawn = pose_picture(condition(level=90))
    assert (drawn == pose_picture(condition(level=200))).all()
    assert drawn.shape == (64, 64, 3)
    assert drawn.any()


def test_without_visible_keypoints_it_is_black() -> None:
    assert not pose_picture(condition(shown=np.zeros(5, np.float32))).any()
    assert not pose_picture(condition(points=None)).any()


def test_a_face_gives_eyes_and_nose_the_subjects_right_eye_first() -> None:
    points = openpose_points(condition())
    assert [i for i, p in enumerate(points) if p is not None] == [0, 14, 15]
    assert (points[0], points[14], points[15]) == ((32, 34), (20, 22), (44, 22))


def test_coco_joints_are_put_in_openposes_order_with_a_neck_between_the_shoulders() -> None:
    points = openpose_points(condition(points=COCO))
    assert points[1] == tuple((COCO[5] + COCO[6]) / 2)
    named = {0: 0, 2: 6, 3: 8, 4: 10, 5: 5, 6: 7, 7: 9, 8: 12, 9: 14, 10: 16, 11: 11, 12: 13, 13: 15}
    named |= {14: 2, 15: 1, 16: 4, 17: 3}
    assert all(points[i] == tuple(COCO[j]) for i, j in named.items())


def test_a_hidden_shoulder_leaves_the_neck_out() -> None:
    shown = np.ones(17, np.float32)
    shown[5] = 0
    points = openpose_points(condition(points=COCO, shown=shown))
    assert points[1] is None
    assert points[5] is None


def test_the_nose_is_red_and_limbs_are_darker_than_points() -> None:
    only = np.zeros((17, 2), np.float32)
    only[0] = (32, 10)
    shown = np.zeros(17, np.float32)
    shown[0] = 1
    drawn = pose_picture(condition(points=only, shown=shown))
    assert tuple(drawn[10, 32]) == (255, 0, 0)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 2
    elbow = np.zeros((17, 2), np.float32)
    elbow[[6, 8]] = [(10, 32), (50, 32)]
    shown[:] = 0
    shown[[6, 8]] = 1
    limb = pose_picture(condition(points=elbow, shown=shown))[32, 30]
    assert 0 < limb.max() < 255


def test_points_far_outside_the_crop_do_no_harm() -> None:
    assert pose_picture(condition(points=FACE * 1e6)).shape == (64, 64, 3)
