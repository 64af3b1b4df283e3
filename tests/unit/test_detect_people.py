"""Finding people: YOLOX's decoding, masks, the join of faces with bodies, and the region that is erased for a body."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.people_scenes import Person, people

from understudy.blend.silhouette import Outline, box_region
from understudy.detect.base import Found
from understudy.detect.hog_people import HogPeople
from understudy.detect.passes import InPasses, Pass
from understudy.detect.persons import Persons, join, match, only, too_large
from understudy.detect.selfie import SelfieSegmenter
from understudy.detect.yolox import YoloX, decode, split_batch
from understudy.errors import ConfigError, InvalidInputError
from understudy.types import BODY_KEYPOINTS, Detections, Kind, Silhouette


def raw_output(height: int, width: int, seed: int = 0) -> np.ndarray:
    """What a network may give: offsets, logarithmic sizes, objectness and 80 probabilities for each cell."""
    random = np.random.default_rng(seed)
    n = sum((height // s) * (width // s) for s in (8, 16, 32))
    raw = random.random((n, 85)).astype(np.float32)
    raw[:, :4] = random.normal(0, 0.7, (n, 4))
    raw[:, 5] += 0.4 * random.random(n)
    return raw


def decoded_slowly(raw: np.ndarray, height: int, width: int, threshold: float) -> list[list[float]]:
    """The same, cell by cell, as the published description has it."""
    boxes, row = [], 0
    for stride in (8, 16, 32):
        for y in range(height // stride):
            for x in range(width // stride):
                dx, dy, log_w, log_h, objectness, *classes = (float(v) for v in raw[row])
                row += 1
                if classes[0] < max(classes) or objectness * classes[0] <= threshold:
                    continue
                cx, cy, w, h = (x + dx) * stride, (y + dy) * stride, math.exp(log_w) * stride, math.exp(log_h) * stride
                boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, objectness * classes[0]])
    return boxes


def test_boxes_are_decoded_as_cell_by_cell_on_a_picture_that_is_no_square() -> None:
    raw = raw_output(64, 96)
    expected = np.array(decoded_slowly(raw, 64, 96, 0.3))
    found = decode(raw, 64, 96, threshold=0.3)
    assert len(found) == len(expected) > 0
    assert found.xyxy == pytest.approx(expected[:, :4], abs=1e-3)
    assert found.confidence == pytest.approx(expected[:, 4], abs=1e-6)


def test_one_person_in_one_cell_by_hand() -> None:
    raw = np.zeros((8 * 8 + 4 * 4 + 2 * 2, 85), np.float32)
    raw[64 + 4 * 2 + 1] = 0  # stride 16, row 2, column 1
    raw[64 + 4 * 2 + 1, :6] = [0.5, 0.25, math.log(2), math.log(3), 0.9, 0.8]
    found = decode(raw, 64, 64, threshold=0.5)
    assert found.xyxy.tolist() == [pytest.approx([24 - 16, 36 - 24, 24 + 16, 36 + 24])]
    assert found.confidence.tolist() == [pytest.approx(0.72)]


def test_a_cell_whose_likeliest_class_is_a_dog_is_no_person() -> None:
    raw = np.zeros((84, 85), np.float32)
    raw[3, 4], raw[3, 5], raw[3, 5 + 16] = 1, 0.6, 0.7
    assert len(decode(raw, 64, 64, threshold=0.3)) == 0
    assert len(decode(raw, 64, 64, threshold=0.3, class_index=16)) == 1


def test_a_size_that_would_overflow_stays_finite() -> None:
    raw = np.zeros((84, 85), np.float32)
    raw[0, 2:6] = [500, 500, 1, 1]
    assert np.isfinite(decode(raw, 64, 64, threshold=0.3).xyxy).all()


def test_the_outputs_of_a_batch_are_taken_apart_as_the_graph_put_them_together() -> None:
    height, width, n = 64, 32, 3
    cells = [(height // s) * (width // s) for s in (8, 16, 32)]
    random = np.random.default_rng(0)
    levels = [random.random((n, 85, c)).astype(np.float32) for c in cells]
    each = np.concatenate(levels, axis=2).transpose(0, 2, 1)
    as_one = np.concatenate([level.reshape(1, 85, -1) for level in levels], axis=2).transpose(0, 2, 1)
    assert (split_batch(as_one, n, height, width) == each).all()
    assert (split_batch(each, n, height, width) == each).all()
    with pytest.raises(ConfigError, match="expected 42 rows"):
        split_batch(as_one[:, 1:], n, height, width)


@pytest.mark.weights("yolox_nano")
def test_the_astronaut_is_one_person_in_every_size_and_alone_or_in_a_batch(portrait_paths: tuple[Path, ...]) -> None:
    picture = cv2.imread(str(next(path for path in portrait_paths if "astronaut" in path.name)))[..., ::-1]
    detector = InPasses(YoloX(), [Pass(scale=2.0, max_pixels=400_000, threshold=0.3)], sure=0.3, kind="body")
    for size in (300, 400):
        view = np.ascontiguousarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA))
        found = detector(view)
        assert found.kind == (Kind.BODY,)
        x0, y0, x1, y1 = found.xyxy[0] / size
        assert x0 < 0.15
        assert y0 < 0.2
        assert x1 > 0.6
        assert y1 > 0.95
    both = np.stack([view, view[:, ::-1]])
    together, alone = YoloX().find(both, 0.3), [YoloX().find(one[None], 0.3)[0] for one in both]
    for a, b in zip(together, alone, strict=True):
        assert a.xyxy == pytest.approx(b.xyxy, abs=1e-2)


@pytest.mark.weights("selfie_segmentation")
def test_the_astronaut_s_mask_covers_her_face_and_not_the_corner(portrait_paths: tuple[Path, ...]) -> None:
    picture = cv2.imread(str(next(path for path in portrait_paths if "astronaut" in path.name)))[..., ::-1]
    view = np.ascontiguousarray(picture)
    found = SelfieSegmenter()(view, np.array([0, 0, 450, 512], np.float32))
    assert found is not None
    x0, y0 = found.window[:2]
    assert found.mask[130 - y0, 220 - x0]
    assert not found.mask[30 - y0, 60 - x0]
    assert SelfieSegmenter()(np.full_like(view, 200), np.array([0, 0, 450, 512], np.float32)) is None  # a wall
    assert SelfieSegmenter(min_height_px=600)(view, np.array([0, 0, 450, 512], np.float32)) is None


def test_the_pedestrian_detector_takes_any_size_and_finds_nobody_in_a_wall() -> None:
    for size in [(1, 1), (3, 900), (200, 300), (130, 70)]:
        assert len(HogPeople()(np.full((*size, 3), 90, np.uint8))) == 0


# faces and bodies


def test_a_face_belongs_to_the_body_at_whose_top_it_lies() -> None:
    found = people(Person(60, 150, 120), Person(90, 156, 130), Person(150, 150, 110, face=False))
    assert found.kind == (Kind.BODY,) * 3 + (Kind.FACE,) * 2
    for i in (3, 4):
        body = int(found.subject_id[i])
        assert abs(found.xyxy[i, [0, 2]].mean() - found.xyxy[body, [0, 2]].mean()) < 1
    assert len(set(found.subject_id.tolist())) == 3


def test_a_face_without_a_body_and_a_body_without_a_face_are_persons_of_their_own() -> None:
    found = people(Person(60, 150, 120, face=False), Person(160, 150, 110, body=False))
    assert len(set(found.subject_id.tolist())) == 2
    assert found.face_of(0) is None


@pytest.mark.parametrize(
    ("face", "owner"),
    [
        ([45, 5, 55, 17], 0),  # where heads are
        ([45, 85, 55, 97], -1),  # at the feet
        ([120, 5, 130, 17], -1),  # beside
        ([0, 0, 100, 100], -1),  # as large as the body
    ],
)
def test_only_a_face_of_a_head_s_size_in_a_head_s_place_is_joined(face: list[float], owner: int) -> None:
    assert match(np.array([face], np.float32), np.array([[30, 0, 70, 100]], np.float32)).tolist() == [owner]


def test_each_body_has_one_face_and_the_better_one() -> None:
    faces = np.array([[46, 20, 56, 32], [45, 4, 55, 16]], np.float32)
    assert match(faces, np.array([[30, 0, 70, 100]], np.float32)).tolist() == [-1, 0]


def test_two_people_before_each_other_keep_their_own_faces() -> None:
    bodies = np.array([[0, 0, 40, 100], [20, 10, 60, 110]], np.float32)
    faces = np.array([[33, 13, 47, 27], [13, 3, 27, 17]], np.float32)
    assert match(faces, bodies).tolist() == [1, 0]


def test_a_body_gets_nose_and_eyes_of_its_face_where_it_has_no_pose() -> None:
    found = people(Person(60, 150, 120))
    points, shown = found.keypoints_of(0)
    right_eye, left_eye, nose = found.keypoints[1, :3]
    assert points[BODY_KEYPOINTS.index("nose")].tolist() == nose.tolist()
    assert points[BODY_KEYPOINTS.index("left_eye")].tolist() == left_eye.tolist()
    assert points[BODY_KEYPOINTS.index("right_eye")].tolist() == right_eye.tolist()
    assert shown.sum() == 3


def test_persons_looks_for_faces_only_where_it_is_given_a_detector_of_faces() -> None:
    class Fixed:
        def __init__(self, name: str, answer: Detections) -> None:
            self.name, self.families, self.answer = name, frozenset({name}), answer

        def __call__(self, view: np.ndarray) -> Detections:
            return self.answer

    found = people(Person(60, 150, 120))
    bodies, faces = Fixed("b", only(found, Kind.BODY)), Fixed("f", only(found, Kind.FACE))
    view = np.zeros((160, 200, 3), np.uint8)
    assert Persons(bodies)(view).kind == (Kind.BODY,)
    both = Persons(bodies, faces)
    assert both(view).subject_id.tolist() == [0, 0]
    assert both.families == {"b", "f"}


def test_two_boxes_around_one_large_face_are_one_person_and_all_of_both_is_erased() -> None:
    bodies = Detections.bodies(np.array([[20, 0, 100, 100], [0, 30, 70, 98]]), np.array([0.9, 0.5]))
    face = Detections.faces(np.array([[25, 35, 65, 85]]), np.ones(1))
    found = join(face, bodies)
    assert found.kind == (Kind.BODY, Kind.FACE)
    assert found.xyxy[0].tolist() == [0, 0, 100, 100]
    assert found.subject_id.tolist() == [0, 0]


def test_the_masks_of_one_person_seen_twice_are_united_and_a_box_without_a_mask_counts_whole() -> None:
    mask = np.zeros((100, 80), bool)
    mask[:10, :5] = True
    seen = Detections.bodies(
        np.array([[20, 0, 100, 100], [0, 30, 70, 98]]),
        np.array([0.9, 0.5]),
        silhouettes=[Silhouette((20, 0, 100, 100), mask), None],
    )
    found = join(Detections.faces(np.array([[25, 35, 65, 85]]), np.ones(1)), seen)
    assert found.silhouettes[0].window == (0, 0, 100, 100)
    assert int(found.silhouettes[0].mask.sum()) == 10 * 5 + 70 * 68


def test_two_boxes_around_one_small_face_stay_two_people() -> None:
    bodies = Detections.bodies(np.array([[20, 0, 100, 200], [10, 10, 70, 200]]), np.array([0.9, 0.5]))
    found = join(Detections.faces(np.array([[50, 12, 65, 32]]), np.ones(1)), bodies)
    assert found.kind == (Kind.BODY, Kind.BODY, Kind.FACE)


GIANT = np.array([[10, 0, 190, 200]], np.float32)


@pytest.mark.parametrize(
    ("others", "bodies", "heads", "expected"),
    [
        ([[60, 40, 80, 60]], [[50, 30, 90, 150]], [20], True),  # a head with another one in it
        ([], [[50, 30, 90, 150]], [0], True),  # larger than a whole person in it
        ([], [[50, 30, 190, 600]], [0], False),  # somebody taller behind
        ([[195, 0, 255, 60]], [[100, 0, 300, 500]], [60], True),  # three times as large as the head beside it
        ([[195, 0, 315, 120]], [[100, 0, 300, 500]], [120], False),  # somebody nearer than the one beside
        ([[150, 150, 270, 290]], [[300, 30, 340, 150]], [140], False),  # a face of about the same size
        ([[12, 2, 22, 12]], [[300, 30, 340, 150]], [10], False),  # somebody at the edge of the box
        ([], [[300, 30, 340, 150]], [0], False),  # nobody around it
    ],
)
def test_a_face_that_holds_other_heads_or_dwarfs_the_people_around_it_is_too_large(
    others: list[list[float]], bodies: list[list[float]], heads: list[float], expected: bool
) -> None:
    boxes = (np.array(rows, np.float32).reshape(-1, 4) for rows in (others, bodies))
    assert too_large(GIANT, *boxes, np.array(heads, np.float32)).tolist() == [expected]


def test_nobody_is_joined_with_nobody() -> None:
    nothing = join(Found.nothing().detections(), Found.nothing().detections(Kind.BODY))
    assert len(nothing) == 0


# what is erased for a body

BOX = np.array([40, 20, 80, 120], np.float32)


def walker() -> Silhouette:
    """A head, a trunk and two legs apart."""
    mask = np.zeros((100, 40), bool)
    mask[0:15, 14:26] = mask[15:55, 8:32] = mask[55:, 4:14] = mask[55:, 26:36] = True
    return Silhouette((40, 20, 80, 120), mask)


def on_picture(region: object, size: tuple[int, int] = (140, 130)) -> np.ndarray:
    full = np.zeros(size, bool)
    full[region.slices] = region.mask
    return full


@pytest.mark.parametrize("how", ["box", "hull", "dilated"])
def test_every_region_of_a_body_holds_the_whole_silhouette_with_a_margin(how: str) -> None:
    region = on_picture(Outline(how, 0.04)(BOX, walker(), 140, 130))
    person = on_picture(type("R", (), {"slices": (slice(20, 120), slice(40, 80)), "mask": walker().mask})())
    grown = cv2.dilate(person.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))) > 0
    assert region[grown].all()


def test_the_tighter_the_outline_the_smaller_the_region() -> None:
    areas = [Outline(how, 0.04)(BOX, walker(), 140, 130).area for how in ("box", "hull", "dilated")]
    assert areas[0] > areas[1] > areas[2]


def test_the_hull_does_not_show_the_gap_between_the_legs() -> None:
    at = (100, 60)  # between the feet
    assert on_picture(Outline("hull")(BOX, walker(), 140, 130))[at]
    assert not on_picture(Outline("dilated", 0.01)(BOX, walker(), 140, 130))[at]


@pytest.mark.parametrize("how", ["hull", "dilated"])
def test_without_a_mask_the_box_is_taken(how: str) -> None:
    box = Outline("box")(BOX, None, 140, 130)
    assert (on_picture(Outline(how)(BOX, None, 140, 130)) == on_picture(box)).all()


def test_a_box_is_erased_but_for_its_outermost_corners() -> None:
    region = on_picture(Outline("box", 0.05)(BOX, None, 140, 130))
    assert region[20:120, 40:80].all()
    assert not region[14, 34]


def test_a_region_at_the_border_stays_in_the_picture_and_never_is_empty() -> None:
    assert on_picture(box_region((-50, -50, 20, 30), 140, 130))[:30, :20].sum() > 550
    assert box_region((300, 300, 310, 310), 140, 130).area >= 1


def test_an_unknown_outline_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="box, hull, dilated"):
        Outline("shadow")
