"""Boxes, frames, passes, second looks and unions, on stand-ins whose answers can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from understudy.detect.base import Found, require_view
from understudy.detect.centerface import decode
from understudy.detect.frames import Levels, compose, map_found, resized, turned
from understudy.detect.merge import Merge
from understudy.detect.overlap import keep_best, pairwise_iou
from understudy.detect.passes import InPasses, Pass
from understudy.detect.second_look import SecondLook, roll_deg, straightened
from understudy.errors import InvalidInputError
from understudy.types import Detections


def found(*rows: tuple[float, float, float, float, float]) -> Found:
    """Finds given as x0, y0, x1, y1, confidence; the keypoints are the centre, five times."""
    values = np.array(rows, np.float32).reshape(-1, 5)
    centre = (values[:, :2] + values[:, 2:4]) / 2
    return Found(values[:, :4], values[:, 4], np.repeat(centre[:, None], 5, axis=1))


class Patches:
    """Finds bright squares: every connected one, as confident as its red channel says; upright ones have a blue dot.

    It stands for a network: it sees pixels only, in whatever frame it is given.
    """

    name = "patches"
    families = frozenset({"patches"})

    def __init__(self, least_px: int = 3) -> None:
        self.least_px = least_px
        self.shapes: list[tuple[int, ...]] = []

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        import cv2

        self.shapes.append(views.shape)
        results = []
        for view in views:
            _, _, stats, _ = cv2.connectedComponentsWithStats((view[..., 1] > 128).astype(np.uint8))
            rows = []
            for x, y, w, h, _ in stats[1:]:
                middle = view[y + h // 2, x + w // 2]
                confidence = middle[0] / 255
                if min(w, h) >= self.least_px and confidence > threshold:
                    rows.append((x, y, x + w, y + h, confidence))
            results.append(found(*rows))
        return results


def picture(*squares: tuple[int, int, int, int], height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """A black picture with squares given as x, y, side, red."""
    view = np.zeros((height, width, 3), np.uint8)
    for x, y, side, red in squares:
        view[y : y + side, x : x + side] = (red, 255, 0)
    return view


def test_equal_boxes_overlap_wholly_and_apart_ones_not_at_all() -> None:
    a = np.array([[0, 0, 2, 2], [10, 10, 12, 12]], np.float32)
    assert pairwise_iou(a, a).tolist() == [[1, 0], [0, 1]]


def test_half_shifted_squares_overlap_by_a_third() -> None:
    iou = pairwise_iou(np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 3, 2.0]]))
    assert iou[0, 0] == pytest.approx(1 / 3)


def test_empty_boxes_overlap_nothing() -> None:
    empty = np.array([[1, 1, 1, 1.0]])
    assert pairwise_iou(empty, empty)[0, 0] == 0


def test_of_two_boxes_on_one_face_the_more_confident_stays() -> None:
    kept = keep_best(found((0, 0, 10, 10, 0.6), (1, 0, 11, 10, 0.9), (50, 50, 60, 60, 0.3)), 0.5)
    assert kept.confidence.tolist() == pytest.approx([0.9, 0.3])


def test_a_box_inside_another_goes_by_containment_only() -> None:
    nested = found((0, 0, 20, 20, 0.9), (5, 5, 10, 10, 0.8))
    assert len(keep_best(nested, 0.3)) == 2
    assert len(keep_best(nested, 0.3, containment=0.7)) == 1


boxes = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 20), st.integers(1, 20), st.integers(1, 9)),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(boxes, st.randoms(use_true_random=False))
def test_what_is_kept_does_not_depend_on_the_order(rows: list[tuple[int, ...]], random) -> None:
    values = [(x, y, x + w, y + h, c / 10) for x, y, w, h, c in rows]
    shuffled = list(values)
    random.shuffle(shuffled)
    a, b = keep_best(found(*values), 0.3), keep_best(found(*shuffled), 0.3)
    assert a.xyxy.tolist() == b.xyxy.tolist()
    assert a.confidence.tolist() == b.confidence.tolist()


def test_decoding_puts_a_cell_at_four_times_its_place() -> None:
    heatmap = np.zeros((1, 5, 6), np.float32)
    heatmap[0, 2, 3] = 0.75
    scale, offset = np.zeros((2, 5, 6), np.float32), np.zeros((2, 5, 6), np.float32)
    scale[:, 2, 3] = np.log([5, 3])  # 20 px high, 12 px wide
    offset[:, 2, 3] = [0.25, -0.5]
    keypoints = np.zeros((10, 5, 6), np.float32)
    keypoints[:, 2, 3] = [0.5, 0.25, 0.5, 0.75, 0.6, 0.5, 0.8, 0.3, 0.8, 0.7]  # y, x pairs
    result = decode(heatmap, scale, offset, keypoints, threshold=0.5)
    # centre: x 4 (3 - 0.5 + 0.5) = 12, y 4 (2 + 0.25 + 0.5) = 11
    assert result.xyxy[0].tolist() == pytest.approx([6, 1, 18, 21], abs=1e-4)
    assert result.keypoints[0, 0].tolist() == pytest.approx([9, 11], abs=1e-4)
    assert result.keypoints[0, 1].tolist() == pytest.approx([15, 11], abs=1e-4)
    assert result.confidence.tolist() == [0.75]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270, 30, -45, 137])
def test_a_point_in_a_turned_frame_maps_back_to_where_it_was(rotation: float) -> None:
    view = np.zeros((40, 60, 3), np.uint8)
    view[10:13, 45:48] = 255
    frame, back = turned(view, rotation)
    rows, columns = np.nonzero(frame[..., 0] > 100)
    centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    if rotation % 90:  # warped frames count pixel centres, not corners
        centre -= 0.5
    x, y = back[:, :2] @ centre + back[:, 2] + (0.5 if rotation % 90 else 0)
    assert (x, y) == pytest.approx((46.5, 11.5), abs=0.4)


def test_a_turn_cuts_nothing_off() -> None:
    view = np.full((30, 50, 3), 255, np.uint8)
    frame, _ = turned(view, 45)
    assert frame[..., 0].astype(float).sum() / 255 == pytest.approx(1500, rel=0.03)


def test_a_quarter_turn_swaps_a_box_exactly() -> None:
    _, back = turned(np.zeros((40, 60, 3), np.uint8), 90)
    # counter-clockwise: the frame is 40 wide and 60 high; its upper left corner was the upper right one
    assert map_found(found((0, 0, 10, 20, 0.5)), back).xyxy.tolist() == [[40, 0, 60, 10]]


def test_the_box_of_a_turned_face_is_tighter_than_that_of_its_corners_and_looser_than_its_ellipse() -> None:
    angle = np.pi / 4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    box = map_found(found((-10, -10, 10, 10, 0.5)), turn).xyxy[0]
    assert 10 < box[2] < 10 * np.sqrt(2)
    assert box.tolist() == pytest.approx((-box[[2, 3, 0, 1]]).tolist())


def test_maps_compose_inner_first() -> None:
    double, shift = np.array([[2, 0, 0], [0, 2, 0.0]]), np.array([[1, 0, 5], [0, 1, 7.0]])
    assert compose(double, shift).tolist() == [[2, 0, 10], [0, 2, 14]]


def test_resizing_keeps_at_least_one_pixel() -> None:
    small, back = resized(np.zeros((3, 900, 3), np.uint8), 0.01)
    assert small.shape == (1, 9, 3)
    assert back.tolist() == [[100, 0, 0], [0, 3, 0]]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_a_pass_reports_the_same_box_in_every_frame(rotation: float, scale: float) -> None:
    detector = InPasses(Patches(), [Pass(scale=scale, rotation_deg=rotation)])
    assert detector(picture((40, 20, 16, 255))).xyxy.tolist() == [[40, 20, 56, 36]]


def test_the_order_of_passes_does_not_matter() -> None:
    passes = [Pass(), Pass(scale=2), Pass(rotation_deg=90), Pass(scale=0.5, rotation_deg=30)]
    view = picture((40, 20, 16, 200), (90, 60, 8, 180), (5, 70, 20, 150))
    there, back = InPasses(Patches(), passes)(view), InPasses(Patches(), passes[::-1])(view)
    assert there.xyxy.tolist() == back.xyxy.tolist()
    assert there.confidence.tolist() == back.confidence.tolist()


def test_a_face_that_several_passes_find_is_one_face() -> None:
    detector = InPasses(Patches(), [Pass(), Pass(scale=2), Pass(rotation_deg=180)])
    assert len(detector(picture((40, 20, 16, 255)))) == 1


def test_tiles_find_each_face_once_and_where_it_is() -> None:
    rng = np.random.default_rng(5)
    places = [(int(x), int(y)) for x in range(8, 290, 40) for y in range(8, 190, 40)]
    view = picture(*[(x + int(rng.integers(8)), y, 12, 255) for x, y in places], height=200, width=300)
    whole = InPasses(Patches(), [Pass()])(view)
    finder = Patches()
    tiled = InPasses(finder, [Pass()], tile_px=96, tile_overlap_px=40)(view)
    assert len(tiled) == len(places)
    assert tiled.xyxy.tolist() == whole.xyxy.tolist()
    assert all(max(shape[1:3]) <= 96 for shape in finder.shapes)


def test_what_no_pass_is_sure_of_is_let_go_without_a_second_look() -> None:
    detector = InPasses(Patches(), [Pass(threshold=0.1)], sure=0.5)
    assert len(detector(picture((40, 20, 16, 100), (80, 20, 16, 200)))) == 1


class Shy:
    """Sees a square dimly in a whole picture, and well in crops whose corner pixel it likes."""

    name = "shy"
    families = frozenset({"shy"})

    def __init__(self, votes: int) -> None:
        self.votes = votes

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        found_here = Patches().find(views, 0.01)
        if len(views) == 1:
            return found_here
        seen = [Found(f.xyxy, np.full(len(f), 0.8, np.float32), f.keypoints) for f in found_here]
        return [f if i < self.votes else Found.nothing() for i, f in enumerate(seen)]


@pytest.mark.parametrize(("votes", "n_faces"), [(0, 0), (1, 0), (2, 1), (4, 1)])
def test_a_doubtful_find_needs_votes_of_several_turns(votes: int, n_faces: int) -> None:
    look = SecondLook(rotations_deg=(0, 90, 180, 270), n_votes=2, accept=0.6, n_first=4)
    detector = InPasses(Shy(votes), [Pass(threshold=0.05)], second_look=look)
    assert len(detector(picture((40, 20, 16, 50)))) == n_faces


@pytest.mark.parametrize("side", [3, 6, 28, 61, 150])
def test_a_second_look_brings_faces_of_any_size_to_one_size_and_their_boxes_back(side: int) -> None:
    class Watcher(Patches):
        def __init__(self) -> None:
            super().__init__()
            self.sides: list[float] = []

        def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
            results = super().find(views, threshold)
            self.sides += [float(f.xyxy[0, 2] - f.xyxy[0, 0]) for f in results if len(f)]
            return results

    watcher = Watcher()
    look = SecondLook(rotations_deg=(0, 90, 180), n_votes=3, accept=0.1, n_first=3)
    view = picture((80, 60, side, 100), height=300, width=400)
    result = look.accepted(Levels(view), found((80, 60, 80 + side, 60 + side, 0.2)), watcher)
    assert watcher.sides == pytest.approx([28] * 3, abs=2.5)
    assert result.xyxy[0].tolist() == pytest.approx([80, 60, 80 + side, 60 + side], abs=0.06 * side + 0.5)


def test_a_second_look_at_the_border_does_not_fail() -> None:
    look = SecondLook(rotations_deg=(0, 45), n_votes=1, accept=0.1, n_first=1)
    view = picture((0, 0, 10, 100))
    assert len(look.accepted(Levels(view), found((-4, -4, 10, 10, 0.2)), Patches())) <= 1


def test_no_more_than_the_allowed_number_is_looked_at_again_most_confident_first() -> None:
    look = SecondLook(rotations_deg=(0,), n_votes=1, accept=0.1, n_first=1, max_looks=1)
    view = picture((10, 10, 10, 60), (60, 40, 10, 90))
    doubtful = found((10, 10, 20, 20, 0.2), (60, 40, 70, 50, 0.3))
    assert look.accepted(Levels(view), doubtful, Patches()).xyxy[0].tolist() == pytest.approx([60, 40, 70, 50], abs=1)


UPRIGHT = np.array([[-4, -4], [4, -4], [0, 0], [-3, 5], [3, 5]], np.float32)
"""Keypoints of an upright face around (0, 0)."""


def rolled(quarters: int) -> NDArray[np.float32]:
    """The upright face turned counter-clockwise: (x, y) goes to (y, -x)."""
    points = UPRIGHT
    for _ in range(quarters):
        points = np.stack([points[:, 1], -points[:, 0]], axis=1)
    return points


@pytest.mark.parametrize(("quarters", "angle"), [(0, 0), (1, 90), (2, 180), (3, -90)])
def test_a_roll_is_counter_clockwise(quarters: int, angle: float) -> None:
    assert abs(roll_deg(rolled(quarters)[None])[0]) == pytest.approx(abs(angle))
    if abs(angle) == 90:
        assert roll_deg(rolled(quarters)[None])[0] == pytest.approx(angle)


def test_a_face_without_keypoints_has_no_roll() -> None:
    assert roll_deg(np.full((1, 5, 2), np.nan, np.float32)).tolist() == [0]


class Upright:
    """Sees an upright face in the middle of every crop, with a confidence of its own."""

    name = "upright"
    families = frozenset({"upright"})

    def __init__(self, confidence: float) -> None:
        self.confidence, self.n_crops = confidence, 0

    def find(self, views: NDArray[np.uint8], threshold: float) -> list[Found]:
        self.n_crops += len(views)
        middle = views.shape[1] / 2
        box = np.array([[middle - 20, middle - 22, middle + 20, middle + 22]], np.float32)
        points = (4 * UPRIGHT + middle)[None].astype(np.float32)
        return [Found(box, np.array([self.confidence], np.float32), points) for _ in views]


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_rolled_head_gets_the_keypoints_of_its_upright_view_turned_back(quarters: int) -> None:
    crude = (rolled(quarters) * 5 + [64, 48])[None].astype(np.float32)
    faces = Found(np.array([[40, 24, 88, 72]], np.float32), np.array([0.6], np.float32), crude)
    better = straightened(Levels(picture()), faces, Upright(0.8), least_roll_deg=25)
    scale = 4 * 48 / 42  # a box of 48 px is brought to 42 px
    assert np.abs(better.keypoints[0] - (rolled(quarters) * scale + [64, 48])).max() < 0.8
    assert better.confidence.tolist() == pytest.approx([0.8])


def test_an_upright_head_is_left_alone_and_a_rolled_one_is_never_let_go() -> None:
    upright_face = Found(np.array([[40, 24, 88, 72]], np.float32), np.array([0.6], np.float32), UPRIGHT[None] + 50)
    finder = Upright(0.9)
    assert straightened(Levels(picture()), upright_face, finder, least_roll_deg=25) is upright_face
    assert finder.n_crops == 0
    on_its_side = Found(upright_face.xyxy, upright_face.confidence, rolled(1)[None] + 50)
    unseen = straightened(Levels(picture()), on_its_side, Upright(0.1), least_roll_deg=25)
    assert unseen.xyxy.tolist() == on_its_side.xyxy.tolist()
    assert unseen.keypoints.tolist() == on_its_side.keypoints.tolist()


def test_a_huge_picture_gets_a_reduced_pass_and_a_small_one_does_not() -> None:
    overview = Pass(longest_side=512)
    assert overview.scale_for(1080, 1920) == pytest.approx(512 / 1920)
    assert overview.scale_for(600, 800) is None


def test_a_pass_can_be_kept_to_small_faces() -> None:
    detector = InPasses(Patches(), [Pass(scale=2, largest_px=20)])
    assert detector(picture((10, 10, 16, 255), (60, 30, 40, 255))).xyxy.tolist() == [[10, 10, 26, 26]]


def test_enlarging_stops_at_the_pixel_limit_but_never_reduces() -> None:
    enlarged = Pass(scale=2, max_pixels=1_000_000)
    assert enlarged.scale_for(400, 400) == 2
    assert enlarged.scale_for(800, 800) == pytest.approx(1.25)
    assert enlarged.scale_for(2000, 2000) == 1


@pytest.mark.parametrize("bad", [{"scale": 0}, {"threshold": 0}, {"threshold": 1.5}])
def test_a_pass_that_makes_no_sense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="a pass needs"):
        Pass(**bad)  # type: ignore[arg-type]


def test_votes_without_turns_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="n_votes must lie between 1 and the number of rotations 2, got 3"):
        SecondLook(rotations_deg=(0, 90), n_votes=3, n_first=1)


class Fixed:
    """Always the same faces."""

    def __init__(self, name: str, faces: Found) -> None:
        self.name, self.families, self.faces = name, frozenset({name}), faces

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        return self.faces.detections()


def test_a_union_holds_each_face_once_with_the_first_detector_s_box_and_the_higher_confidence() -> None:
    first = Fixed("a", found((0, 0, 10, 10, 0.5)))
    second = Fixed("b", found((1, 0, 11, 10, 0.9), (50, 50, 60, 60, 0.4)))
    result = Merge([first, second])(picture())
    assert result.xyxy.tolist() == [[0, 0, 10, 10], [50, 50, 60, 60]]
    assert result.confidence.tolist() == pytest.approx([0.9, 0.4])


def test_a_union_stands_for_the_families_of_all() -> None:
    merged = Merge([Fixed("a", Found.nothing()), Fixed("b", Found.nothing())])
    assert merged.families == {"a", "b"}
    assert len(merged(picture())) == 0


def test_absent_keypoints_stay_absent_in_a_union() -> None:
    no_points = found((0, 0, 10, 10, 0.5))
    blank = Found(no_points.xyxy, no_points.confidence, np.full((1, 5, 2), np.nan, np.float32))
    assert Merge([Fixed("a", blank)])(picture()).visibility.tolist() == [[0, 0, 0, 0, 0]]


def test_boxes_are_cut_at_the_border_and_dropped_outside_it() -> None:
    clipped = found((-5, -5, 5, 5, 0.5), (200, 10, 210, 20, 0.9)).clipped(96, 128)
    assert clipped.xyxy.tolist() == [[0, 0, 5, 5]]


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 5), (5, 5, 4)])
def test_a_view_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="a view must be"):
        require_view(np.zeros(shape, np.uint8))


def test_a_detector_without_passes_or_parts_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least one pass"):
        InPasses(Patches(), [])
    with pytest.raises(InvalidInputError, match="at least one detector"):
        Merge([])
