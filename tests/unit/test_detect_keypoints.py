"""Keypoints read again in several views, on stand-ins whose answers can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.detect.base import Found
from understudy.detect.frames import Levels
from understudy.detect.keypoints import Keypoints, View, averaged, readings
from understudy.detect.merge import Merge
from understudy.detect.passes import InPasses, Pass
from understudy.detect.persons import Persons
from understudy.errors import InvalidInputError
from understudy.weights import is_here

FACE = np.array([[80, 90], [120, 90], [100, 110], [85, 130], [115, 130]], np.float32)
"""Keypoints of a face of 100 px around (100, 110), px of the picture: right eye, left eye, nose, mouth corners."""
BOX = np.array([[50, 60, 150, 160]], np.float32)
VIEWS = (View(50, 100), View(50, 100, mirrored=True))
"""A face of 100 px comes to half its size, its middle to the middle of the crop, (50, 50)."""
MARKS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))


def picture(keypoints: NDArray[np.float32] = FACE) -> NDArray[np.uint8]:
    """A black picture with a disc of its own colour at each keypoint."""
    import cv2

    view = np.zeros((240, 240, 3), np.uint8)
    for (x, y), colour in zip(keypoints, MARKS, strict=True):
        cv2.circle(view, (round(float(x)), round(float(y))), 5, colour, -1)
    return view


def centres(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Where the discs lie; as a network does, it calls right eye what looks like one: the eye on the left."""
    points = []
    for colour in MARKS:
        near = np.abs(crop.astype(int) - colour).max(axis=2) < 100
        rows, columns = np.nonzero(near)
        points.append((columns.mean() + 0.5, rows.mean() + 0.5))
    found = np.array(points, np.float32)
    return found if found[0, 0] < found[1, 0] else found[[1, 0, 2, 4, 3]]


class Eyes:
    """Finds one face in the middle of every crop, with its keypoints where ``see`` says, crop by crop."""

    name = "eyes"
    families = frozenset({"eyes"})

    def __init__(self, see: Callable[[NDArray[np.uint8]], NDArray[np.float32]], confidence: float = 0.9) -> None:
        self.see, self.confidence, self.n_crops = see, confidence, 0

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        self.n_crops += len(views)
        middle = views.shape[1] / 2
        box = np.array([[middle - 25, middle - 25, middle + 25, middle + 25]], np.float32)
        return [Found(box, np.array([self.confidence], np.float32), self.see(view)[None]) for view in views]


class Fixed:
    """Answers every call with the same finds."""

    name = "fixed"
    families = frozenset({"fixed"})

    def __init__(self, answer: Found) -> None:
        self.answer = answer

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        return [self.answer for _ in views]


def faces(keypoints: NDArray[np.float32] = FACE) -> Found:
    return Found(BOX, np.array([0.7], np.float32), keypoints[None].astype(np.float32))


@pytest.mark.parametrize("turn", [0, 10, -10])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_view_gives_the_keypoints_back_where_they_are_with_the_subject_s_right_first(
    turn: float, mirrored: bool
) -> None:
    view = View(100, 192, turn, mirrored)
    crop, back = view.cut(Levels(picture()), BOX[0], 0.0)
    assert np.abs(view.put_back(centres(crop), back) - FACE).max() < 1.2


def test_a_mirrored_view_is_the_mirror_image() -> None:
    plain, _ = View(50, 100).cut(Levels(picture()), BOX[0], 0.0)
    mirrored, _ = View(50, 100, mirrored=True).cut(Levels(picture()), BOX[0], 0.0)
    assert (mirrored == plain[:, ::-1]).all()


