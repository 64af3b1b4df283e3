"""References: which one is drawn, and where it comes to lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from understudy.diffusion.networks import load_config, load_references, save_references
from understudy.diffusion.reference import (
    BENDS,
    FAR,
    ReferenceBank,
    bend_for,
    mirrored,
    mirrored_shape,
    shape_distance,
    shape_of,
    transfer_detail,
    turned_further,
    warp,
)
from understudy.errors import InvalidInputError
from understudy.geometry import nose_offset

FACE_MODEL = Path(__file__).resolve().parents[2] / "models" / "understudy-face-128"
FRONTAL = np.array([[40, 40], [72, 40], [56, 58], [44, 76], [68, 76]], np.float32)
TURNED = np.array([[40, 40], [58, 40], [38, 58], [42, 76], [54, 76]], np.float32)


def dotted(points: np.ndarray, size: int = 112) -> np.ndarray:
    """A picture with a dot of its own colour at each keypoint, all of it the subject."""
    picture = np.full((size, size, 4), 90, np.uint8)
    picture[..., 3] = 255
    for i, (x, y) in enumerate(points):
        cv2.circle(picture, (int(x), int(y)), 4, (40 * i + 60, 255 - 40 * i, 0, 255), -1)
    return picture


def bank_of(points: list[np.ndarray], tags: list[list[int]]) -> ReferenceBank:
    files = [cv2.imencode(".webp", cv2.cvtColor(dotted(p), cv2.COLOR_RGBA2BGRA), [64, 101])[1].ravel() for p in points]
    return ReferenceBank(
        files=np.concatenate(files),
        ends=np.cumsum([len(f) for f in files]),
        keypoints=np.stack(points),
        ellipses=np.tile(np.array([56, 58, 40, 48, 0], np.float32), (len(points), 1)),
        tags=np.array(tags),
        mean_keypoints=FRONTAL * 0.8,
        subjects=np.arange(len(points)),
    )


def test_the_distance_of_shapes_knows_neither_place_nor_size_nor_roll() -> None:
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = 1.7 * FRONTAL @ turn.T + [30, -12]
    assert shape_distance(shape_of(moved[None])[0], shape_of(FRONTAL[None]))[0] == pytest.approx(0, abs=1e-6)
    assert shape_distance(shape_of(TURNED[None])[0], shape_of(FRONTAL[None]))[0] > 0.1


def test_the_shape_of_the_mirror_image_is_that_of_the_mirrored_picture() -> None:
    _, points, ellipse = mirrored(dotted(TURNED), TURNED, np.array([50, 58, 30, 40, 12.0]))
    np.testing.assert_allclose(mirrored_shape(shape_of(TURNED[None])), shape_of(points[None]), atol=1e-6)
    np.testing.assert_allclose(ellipse, [62, 58, 30, 40, -12])
    np.testing.assert_allclose(points[0], [112 - TURNED[1, 0], TURNED[1, 1]])


def test_keypoints_come_to_lie_where_they_are_wanted() -> None:
    """Each dot is found, by its colour, within a pixel and a half of its goal, though the shapes differ."""
    goal = np.array([[30.0, 36], [63, 34], [47, 54], [33, 70], [61, 71]])
    pixels, cover = warp(dotted(FRONTAL), FRONTAL, np.array([56, 58, 50, 54, 0.0]), goal, 96)
    for i, point in enumerate(goal):
        near = np.abs(pixels.astype(int) - [40 * i + 60, 255 - 40 * i, 0]).sum(axis=2) < 40
        ys, xs = np.nonzero(near)
        np.testing.assert_allclose([xs.mean() + 0.5, ys.mean() + 0.5], point + 0.5, atol=1.5)
        assert cover[int(point[1]), int(point[0])]
    assert not cover[0, 0]


def test_what_is_not_the_subject_is_not_shown() -> None:
    picture = dotted(FRONTAL)
    picture[:, :56, 3] = 0
    _, cover = warp(picture, FRONTAL, np.array([56, 58, 40, 48, 0.0]), FRONTAL.astype(float), 112)
    assert not cover[:, :54].any()
    assert cover[50:60, 60:80].all()


def test_a_reference_of_the_wanted_pose_and_tags_is_drawn() -> None:
    """Turned keypoints draw the turned picture or its mirror image; a tag decides between equals; one a subject."""
    bank = bank_of([FRONTAL, TURNED, FRONTAL], [[0], [0], [5]])
    assert bank.draw(7, TURNED, n_least=1) == (1, False)
    other_way = mirrored(dotted(TURNED), TURNED, bank.ellipses[0])[1]
    assert bank.draw(7, other_way, n_least=1) == (1, True)
    assert bank.draw(7, FRONTAL, [5], n_least=1)[0] == 2
    assert bank.draw(7, None, [0], n_least=1)[0] == 0
    drawn = {bank.draw(seed, None, n_least=6) for seed in range(60)}
    assert {index for index, _ in drawn} == {0, 1, 2}
    assert len(drawn) == 3
    assert bank.draw(3, TURNED) == bank.draw(3, TURNED)


def test_no_tag_draws_a_profile_for_a_face_that_looks_ahead() -> None:
    """A tag three bins off outweighs a turn that a warp hides, and not one that it does not."""
    slightly = FRONTAL + np.array([[0, 0], [0, 0], [2, 0], [0, 0], [0, 0]], np.float32)
    assert shape_distance(shape_of(FRONTAL[None])[0], shape_of(slightly[None]))[0] < FAR
    assert shape_distance(shape_of(FRONTAL[None])[0], shape_of(TURNED[None]))[0] > 2 * FAR
    assert bank_of([FRONTAL, slightly], [[0], [3]]).draw(7, FRONTAL, [3], n_least=1, weights=[0.3])[0] == 1
    assert bank_of([FRONTAL, TURNED], [[0], [3]]).draw(7, FRONTAL, [3], n_least=1, weights=[0.3])[0] == 0


def test_of_a_subject_only_the_picture_that_suits_best_is_in_the_draw() -> None:
    """Of one subject's two pictures the turned one is drawn for a turned face, as often as the other subject's."""
    two = bank_of([FRONTAL, TURNED, TURNED], [[0], [0], [0]])
    bank = ReferenceBank(
        two.files, two.ends, two.keypoints, two.ellipses, two.tags, two.mean_keypoints, np.array([0, 0, 1])
    )
    drawn = [bank.draw(seed, TURNED, n_least=2)[0] for seed in range(80)]
    assert set(drawn) == {1, 2}
    assert 20 < drawn.count(1) < 60


def test_a_nose_is_turned_further_along_the_eyes_alone() -> None:
    """Eyes level, the nose 4 px left of the middle: 8 px with a factor of two, at the same height; frontal stays."""
    points = np.array([[40, 40], [72, 40], [52, 58], [44, 76], [68, 76]], np.float32)
    made = turned_further(points, 2.0)
    np.testing.assert_allclose(made[2], [48, 58], atol=1e-4)
    np.testing.assert_array_equal(np.delete(made, 2, 0), np.delete(points, 2, 0))
    np.testing.assert_array_equal(turned_further(FRONTAL, 1.0), FRONTAL)


def test_a_white_eye_on_a_dark_reference_does_not_glare_on_light_skin() -> None:
    """White 150 on skin of 40 goes 51 % of the way to white: 146 on skin of 120 is as far, and not 255."""
    reference = np.full((64, 64, 3), 40, np.uint8)
    reference[30:33, 30:33] = 150
    drawn = np.full((64, 64, 3), 120, np.uint8)
    made = transfer_detail(drawn, reference, np.ones((64, 64), np.bool_), sigma_px=10, share=1.0)
    way = (float(made[31, 31, 0]) - 120) / (255 - 120)
    assert 0.4 < way < 0.55


def test_references_survive_their_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    bank = bank_of([FRONTAL, TURNED], [[0], [1]])
    assert load_references(tmp_path) is None
    save_references(tmp_path, bank)
    again = load_references(tmp_path)
    assert again is not None
    assert len(again) == 2
    np.testing.assert_array_equal(again.picture(1), dotted(TURNED))
    for first, second in zip(bank.lay(1, True, None, 96), again.lay(1, True, None, 96), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_bank_with_missing_rows_is_refused() -> None:
    bank = bank_of([FRONTAL, TURNED], [[0], [1]])
    with pytest.raises(InvalidInputError, match="one row of everything"):
        ReferenceBank(
            bank.files, bank.ends, bank.keypoints[:1], bank.ellipses, bank.tags, bank.mean_keypoints, bank.subjects
        )


def test_detail_of_the_reference_itself_changes_nothing() -> None:
    """Where the drawn picture is the reference, its own structure under its own light is itself again."""
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(40, 220, (64, 64, 3)).astype(np.uint8), (0, 0), 1.0)
    cover = np.zeros((64, 64), np.bool_)
    cover[12:52, 12:52] = True
    same = transfer_detail(picture, picture, cover, sigma_px=5, share=1.0)
    assert np.abs(same.astype(int) - picture).max() <= 2


def test_detail_comes_from_the_reference_and_light_from_what_was_drawn() -> None:
    """A dim stripe on a bright reference shows on a dark drawing at the same ratio; outside the cover nothing moves."""
    reference = np.full((64, 64, 3), 200, np.uint8)
    reference[30:33] = 100
    drawn = np.full((64, 64, 3), (80, 60, 40), np.uint8)
    cover = np.zeros((64, 64), np.bool_)
    cover[8:56, 8:56] = True
    made = transfer_detail(drawn, reference, cover, sigma_px=6, share=1.0)
    np.testing.assert_array_equal(made[:5], drawn[:5])
    assert made[31, 32, 0] < 0.72 * made[44, 32, 0]
    assert abs(float(made[44, 32, 0]) / made[44, 32, 2] - 2) < 0.15
    np.testing.assert_array_equal(transfer_detail(drawn, reference, cover, sigma_px=6, share=0.0), drawn)


def test_a_bend_is_drawn_by_the_seed_and_is_the_same_on_both_sides() -> None:
    """Eyes and jaw's corners change alike; without strength there is none."""
    first, again, other = (bend_for(seed, 0.2) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    for right, left in ((0, 1), (4, 5)):
        np.testing.assert_array_equal(first[right], first[left])
    assert bend_for(1, 0.0) is None


def test_a_nose_that_is_bent_wide_is_wide_and_the_eyes_stay_where_they_are() -> None:
    """Two marks beside the nose move apart by about the magnification; the dots of the eyes do not move."""
    picture = np.full((112, 112, 4), 90, np.uint8)
    picture[..., 3] = 255
    for x in (50, 62):
        picture[57:60, x - 1 : x + 2, 0] = 255
    for x in (40, 72):
        picture[39:42, x - 1 : x + 2, 1] = 255
    bend = np.zeros((len(BENDS), 2))
    bend[2, 0] = 0.4
    whole = np.array([56, 58, 300, 300, 0.0])
    plain, bent = (warp(picture, FRONTAL, whole, FRONTAL.astype(float), 112, b)[0].astype(int) for b in (None, bend))

    def spread(image: np.ndarray, channel: int) -> float:
        columns = np.flatnonzero((image[..., channel] > 150).any(axis=0))
        return float(columns.max() - columns.min())

    assert spread(plain, 0) == pytest.approx(14, abs=1)
    assert 15.5 < spread(bent, 0) < 20
    assert spread(bent, 1) == pytest.approx(spread(plain, 1), abs=1)


def test_a_reference_twice_as_fine_shows_the_same_at_twice_the_size() -> None:
    """scale=2 has four pixels for each one, and the keypoints' dots at twice their places."""
    bank = bank_of([FRONTAL], [[0]])
    coarse, _ = bank.lay(0, False, FRONTAL, 112)
    fine, cover = bank.lay(0, False, FRONTAL, 112, 2)
    assert fine.shape == (224, 224, 3)
    assert cover.shape == (224, 224)
    halved = cv2.resize(fine, (112, 112), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(halved - coarse)[30:90, 30:90].mean() < 3


def test_a_tag_that_weighs_more_decides_the_draw() -> None:
    """With one picture left in the draw, the heavy tag's match is taken over the light tag's."""
    bank = bank_of([FRONTAL, FRONTAL], [[0, 3], [3, 0]])
    assert {bank.draw(s, FRONTAL, [0, 0], 1, weights=[0.2, 0.01])[0] for s in range(4)} == {0}
    assert {bank.draw(s, FRONTAL, [0, 0], 1, weights=[0.01, 0.2])[0] for s in range(4)} == {1}


def test_a_head_that_is_turned_as_far_is_drawn_before_one_of_the_nearer_shape() -> None:
    """Nose offsets of 0 and 8 px over 36: a weight of the turn decides, and a mirror image counts as turned back."""
    assert nose_offset(FRONTAL) == pytest.approx(0)
    turned = FRONTAL + np.array([[0, 0], [0, 0], [-8, 0], [0, 0], [0, 0]], np.float32)
    wide = FRONTAL + np.array([[-12, 0], [12, 0], [-8, 0], [-8, 0], [8, 0]], np.float32)
    assert nose_offset(turned) == pytest.approx(-8 / 36)
    assert nose_offset(mirrored(dotted(turned), turned, np.zeros(5))[1]) == pytest.approx(8 / 36)
    bank = bank_of([FRONTAL, wide], [[0], [0]])
    assert bank.draw(7, turned, n_least=1)[0] == 0
    assert bank.draw(7, turned, n_least=1, turn_weight=9.0) == (1, False)
    assert bank.draw(7, mirrored(dotted(turned), turned, np.zeros(5))[1], n_least=1, turn_weight=9.0) == (1, True)


def test_places_of_tags_lie_between_bins_and_are_the_bins_where_left_out() -> None:
    """The second tag has no places, the third one fewer than bins."""
    config = replace(load_config(FACE_MODEL), tag_places=((0.0, 0.5, 1.7), (), (0.0,)))
    assert config.suiting([2, 2, 0, 1]) == [1.7, 2, 0.0, 1]
    assert config.suiting([None, 0, 3]) == [None, 0, 3]


def test_a_head_with_a_beard_is_drawn_where_one_is_asked_for_and_nowhere_else() -> None:
    """Two of eight heads have one: of eight in the draw the same share is theirs; where nobody has glasses all are."""
    bank = bank_of([FRONTAL + i for i in range(8)], [[0, int(i < 2)] for i in range(8)])
    bearded = {bank.draw(seed, FRONTAL, [0], 8, flags=[1])[0] for seed in range(60)}
    shaven = {bank.draw(seed, FRONTAL, [0], 8, flags=[0])[0] for seed in range(60)}
    assert bearded == {0, 1}
    assert shaven == {2, 3, 4, 5, 6, 7}
    assert len({bank.draw(seed, FRONTAL, [0], 4, flags=[1])[0] for seed in range(60)}) == 1
    with pytest.raises(InvalidInputError, match="3 flags are asked for, but pictures have 2 tags"):
        bank.draw(0, FRONTAL, [0], 8, flags=[1, 1, 1])
    bare = replace(bank, tags=bank.tags * 0)
    assert {bare.draw(seed, FRONTAL, [0], 8, flags=[1])[0] for seed in range(120)} == set(range(8))
