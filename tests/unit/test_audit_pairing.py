"""Faces and pictures find their partner, and nobody is dropped silently."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from understudy.audit.pairing import pair_faces, pair_pictures
from understudy.errors import InvalidInputError


def boxes(*centres: tuple[float, float], side: float = 20) -> np.ndarray:
    return np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2] for x, y in centres]).reshape(-1, 4)


def test_the_same_boxes_in_another_order_find_each_other() -> None:
    before = boxes((30, 30), (90, 30), (30, 90))
    order = [2, 0, 1]
    paired = pair_faces(before, before[order])
    assert paired.pairs.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert (len(paired.lost), len(paired.new)) == (0, 0)


def test_a_face_that_vanished_and_one_that_appeared_are_said() -> None:
    paired = pair_faces(boxes((30, 30), (90, 30)), boxes((31, 30), (200, 200)))
    assert paired.pairs.tolist() == [[0, 0]]
    assert paired.lost.tolist() == [1]
    assert paired.new.tolist() == [1]


def test_a_nearer_pair_gives_way_where_more_faces_find_a_partner() -> None:
    # 0 fits both, 1 fits only the box in the middle, although that one is nearest to 0
    paired = pair_faces(boxes((0, 0), (14, 0)), boxes((-8, 0), (5, 0)))
    assert paired.pairs.tolist() == [[0, 0], [1, 1]]


def test_the_matching_is_the_best_of_all_written_out() -> None:
    rng = np.random.default_rng(1)
    before = boxes(*rng.uniform(0, 60, (5, 2)))
    after = before[rng.permutation(5)] + rng.normal(0, 2, (5, 1))
    paired = pair_faces(before, after, max_shift=9, max_size_ratio=9)

    def cost(i: int, j: int) -> float:
        a, b = before[i], after[j]
        shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        shift = np.hypot(*(a[:2] + a[2:] - b[:2] - b[2:]) / 2) / 20
        return float(1 - shared / (800 - shared) + shift)

    best = min(sum(cost(i, j) for i, j in enumerate(p)) for p in itertools.permutations(range(5)))
    assert sum(cost(i, j) for i, j in paired.pairs) == pytest.approx(best)


def test_moving_the_whole_picture_changes_no_pair() -> None:
    rng = np.random.default_rng(2)
    before, after = boxes(*rng.uniform(0, 90, (6, 2))), boxes(*rng.uniform(0, 90, (4, 2)))
    one, moved = pair_faces(before, after), pair_faces(before + 500, after + 500)
    assert (one.pairs == moved.pairs).all()
    assert sorted([*one.pairs[:, 0], *one.lost]) == list(range(6))
    assert sorted([*one.pairs[:, 1], *one.new]) == list(range(4))


def test_a_picture_of_half_the_size_keeps_its_pairs() -> None:
    before = boxes((30, 30), (90, 30))
    paired = pair_faces(before, before / 2, before_size=(100, 120), after_size=(50, 60))
    assert paired.pairs.tolist() == [[0, 0], [1, 1]]


def test_a_face_and_the_whole_body_around_it_are_no_pair() -> None:
    assert len(pair_faces(boxes((50, 50), side=20), boxes((50, 50), side=80)).pairs) == 0


def test_a_small_face_may_move_by_half_its_size() -> None:
    assert len(pair_faces(boxes((50, 50), side=8), boxes((54, 50), side=8)).pairs) == 1
    assert len(pair_faces(boxes((50, 50), side=8), boxes((59, 50), side=8)).pairs) == 0


def test_no_faces_on_either_side_is_no_error() -> None:
    nobody = pair_faces(np.zeros((0, 4)), np.zeros((0, 4)))
    assert nobody.pairs.shape == (0, 2)
    assert pair_faces(boxes((5, 5)), np.zeros((0, 4))).lost.tolist() == [0]
    assert pair_faces(np.zeros((0, 4)), boxes((5, 5))).new.tolist() == [0]


def test_a_box_turned_inside_out_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="after"):
        pair_faces(boxes((5, 5)), np.array([[10.0, 0, 5, 5]]))


def test_pictures_pair_by_name_then_by_added_suffix_then_by_stem() -> None:
    paired = pair_pictures(["a.jpg", "b.heic", "sub/c.bmp", "d.jpg"], ["a.jpg", "b.heic.png", "sub/c.png", "e.jpg"])
    assert paired.pairs == (("a.jpg", "a.jpg"), ("b.heic", "b.heic.png"), ("sub/c.bmp", "sub/c.png"))
    assert paired.only_before == ("d.jpg",)
    assert paired.only_after == ("e.jpg",)


def test_a_stem_that_fits_two_pictures_fits_none() -> None:
    paired = pair_pictures(["a.bmp", "a.tif"], ["a.png"])
    assert paired.pairs == ()
    assert paired.only_before == ("a.bmp", "a.tif")


def test_the_same_name_in_another_folder_is_another_picture() -> None:
    assert pair_pictures(["x/a.jpg"], ["y/a.jpg"]).pairs == ()


def test_names_with_dots_keep_them() -> None:
    assert pair_pictures(["a.1.heic", "a.2.heic"], ["a.1.png", "a.2.png"]).pairs == (
        ("a.1.heic", "a.1.png"),
        ("a.2.heic", "a.2.png"),
    )