def test_an_error_to_one_side_of_the_crop_goes_away_with_the_mirror_image() -> None:
    def slanted(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        return centres(crop) + np.array([2, 0], np.float32)  # 2 px of the crop to its right, 4 px of the picture

    better = Keypoints(VIEWS)(Levels(picture()), faces(), Eyes(slanted))
    assert np.abs(better.keypoints[0] - FACE).max() < 1
    one_sided = Keypoints(VIEWS[:1])(Levels(picture()), faces(), Eyes(slanted))
    assert np.abs(one_sided.keypoints[0] - FACE - [4, 0]).max() < 1


def test_boxes_and_confidences_stay_and_no_face_comes_or_goes() -> None:
    better = Keypoints(VIEWS)(Levels(picture()), faces(FACE + 3), Eyes(centres))
    assert better.xyxy.tobytes() == BOX.tobytes()
    assert better.confidence.tolist() == pytest.approx([0.7])
    assert np.abs(better.keypoints[0] - FACE).max() < 1


def test_nobody_is_nobody_and_the_network_is_not_asked() -> None:
    finder = Eyes(centres)
    assert len(Keypoints(VIEWS)(Levels(picture()), Found.nothing(), finder)) == 0
    assert finder.n_crops == 0


@pytest.mark.parametrize(("shift", "taken"), [(14, True), (16, False)])
def test_a_keypoint_that_would_move_by_more_than_a_share_of_the_face_stays(shift: float, taken: bool) -> None:
    first = FACE + np.array([0, shift], np.float32)  # the face has 100 px; the share is 0.15
    better = Keypoints(VIEWS)(Levels(picture()), faces(first), Eyes(centres))
    assert np.abs(better.keypoints[0] - (FACE if taken else first)).max() < 1


def test_keypoints_stay_where_the_network_is_unsure() -> None:
    first = FACE + 3
    better = Keypoints(VIEWS, least=0.3)(Levels(picture()), faces(first), Eyes(centres, confidence=0.2))
    assert better.keypoints.tolist() == first[None].tolist()


def test_keypoints_that_are_absent_stay_absent() -> None:
    absent = np.full((5, 2), np.nan, np.float32)
    assert np.isnan(Keypoints(VIEWS)(Levels(picture()), faces(absent), Eyes(centres)).keypoints).all()


def test_a_reading_far_from_the_median_does_not_count() -> None:
    near = np.stack([FACE, FACE + 1, FACE + 2, FACE + 40])[:, None].astype(np.float64)  # (V, 1, 5, 2)
    assert averaged(near, np.array([15.0])) == pytest.approx((FACE + 1)[None])


def test_no_reading_at_all_is_no_keypoint() -> None:
    assert np.isnan(averaged(np.full((3, 2, 5, 2), np.nan), np.array([10.0, 10.0]))).all()


def test_more_faces_than_a_batch_are_read_as_each_alone() -> None:
    boxes = np.concatenate([BOX + i / 10 for i in range(30)]).astype(np.float32)
    points = np.repeat(FACE[None], 30, axis=0)

    class Centres:
        def __call__(self, crops: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
            return np.stack([centres(crop) for crop in crops])

    levels = Levels(picture())
    together = readings(levels, boxes, points, VIEWS, Centres())
    alone = [readings(levels, boxes[i : i + 1], points[i : i + 1], VIEWS, Centres())[:, 0] for i in (0, 23, 24, 29)]
    assert together.shape == (2, 30, 5, 2)
    assert (together[:, [0, 23, 24, 29]] == np.stack(alone, axis=1)).all()


def test_a_detector_in_passes_reads_keypoints_last_and_finds_the_same_faces() -> None:
    answer = faces(FACE + 5)
    without = InPasses(Fixed(answer), [Pass(threshold=0.1)])(picture())
    middle = Found(
        np.array([[25, 25, 75, 75]], np.float32),
        np.array([0.9], np.float32),
        (FACE / 2 - np.array([0, 5]))[None].astype(np.float32),
    )

    class Both(Fixed):
        def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
            return [answer if views.shape[1] > 100 else middle for _ in views]

    seen = InPasses(Both(answer), [Pass(threshold=0.1)], keypoints=Keypoints(VIEWS[:1]))(picture())
    assert seen.xyxy.tobytes() == without.xyxy.tobytes()
    assert seen.confidence.tobytes() == without.confidence.tobytes()
    assert np.abs(seen.keypoints[0, :5] - FACE).max() < 0.01  # twice (x / 2, y / 2 - 5), about (100, 110)


@pytest.mark.parametrize("bad", [{"views": ()}, {"onet_share": 1.5}, {"largest_move": 0}, {"onet_views": ()}])
def test_settings_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        Keypoints(**bad)  # type: ignore[arg-type]


def test_a_view_without_a_size_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="over 0"):
        View(0, 96)


@pytest.mark.skipif(not is_here("mtcnn_onet"), reason="facenet-pytorch's wheel is not installed")
def test_mtcnn_s_last_network_says_which_weights_it_reads_with_and_the_own_network_alone_needs_none() -> None:
    assert list(Keypoints(onet=True).digests()) == ["mtcnn_onet"]
    assert Keypoints().digests() == {}


class Noses:
    """Stands for MTCNN's last network: it sees what ``Eyes`` sees, 6 px of the picture lower, or nothing."""

    def __init__(self, sure: bool) -> None:
        self.sure = sure

    def __call__(self, crops: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
        seen = np.stack([centres(crop) for crop in crops]) + np.array([0, 3], np.float32)
        return seen if self.sure else np.full_like(seen, np.nan)


@pytest.mark.parametrize(("sure", "lower_px"), [(True, 1.5), (False, 0.0)])
def test_two_networks_are_averaged_by_their_share_and_an_unsure_second_one_has_none(
    sure: bool, lower_px: float
) -> None:
    keypoints = Keypoints(VIEWS, onet_views=VIEWS, onet_share=0.25)
    keypoints.onet = Noses(sure)  # type: ignore[assignment]
    better = keypoints(Levels(picture()), faces(), Eyes(centres))
    alone = Keypoints(VIEWS)(Levels(picture()), faces(), Eyes(centres))
    assert better.keypoints - alone.keypoints == pytest.approx(np.tile([0, lower_px], (1, 5, 1)), abs=0.01)


@pytest.mark.skipif(not is_here("mtcnn_onet"), reason="facenet-pytorch's wheel is not installed")
def test_the_weights_of_the_keypoints_are_told_by_every_detector_around_them() -> None:
    inside = InPasses(Fixed(faces()), [Pass()], keypoints=Keypoints(onet=True))
    for outside in (inside, Merge([inside]), Persons(InPasses(Fixed(faces()), [Pass()], kind="body"), inside)):
        assert list(outside.digests()) == ["mtcnn_onet"]
